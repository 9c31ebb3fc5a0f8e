"""Alert rules and alerts by the real stub; when a rule is out of bounds is tested with the domain."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import alert_service_pb2 as pb
from gen.campaigns.analytics.v1 import alerts_pb2, operations_service_pb2
from services.common.paging import encode_page_token
from tests.analytics_factories import (
    NOW,
    Stubs,
    add_catalog,
    campaign,
    event,
    ingest,
    refusal,
    running_server,
    timestamp,
)

DAY = timedelta(days=1)


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A server whose jobs run when asked, at a time that tests move."""

    stubs: Stubs
    clock: Clock

    async def evaluate(self) -> str:
        """Have all rules looked at; return what the job said."""
        return await self.run_job("alerts")

    async def run_job(self, name: str) -> str:
        """Run a job to its end; return what it said."""
        before = (await self._job(name)).last_finished_time
        await self.stubs.operations.RunJob(operations_service_pb2.RunJobRequest(job_name=name))
        async with asyncio.timeout(60):
            while (job := await self._job(name)).last_finished_time == before:
                await asyncio.sleep(0.005)
        assert job.last_error == ""
        return str(job.last_result)

    async def _job(self, name: str) -> operations_service_pb2.Job:
        jobs = await self.stubs.operations.ListJobs(operations_service_pb2.ListJobsRequest())
        return next(job for job in jobs.jobs if job.job_name == name)

    async def create(self, **fields: Any) -> alerts_pb2.AlertRule:  # noqa: ANN401 (any field of a rule)
        return (await self.stubs.alerts.CreateAlertRule(request(**fields))).rule

    async def alerts(self, **fields: Any) -> list[alerts_pb2.Alert]:  # noqa: ANN401
        return list((await self.stubs.alerts.ListAlerts(pb.ListAlertsRequest(**fields))).alerts)


@pytest.fixture
async def watched(database: DatabaseAddresses) -> AsyncIterator[Watched]:
    clock = Clock()
    async with running_server(
        database.analytics,
        clock=clock,
        jobs_enabled=True,
        job_poll_seconds=3600,
        alert_interval_seconds=3600,
        max_alert_rules=5,
    ) as stubs:
        await add_catalog(stubs)
        watched = Watched(stubs=stubs, clock=clock)
        async with asyncio.timeout(60):  # the first runs, at the start
            for name in ("alerts", "portfolio_users"):
                while not (await watched._job(name)).last_result:
                    await asyncio.sleep(0.005)
        yield watched


def request(request_id: str = "", **fields: Any) -> pb.CreateAlertRuleRequest:  # noqa: ANN401
    values: dict[str, Any] = {
        "campaign_id": "c1",
        "metric": "roas",
        "kind": alerts_pb2.ALERT_KIND_BELOW,
        "threshold": 1.0,
    }
    rule = alerts_pb2.AlertRule(**{k: v for k, v in (values | fields).items() if v is not None})
    return pb.CreateAlertRuleRequest(rule=rule, request_id=request_id)


async def test_a_rule_is_kept_with_its_defaults_and_listed(watched: Watched) -> None:
    kept = await watched.create()
    assert kept.rule_id
    assert kept == alerts_pb2.AlertRule(
        rule_id=kept.rule_id,
        campaign_id="c1",
        metric="roas",
        kind=alerts_pb2.ALERT_KIND_BELOW,
        threshold=1.0,
        days=1,
        minimum_volume=0,
        requires_significance=True,
        created_time=timestamp(NOW),
    )
    drop = await watched.create(
        metric="conversion_rate", kind=alerts_pb2.ALERT_KIND_DROP, threshold=0.25, campaign_id=None
    )
    assert (drop.days, drop.minimum_volume, drop.campaign_id) == (7, 100, "")
    money = await watched.create(
        metric="cost", kind=alerts_pb2.ALERT_KIND_ABOVE, threshold=99.999999, days=30, minimum_volume=3
    )
    assert (money.threshold, money.days, money.minimum_volume) == (99.999999, 30, 3)
    rules = (await watched.stubs.alerts.ListAlertRules(pb.ListAlertRulesRequest())).rules
    assert {rule.rule_id for rule in rules} == {kept.rule_id, drop.rule_id, money.rule_id}
    of_campaign = await watched.stubs.alerts.ListAlertRules(pb.ListAlertRulesRequest(campaign_id="c1"))
    assert len(of_campaign.rules) == 2


async def test_a_request_sent_twice_makes_one_rule(watched: Watched) -> None:
    first = await watched.create(request_id="r1")
    watched.clock.now += DAY
    assert await watched.create(request_id="r1") == first
    other = await refusal(watched.stubs.alerts.CreateAlertRule(request(request_id="r1", threshold=2.0)))
    assert (other.code, other.reason) == ("ALREADY_EXISTS", "REQUEST_ID_CONFLICT")
    assert len((await watched.stubs.alerts.ListAlertRules(pb.ListAlertRulesRequest())).rules) == 1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"metric": "roaz"}, {"rule.metric": "VALUE_UNKNOWN"}),
        ({"metric": None}, {"rule.metric": "VALUE_UNKNOWN"}),
        ({"kind": None}, {"rule.kind": "FIELD_REQUIRED"}),
        ({"kind": 9}, {"rule.kind": "VALUE_UNKNOWN"}),
        ({"threshold": None}, {"rule.threshold": "FIELD_REQUIRED"}),
        ({"threshold": float("nan")}, {"rule.threshold": "VALUE_OUT_OF_RANGE"}),
        ({"kind": 3, "threshold": 1.0}, {"rule.threshold": "VALUE_OUT_OF_RANGE"}),
        ({"kind": 3, "threshold": 0.0}, {"rule.threshold": "VALUE_OUT_OF_RANGE"}),
        ({"metric": "cost", "threshold": 0.0000001}, {"rule.threshold": "MONEY_TOO_PRECISE"}),
        ({"days": 0}, {"rule.days": "VALUE_OUT_OF_RANGE"}),
        ({"days": 91}, {"rule.days": "VALUE_OUT_OF_RANGE"}),
        ({"minimum_volume": -1}, {"rule.minimum_volume": "VALUE_OUT_OF_RANGE"}),
        ({"campaign_id": "c" * 129}, {"rule.campaign_id": "TEXT_INVALID"}),
        ({"campaign_id": None}, {"rule.currency_code": "CURRENCY_REQUIRED"}),
        ({"campaign_id": None, "currency_code": "usd"}, {"rule.currency_code": "TEXT_INVALID"}),
        ({"currency_code": "USD"}, {"rule.currency_code": "FIELDS_CONFLICT"}),
        (
            {"campaign_id": None, "metric": "ctr", "currency_code": "USD"},
            {"rule.currency_code": "FIELDS_CONFLICT"},
        ),
        ({"request_id": "x" * 129}, {"request_id": "TEXT_INVALID"}),
    ],
)
async def test_a_rule_that_makes_no_sense_is_refused_by_field(
    stubs: Stubs, fields: dict[str, Any], expected: dict[str, str]
) -> None:
    refused = await refusal(stubs.alerts.CreateAlertRule(request(**fields)))
    assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", expected)


async def test_unknown_campaigns_rules_and_pages_are_refused(stubs: Stubs) -> None:
    unknown = await refusal(stubs.alerts.CreateAlertRule(request(campaign_id="c9")))
    assert (unknown.code, unknown.reason) == ("NOT_FOUND", "CAMPAIGN_UNKNOWN")
    gone = await refusal(stubs.alerts.DeleteAlertRule(pb.DeleteAlertRuleRequest(rule_id="r9")))
    assert (gone.code, gone.reason) == ("NOT_FOUND", "ALERT_RULE_UNKNOWN")
    nameless = await refusal(stubs.alerts.DeleteAlertRule(pb.DeleteAlertRuleRequest()))
    assert nameless.fields == {"rule_id": "FIELD_REQUIRED"}
    naive = encode_page_token({"at": "2026-01-01", "rule_id": "a"})
    of_alerts = encode_page_token({"at": "2026-01-01T00:00:00+00:00", "alert_id": "a"})
    for token in ("x", naive, of_alerts):
        page = await refusal(stubs.alerts.ListAlertRules(pb.ListAlertRulesRequest(page_token=token)))
        assert page.fields == {"page_token": "PAGE_TOKEN_INVALID"}


async def test_more_rules_than_the_limit_are_refused(watched: Watched) -> None:
    for _ in range(5):
        await watched.create()
    refused = await refusal(watched.stubs.alerts.CreateAlertRule(request()))
    assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_RULES")


async def test_rules_and_alerts_come_in_pages_the_newest_first(watched: Watched) -> None:
    made = []
    for number in range(4):
        watched.clock.now += (number % 2) * DAY  # two of them at the same time
        rule = await watched.create(
            metric="impressions", kind=alerts_pb2.ALERT_KIND_BELOW, threshold=number + 1
        )
        made.append((-watched.clock.now.timestamp(), rule.rule_id))
        await watched.evaluate()
    seen, token = [], ""
    while True:
        page = await watched.stubs.alerts.ListAlertRules(
            pb.ListAlertRulesRequest(page_size=1, page_token=token)
        )
        seen += [rule.rule_id for rule in page.rules]
        if not (token := page.next_page_token):
            break
    assert seen == [rule_id for _, rule_id in sorted(made)]
    opened, token = [], ""
    while True:
        alerts = await watched.stubs.alerts.ListAlerts(pb.ListAlertsRequest(page_size=3, page_token=token))
        opened += [alert.opened_time.ToDatetime(UTC) for alert in alerts.alerts]
        if not (token := alerts.next_page_token):
            break
    assert opened == sorted(opened, reverse=True)
    assert len(opened) == 4


async def test_an_alert_opens_once_and_closes_when_it_is_over(watched: Watched) -> None:
    rule = await watched.create(metric="cost", kind=alerts_pb2.ALERT_KIND_ABOVE, threshold=10.0)
    assert await watched.evaluate() == "1 rules looked at, 0 alerts opened, 0 closed"
    await ingest(watched.stubs, event("a", cost=12.5, event_time=NOW))
    assert await watched.evaluate() == "1 rules looked at, 1 alerts opened, 0 closed"
    watched.clock.now += timedelta(minutes=1)
    assert await watched.evaluate() == "1 rules looked at, 0 alerts opened, 0 closed"
    (alert,) = await watched.alerts()
    assert (alert.rule, alert.value, alert.opened_time) == (rule, 12.5, timestamp(NOW))
    assert not alert.HasField("closed_time")
    assert not alert.HasField("value_interval")
    assert alert.message == "cost of campaign c1 is 12.50 over the last day, above 10.00"
    watched.clock.now += DAY
    assert await watched.evaluate() == "1 rules looked at, 0 alerts opened, 1 closed"
    (closed,) = await watched.alerts()
    assert closed.closed_time == timestamp(watched.clock.now)
    assert (await watched.alerts(only_open=True), await watched.alerts(campaign_id="c2")) == ([], [])
    assert len(await watched.alerts(campaign_id="c1")) == 1


async def test_a_forgotten_rule_closes_its_alert_and_raises_no_other(watched: Watched) -> None:
    rule = await watched.create(metric="impressions", threshold=5)
    await watched.evaluate()
    await watched.stubs.alerts.DeleteAlertRule(pb.DeleteAlertRuleRequest(rule_id=rule.rule_id))
    (alert,) = await watched.alerts()
    assert alert.closed_time == timestamp(NOW)
    assert alert.rule == rule
    assert await watched.evaluate() == "0 rules looked at, 0 alerts opened, 0 closed"
    again = await refusal(
        watched.stubs.alerts.DeleteAlertRule(pb.DeleteAlertRuleRequest(rule_id=rule.rule_id))
    )
    assert again.code == "NOT_FOUND"


async def send_views(stubs: Stubs, day: datetime, *, users: int, rate: float, seed: int) -> None:
    """Views by so many users, of whom a share converts, each with a revenue about 10 and a cost of 1."""
    random = Random(seed)  # noqa: S311 (a world, not a secret)
    events = []
    for number in range(users):
        user = f"u{seed}-{number}"
        events.append(event(f"v{user}", "VIEWED", user_id=user, event_time=day, cost=1))
        if random.random() < rate:
            events.append(
                event(
                    f"c{user}",
                    "CONVERTED",
                    user_id=user,
                    event_time=day,
                    revenue=round(10 * random.lognormvariate(0, 0.3), 2),
                )
            )
    await ingest(stubs, *events)


async def test_a_real_drop_is_found_with_its_figures_and_chance_is_not(watched: Watched) -> None:
    rule = await watched.create(
        metric="conversion_rate", kind=alerts_pb2.ALERT_KIND_DROP, threshold=0.2, days=1
    )
    total = await watched.create(
        metric="conversions", kind=alerts_pb2.ALERT_KIND_DROP, threshold=0.2, days=1, campaign_id=None
    )
    await watched.create(metric="conversions", kind=alerts_pb2.ALERT_KIND_DROP, threshold=0.2, days=1)
    await send_views(watched.stubs, NOW - DAY - timedelta(hours=3), users=600, rate=0.4, seed=1)
    await send_views(watched.stubs, NOW - timedelta(hours=3), users=600, rate=0.37, seed=2)
    assert await watched.evaluate() == "3 rules looked at, 0 alerts opened, 0 closed"
    watched.clock.now += DAY
    await send_views(watched.stubs, NOW + DAY - timedelta(hours=3), users=600, rate=0.15, seed=3)
    assert (
        await watched.evaluate() == "3 rules looked at, 2 alerts opened, 0 closed"
    )  # nobody knows all users
    assert await watched.run_job("portfolio_users") == "1800 users"
    assert await watched.evaluate() == "3 rules looked at, 1 alerts opened, 0 closed"
    of_rule = {alert.rule.rule_id: alert for alert in await watched.alerts()}
    alert = of_rule[rule.rule_id]
    assert alert.value == pytest.approx(0.15, abs=0.04)
    assert alert.baseline_value == pytest.approx(0.37, abs=0.05)
    assert alert.value_interval.lower < alert.value < alert.value_interval.upper < alert.baseline_value
    assert "conversion_rate of campaign c1" in alert.message
    sums = of_rule[total.rule_id]
    assert sums.value < 0.8 * sums.baseline_value
    assert sums.value_interval.lower < sums.value < sums.value_interval.upper
    assert "conversions of the portfolio" in sums.message


async def test_money_of_the_portfolio_is_watched_per_currency(watched: Watched) -> None:
    await add_catalog(watched.stubs, campaign("c1"), campaign("e1", merchant_id=2))
    for code in ("USD", "EUR"):
        await watched.create(
            campaign_id=None,
            currency_code=code,
            metric="profit",
            kind=alerts_pb2.ALERT_KIND_BELOW,
            threshold=-5.0,
        )
    await ingest(
        watched.stubs,
        event("a", cost=9, event_time=NOW),
        event("b", cost=2, campaign_id="e1", event_time=NOW),
    )
    await watched.evaluate()
    (alert,) = await watched.alerts()
    assert (alert.rule.currency_code, alert.value) == ("USD", -9.0)
    assert alert.message == "profit of the portfolio in USD is -9.00 over the last day, below -5.00"


async def following(call: Any) -> alerts_pb2.Alert:  # noqa: ANN401 (a call, untyped in gRPC's stubs)
    message = await asyncio.wait_for(call.read(), 60)
    assert message is not grpc.aio.EOF
    alert: alerts_pb2.Alert = message.alert
    return alert


async def test_alerts_are_streamed_as_they_open_and_close(watched: Watched) -> None:
    old = await watched.create(metric="impressions", threshold=1)
    await watched.evaluate()
    everything: Any = watched.stubs.alerts.WatchAlerts(pb.WatchAlertsRequest())
    assert (await following(everything)).rule.rule_id == old.rule_id
    of_c2: Any = watched.stubs.alerts.WatchAlerts(pb.WatchAlertsRequest(campaign_id="c2"))
    fresh = await watched.create(metric="views", threshold=1, campaign_id="c2")
    await watched.evaluate()
    for call in (everything, of_c2):
        opened = await following(call)
        assert (opened.rule.rule_id, opened.HasField("closed_time")) == (fresh.rule_id, False)
    await watched.stubs.alerts.DeleteAlertRule(pb.DeleteAlertRuleRequest(rule_id=fresh.rule_id))
    for call in (everything, of_c2):
        closed = await following(call)
        assert (closed.rule.rule_id, closed.HasField("closed_time")) == (fresh.rule_id, True)
    later: Any = watched.stubs.alerts.WatchAlerts(pb.WatchAlertsRequest())
    assert (await following(later)).rule.rule_id == old.rule_id  # what is over is not told to who comes now
