"""What an analysis takes against the bare join and aggregate in SQL, and what a test's status takes by size.

Run it as `python -m benchmarks.analysis`. A service of its own process answers AnalyzeTest and GetTestStatus
for a test of 1,000,000 assigned users and one of 50,000, whose users have 1.75 events each, a tenth of them
conversions. The bare statement is the leanest that gives users and conversions per group here, where nobody
converts twice: it joins without counting anybody once. Every analysis is made anew and kept: an analysis of
the same outcomes as the one before would be found again, so that two kinds of request take turns.
"""

import argparse
import sys
from collections.abc import Mapping
from functools import partial
from typing import Final

import asyncpg
import grpc
import uvloop

from benchmarks.assignment import running_service
from benchmarks.common import Mark, Timing, Work, report, running_database, say, time_in_turns
from gen.campaigns.abtest.v1 import progress_pb2, results_pb2
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub

SMALL, LARGE = 50_000, 1_000_000
LIMITS: Final[Mapping[int, float]] = {SMALL: 1.5, LARGE: 1.3}
STATUS_LIMIT = 1.2
BARE = """
select a.group_index, count(*) as users, count(e.user_id) as conversions
from ab_test_assignments a
join ab_test_groups g on g.test_id = a.test_id and g.group_index = a.group_index
left join analytics_v1.campaign_user_events e
    on e.campaign_id = g.campaign_id and e.user_id = a.user_id and e.event_type = 4
    and e.event_at > a.assigned_at
where a.test_id = $1
group by a.group_index
"""
_TEST = """
insert into analytics.campaigns (campaign_id, counted_currency_code)
select '{test}' || suffix, 'USD' from unnest(array['-control', '-variant']) as s (suffix);
insert into abtest.ab_tests (
    test_id, test_name, status, decision_method, target_sample_size, confidence_level,
    minimum_detectable_effect, hash_seed, current_epoch, created_at, started_at
)
select
    '{test}', '{test}', 1, 1, {users}, 0.95, 0.1, '{test}', 1, now() - interval '15 days',
    now() - interval '15 days';
insert into abtest.ab_test_groups (test_id, group_index, group_name, campaign_id)
values ('{test}', 0, 'control', '{test}-control'), ('{test}', 1, 'variant', '{test}-variant');
insert into abtest.ab_test_weight_epochs (test_id, epoch, weights, coverage, started_at)
values ('{test}', 1, array[0.5, 0.5], 1, now() - interval '15 days');
"""
# Assigned over two weeks, in an order that is not that of their names.
_ASSIGNMENTS = """
insert into abtest.ab_test_assignments (user_id, test_id, assigned_at, propensity, epoch, group_index)
select
    'user-' || lpad(((i::bigint * 7919) % 10000019)::text, 8, '0'), '{test}',
    now() - interval '14 days' + i * interval '14 days' / {users}, 0.5, 1, (hashint4(i) & 1)::smallint
from generate_series(1, {users}) as n (i);
insert into abtest.ab_test_group_counters (test_id, epoch, group_index, slot, users)
select test_id, epoch, group_index, 0, count(*)
from abtest.ab_test_assignments
where test_id = '{test}'
group by test_id, epoch, group_index;
"""
# Everybody is reached, half see it, some click, a tenth convert: within a day and a half, in that order.
_EVENTS = """
insert into analytics.events (
    user_id, event_id, campaign_id, event_at, counted_at, event_type, revenue_micros, stamped_fields,
    is_machine_open, currency_code
)
select
    user_id, test_id || '-' || event_type, campaign_id, event_at, event_at, event_type,
    case when event_type = 4 then 20000000 end, 0, false, 'USD'
from (
    select
        a.user_id, a.test_id, g.campaign_id, s.event_type::smallint,
        a.assigned_at + s.event_type * interval '9 hours' * (hashtext(a.user_id) & 1023) / 1024.0
            + interval '1 second' as event_at
    from abtest.ab_test_assignments a
    join abtest.ab_test_groups g using (test_id, group_index)
    cross join (values (1, 1.0), (2, 0.5), (3, 0.15), (4, 0.1)) as s (event_type, share)
    where a.test_id = '{test}' and (hashtext(a.user_id || 'does') & 65535) < 65536 * s.share
) as what_users_do
order by event_at;
"""


async def write_world(admin_url: str) -> None:
    """Keep both tests with their users and events."""
    connection = await asyncpg.connect(admin_url)
    try:
        for users in (LARGE, SMALL):
            for script in (_TEST, _ASSIGNMENTS, _EVENTS):
                await connection.execute(script.format(test=_test_id(users), users=users))
        await connection.execute("vacuum analyze")
    finally:
        await connection.close()


def _test_id(users: int) -> str:
    return f"test-of-{users}"


class Analyses:
    """Asks for analyses, each other than the one before, and for what tests are at."""

    def __init__(self, stub: ABTestServiceStub) -> None:
        self._stub = stub
        self._turn = False

    async def analyze(self, users: int) -> results_pb2.AnalyzeTestResponse:
        """Return a new analysis."""
        self._turn = not self._turn
        return await self._stub.AnalyzeTest(
            results_pb2.AnalyzeTestRequest(test_id=_test_id(users), yates_correction=self._turn)
        )

    async def status(self, users: int) -> progress_pb2.GetTestStatusResponse:
        """Return how far a test is."""
        return await self._stub.GetTestStatus(progress_pb2.GetTestStatusRequest(test_id=_test_id(users)))


async def check_answers(connection: asyncpg.Connection, analyses: Analyses) -> None:
    """Raise unless both sides count the same."""
    for users in (SMALL, LARGE):
        rows = await connection.fetch(BARE, _test_id(users))
        bare = sorted((row["group_index"], row["users"], row["conversions"]) for row in rows)
        answer = await analyses.analyze(users)
        ours = [(index, each.users, each.conversions) for index, each in enumerate(answer.groups)]
        if bare != ours:
            raise AssertionError(f"the bare join counts {bare}, the service {ours}")


async def measure(rounds: int) -> int:
    """Measure, print the table, and return the exit status."""
    async with running_database() as database:
        say("writing 1,050,000 assignments and their events")
        await write_world(database.admin)
        environment = {"ABTEST_DATABASE_URL": database.abtest}
        async with running_service(["services.abtest"], environment) as address:
            connection = await asyncpg.connect(database.abtest)
            try:
                async with grpc.aio.insecure_channel(address) as channel:
                    analyses = Analyses(ABTestServiceStub(channel))
                    await check_answers(connection, analyses)
                    return report("Analyses", await _marks(connection, analyses, rounds))
            finally:
                await connection.close()


async def _marks(connection: asyncpg.Connection, analyses: Analyses, rounds: int) -> list[Mark]:
    marks = []
    for users, limit in LIMITS.items():
        candidates: dict[str, Work] = {
            "bare": partial(connection.fetch, BARE, _test_id(users)),
            "rpc": partial(analyses.analyze, users),
        }
        calls = 1 if users == LARGE else 5
        timings = await time_in_turns(candidates, rounds=rounds, calls=calls, warm_up=3)
        marks.append(
            Mark(
                name=f"AnalyzeTest of {users:,} users / bare join and aggregate",
                value=timings["rpc"].ratio_to(timings["bare"]),
                limit=limit,
                detail=_milliseconds(timings, "rpc", "bare"),
            )
        )
    timings = await time_in_turns(
        {"large": partial(analyses.status, LARGE), "small": partial(analyses.status, SMALL)}, rounds=rounds
    )
    marks.append(
        Mark(
            name=f"GetTestStatus of {LARGE:,} users / of {SMALL:,}",
            value=timings["large"].ratio_to(timings["small"]),
            limit=STATUS_LIMIT,
            detail=_milliseconds(timings, "large", "small"),
        )
    )
    return marks


def _milliseconds(timings: Mapping[str, Timing], one: str, other: str) -> str:
    return f"{timings[one].seconds * 1e3:.1f} ms / {timings[other].seconds * 1e3:.1f} ms"


def main() -> int:
    """Return the exit status: 1 where a mark is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.analysis", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="rounds of calls timed in turns")
    return uvloop.run(measure(parser.parse_args().rounds))


if __name__ == "__main__":
    sys.exit(main())
