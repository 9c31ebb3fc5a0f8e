"""What a ranking of segments takes against adding up the same rows once, whatever of whom.

Run it as `python -m benchmarks.segments`. Two campaigns are ranked: one by 20 A/B tests of 50,000 users, a
tenth of whom convert, half of them before they were assigned; and one by 1,000,000 deliveries over 80 days
whose offer was drawn among five, half of them viewed and a tenth followed by a conversion. Users are in one
or three of six segments. The bare statements read the same assignments and deliveries and only count them.
"""

import argparse
import sys
from datetime import UTC, datetime
from functools import partial

import asyncpg
import uvloop

from benchmarks.common import Mark, Timing, Work, report, running_database, say, time_in_turns
from services.common.database import Database
from services.common.waiting_room import WaitingRoom
from services.optimizer.operations.segments import SegmentOperations

TESTS, USERS, DELIVERIES = 20, 50_000, 1_000_000
TESTED, DRAWN = "tested-1", "drawn"
LIMITS = {TESTED: 4.0, DRAWN: 6.0}
BARE = {
    TESTED: """
        select group_index, segment_set_id, count(*) from abtest_v1.test_assignments group by 1, 2
    """,
    DRAWN: """
        select segment_set_id, count(*), sum(1.0 / propensity) from analytics_v1.user_events
        where campaign_id = 'drawn' and event_type = 1 group by 1
    """,
}
_CATALOG = """
insert into analytics.reporting_settings (reporting_time_zone) values ('UTC') on conflict do nothing;
insert into analytics.campaigns (campaign_id, campaign_type)
select * from (values ('drawn', 3), ('plain', 2)) as c
union all select 'tested-' || t, 1 from generate_series(1, {tests}) as n (t);
insert into analytics.segment_sets (segments)
select array(select 's' || (i + j) % 6 from generate_series(0, i / 6 * 2) j) from generate_series(0, 11) i;
insert into analytics.campaign_segment_moments
select c, 'given', 's' || s, 200, 0, 200, 200, 0, 20, 0, 0, 200, 200, 0, 200, 20, 0, 20, 0, 0, 0
from unnest(array['drawn', 'tested-1']) c, generate_series(0, 5) s;
"""
_ASSIGNMENTS = """
insert into abtest.ab_tests (
    test_id, test_name, status, decision_method, target_sample_size, confidence_level, hash_seed,
    current_epoch, created_at, started_at
)
select 't' || t, 't', 1, 1, 1000, 0.95, 's', 1, now() - interval '30 days', now() - interval '30 days'
from generate_series(1, {tests}) t;
insert into abtest.ab_test_groups (test_id, group_index, group_name, campaign_id)
select 't' || t, g, 'g' || g, case g when 0 then 'plain' else 'tested-' || t end
from generate_series(1, {tests}) t, generate_series(0, 1) g;
insert into abtest.ab_test_assignments (
    user_id, test_id, assigned_at, propensity, epoch, group_index, segment_set_id
)
select
    'user-' || u, 't' || t, now() - interval '20 days', 0.5, 1, u % 2,
    (select min(segment_set_id) from analytics.segment_sets) + u % 12
from generate_series(1, {tests}) t, generate_series(1, {users}) u;
"""
_CONVERSIONS = """
insert into analytics.events (
    user_id, event_id, campaign_id, event_at, counted_at, event_type, stamped_fields, is_machine_open,
    currency_code
)
select 'user-' || u, c, c, at, at, 4, 0, false, 'USD'
from
    generate_series(1, {users}) u,
    lateral (
        select case u % 2 when 0 then 'plain' else 'tested-' || t end
        from generate_series(1, case u % 2 when 0 then 1 else {tests} end) t
    ) as campaign (c),
    lateral (select now() - (5 + 30 * (u % 20 / 10)) * interval '12 hours') as moment (at)
where hashtext(c || u) % 10 = 0;
"""
_DELIVERIES = """
insert into analytics.events (
    user_id, event_id, campaign_id, event_at, counted_at, event_type, offer_amount_micros, propensity,
    policy_version, segment_set_id, stamped_fields, is_machine_open, currency_code
)
select
    'user-' || u, kind || '-' || d, 'drawn', at, at, kind,
    5000000 * (1 + (hashtext(u || 'o' || d) & 1023) % 5),
    case kind when 1 then 0.2 end, case kind when 1 then 'even' end,
    (select min(segment_set_id) from analytics.segment_sets) + u % 12, 0, false, 'USD'
from
    generate_series(1, {deliveries} / 5) u, generate_series(1, 5) d, unnest(array[1, 2, 4]) kind,
    lateral (
        select
            date_trunc('day', now()) - (5 + 15 * d + u % 15) * interval '1 day'
            + (u % 80000 + 600 * kind) * interval '1 second'
    ) as moment (at)
where
    kind = 1 or kind = 2 and hashtext(u || 'v' || d) % 2 = 0 or kind = 4 and hashtext(u || 'c' || d) % 10 = 0;
"""


async def write_world(admin_url: str) -> None:
    """Keep the tests with their users, and both kinds of campaigns with their events."""
    connection = await asyncpg.connect(admin_url)
    try:
        for script in (_CATALOG, _ASSIGNMENTS, _CONVERSIONS, _DELIVERIES):
            await connection.execute(script.format(tests=TESTS, users=USERS, deliveries=DELIVERIES))
        await connection.execute("vacuum analyze")
    finally:
        await connection.close()


def _mark(campaign_id: str, times: dict[str, Timing]) -> Mark:
    ours, bare = times[campaign_id], times[f"bare {campaign_id}"]
    what = (
        f"{TESTS} tests of {USERS:,} users" if campaign_id == TESTED else f"{DELIVERIES:,} drawn deliveries"
    )
    return Mark(
        name=f"segments by {what} / counting them",
        value=ours.ratio_to(bare),
        limit=LIMITS[campaign_id],
        detail=f"{ours.seconds:.2f} s / {bare.seconds:.2f} s",
    )


async def measure(rounds: int) -> int:
    """Measure, print the table, and return the exit status."""
    async with running_database() as database:
        say(f"writing {TESTS * USERS:,} assignments and {DELIVERIES:,} deliveries")
        await write_world(database.admin)
        pool = await Database.open(database.optimizer, application_name="benchmark", max_size=2)
        bare = await asyncpg.connect(database.optimizer)
        try:
            room = WaitingRoom("rankings", at_once=1, waiting=0)
            segments = SegmentOperations(pool, room=room, now=lambda: datetime.now(UTC))
            for campaign_id in (TESTED, DRAWN):
                ranking = await segments.rank(campaign_id)
                if not ranking.is_by_uplift:
                    raise AssertionError(f"{campaign_id} has no uplift")
            candidates: dict[str, Work] = {
                **{campaign_id: partial(segments.rank, campaign_id) for campaign_id in BARE},
                **{f"bare {name}": partial(bare.fetch, statement) for name, statement in BARE.items()},
            }
            times = dict(await time_in_turns(candidates, rounds=rounds, calls=1, warm_up=1))
        finally:
            await bare.close()
            await pool.close()
    return report("Segments", [_mark(campaign_id, times) for campaign_id in BARE])


def parse_arguments() -> argparse.Namespace:
    """Return how often to measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.segments", description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="rounds in which each is timed once")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(uvloop.run(measure(parse_arguments().rounds)))
