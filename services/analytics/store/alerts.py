"""Statements of alert rules and alerts, and what the rules look at."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime

from services.analytics.domain.alert_metrics import METRICS, AlertCounts, Life
from services.analytics.domain.alerts import KINDS, Alert, AlertRule, Finding
from services.analytics.domain.intervals import ConfidenceInterval
from services.analytics.store.statements import STATEMENTS, Connection, Record

_COUNTS = tuple(field.name for field in fields(AlertCounts))
_BESIDE_COUNTS = ("users", "paying_users", "notified_users", "imported_cost_micros")


@dataclass(frozen=True, kw_only=True)
class LiveRule:
    """A rule, and whether it has an open alert."""

    rule: AlertRule
    is_open: bool


async def insert_alert_rule(connection: Connection, rule: AlertRule, request_id: str | None) -> bool:
    """Keep a rule; False where the request has made one before."""
    kept = await connection.fetchval(
        STATEMENTS["insert_alert_rule"].sql,
        rule.rule_id,
        request_id,
        rule.campaign_id,
        rule.currency_code,
        rule.metric.name,
        KINDS.index(rule.kind) + 1,
        rule.threshold,
        rule.days,
        rule.minimum_volume,
        rule.requires_significance,
        rule.created_at,
    )
    return kept is not None


async def fetch_alert_rule_of_request(connection: Connection, request_id: str) -> AlertRule:
    """Return the rule that a request made."""
    row = await connection.fetchrow(STATEMENTS["fetch_alert_rule_of_request"].sql, request_id)
    assert row is not None, "a request that cannot be kept again has made a rule"
    return _rule(row)


async def count_alert_rules(connection: Connection) -> int:
    """Return how many rules are live."""
    return int(await connection.fetchval(STATEMENTS["count_alert_rules"].sql))


async def list_alert_rules(
    connection: Connection, *, campaign_id: str | None, after: tuple[datetime, str] | None, limit: int
) -> Sequence[AlertRule]:
    """Return live rules, the newest first, after the one made at a time with an id."""
    rows = await connection.fetch(
        STATEMENTS["list_alert_rules"].sql, campaign_id, *(after or (None, None)), limit
    )
    return [_rule(row) for row in rows]


async def delete_alert_rule(connection: Connection, rule_id: str, now: datetime) -> bool:
    """Forget a rule; False for an unknown one."""
    return await connection.fetchval(STATEMENTS["delete_alert_rule"].sql, rule_id, now) is not None


async def list_live_alert_rules(connection: Connection) -> Sequence[LiveRule]:
    """Return every live rule."""
    rows = await connection.fetch(STATEMENTS["list_live_alert_rules"].sql)
    return [LiveRule(rule=_rule(row), is_open=row["open_alert_id"] is not None) for row in rows]


async def open_alert(
    connection: Connection, alert_id: str, rule_id: str, *, now: datetime, finding: Finding, message: str
) -> bool:
    """Open an alert of a rule; False where the rule was forgotten meanwhile, or has an open one."""
    interval = finding.interval
    opened = await connection.fetchval(
        STATEMENTS["open_alert"].sql,
        alert_id,
        rule_id,
        now,
        finding.value,
        interval.lower if interval else None,
        interval.upper if interval else None,
        finding.baseline,
        message,
    )
    return opened is not None


async def close_alerts_of_rule(connection: Connection, rule_id: str, now: datetime) -> bool:
    """Close a rule's open alert; False where it has none."""
    return await connection.fetchval(STATEMENTS["close_alerts_of_rule"].sql, rule_id, now) is not None


async def list_alerts(
    connection: Connection,
    *,
    campaign_id: str | None,
    only_open: bool,
    after: tuple[datetime, str] | None,
    limit: int,
) -> Sequence[Alert]:
    """Return alerts, the newest first, after the one opened at a time with an id."""
    rows = await connection.fetch(
        STATEMENTS["list_alerts"].sql, campaign_id, only_open, *(after or (None, None)), limit
    )
    return [_alert(row) for row in rows]


async def list_recent_alerts(connection: Connection, closed_since: datetime) -> Sequence[Alert]:
    """Return open alerts, and those closed since a time, oldest first."""
    rows = await connection.fetch(STATEMENTS["list_recent_alerts"].sql, closed_since)
    return [_alert(row) for row in rows]


async def is_campaign_known(connection: Connection, campaign_id: str) -> bool:
    """Return whether the catalog has a campaign."""
    return await connection.fetchval(STATEMENTS["fetch_alert_campaign"].sql, campaign_id) is not None


async def fetch_alert_days(connection: Connection, rule: AlertRule, start: date, end: date) -> AlertCounts:
    """Return what a rule's campaign, or portfolio, did on some days, both ends included."""
    if rule.campaign_id is None:
        statement, whose = "fetch_alert_portfolio_days", rule.currency_code
    else:
        statement, whose = "fetch_alert_campaign_days", rule.campaign_id
    row = await connection.fetchrow(STATEMENTS[statement].sql, whose, start, end)
    assert row is not None, "an aggregate has a row"
    return AlertCounts(**dict(row))


async def fetch_alert_hours(
    connection: Connection, rule: AlertRule, start_at: datetime, end_at: datetime
) -> AlertCounts:
    """Return what a rule's campaign, or portfolio, did in some hours, `end_at` excluded; without cost."""
    if rule.campaign_id is None:
        statement, whose = "fetch_alert_portfolio_hours", rule.currency_code
    else:
        statement, whose = "fetch_alert_campaign_hours", rule.campaign_id
    row = await connection.fetchrow(STATEMENTS[statement].sql, whose, start_at, end_at)
    assert row is not None, "an aggregate has a row"
    return AlertCounts(**dict(row))


async def fetch_alert_life(connection: Connection, rule: AlertRule) -> Life:
    """Return the life of a rule's campaign, or of all campaigns; empty where nobody has added it up."""
    if rule.campaign_id is None:
        statement, whose = "fetch_alert_portfolio_life", rule.currency_code
    else:
        statement, whose = "fetch_alert_campaign_life", rule.campaign_id
    row = await connection.fetchrow(STATEMENTS[statement].sql, whose)
    if row is None:
        return Life()
    return Life(
        **{name: row[name] for name in _BESIDE_COUNTS},
        counts=AlertCounts(**{name: row[name] for name in _COUNTS}),
        products={name: int(row[name]) for name in set(row.keys()) - {*_COUNTS, *_BESIDE_COUNTS}},
    )


def _rule(row: Record) -> AlertRule:
    return AlertRule(
        rule_id=row["rule_id"],
        campaign_id=row["campaign_id"],
        currency_code=row["currency_code"],
        metric=METRICS[row["metric"]],
        kind=KINDS[row["kind"] - 1],
        threshold=row["threshold"],
        days=row["days"],
        minimum_volume=row["minimum_volume"],
        requires_significance=row["requires_significance"],
        created_at=row["created_at"],
    )


def _alert(row: Record) -> Alert:
    lower, upper = row["value_lower"], row["value_upper"]
    return Alert(
        alert_id=row["alert_id"],
        rule=_rule(row),
        opened_at=row["opened_at"],
        closed_at=row["closed_at"],
        value=row["value"],
        value_interval=None if lower is None else ConfidenceInterval(lower=lower, upper=upper),
        baseline_value=row["baseline_value"],
        message=row["message"],
    )
