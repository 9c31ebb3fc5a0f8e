"""Use cases of alerts: keep rules, evaluate them, list and stream what went out of bounds."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

from services.analytics.domain.alert_metrics import AlertCounts
from services.analytics.domain.alerts import (
    Alert,
    AlertRule,
    AlertWindow,
    describe,
    judge,
    window_of,
)
from services.analytics.operations.changes import ALERTS, Changes
from services.analytics.operations.ranges import unknown_campaign
from services.analytics.operations.watch_hub import WatchHub
from services.analytics.store import alerts as store
from services.common.database import Connection, Database
from services.common.errors import AlreadyExistsError, NotFoundError, ResourceExhaustedError

REMEMBERED = timedelta(hours=1)
"""How long a closed alert is still told to those who watched it open, should they have missed its end."""
Position = tuple[datetime, str]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a look at every rule did."""

    rules: int
    opened: int
    closed: int

    def __str__(self) -> str:
        return f"{self.rules} rules looked at, {self.opened} alerts opened, {self.closed} closed"


class AlertOperations:
    """Keeps rules and tells when one is out of bounds.

    Args:
        database: where rules, alerts and rollups are.
        changes: is told when alerts opened or closed.
        hub: what is watched.
        zone: the reporting zone, whose days the windows are.
        clock: the present, aware.
        maximum_rules: how many rules may be live.
    """

    def __init__(
        self,
        database: Database,
        *,
        changes: Changes,
        hub: WatchHub,
        zone: ZoneInfo,
        clock: Callable[[], datetime],
        maximum_rules: int,
    ) -> None:
        self._database = database
        self._changes = changes
        self._hub = hub
        self._zone = zone
        self._clock = clock
        self._maximum_rules = maximum_rules

    async def create_rule(self, rule: AlertRule, request_id: str | None) -> AlertRule:
        """Keep a rule under a new id, made now; return the one that the same request made before.

        Raises:
            NotFoundError: CAMPAIGN_UNKNOWN.
            AlreadyExistsError: REQUEST_ID_CONFLICT, the request made another rule.
            ResourceExhaustedError: TOO_MANY_RULES.
        """
        rule = replace(rule, rule_id=str(uuid4()), created_at=self._clock())
        async with self._database.transaction() as connection:
            if rule.campaign_id is not None and not await store.is_campaign_known(
                connection, rule.campaign_id
            ):
                raise unknown_campaign(rule.campaign_id)
            if not await store.insert_alert_rule(connection, rule, request_id):
                return await self._fetch_same(connection, rule, request_id or "")
            if await store.count_alert_rules(connection) > self._maximum_rules:
                raise ResourceExhaustedError(
                    f"at most {self._maximum_rules} rules are kept; delete one first",
                    reason="TOO_MANY_RULES",
                    metadata={"limit": str(self._maximum_rules)},
                )
        return rule

    async def _fetch_same(self, connection: Connection, rule: AlertRule, request_id: str) -> AlertRule:
        known = await store.fetch_alert_rule_of_request(connection, request_id)
        if replace(known, rule_id=rule.rule_id, created_at=rule.created_at) != rule:
            raise AlreadyExistsError(
                "this request_id made another rule before",
                reason="REQUEST_ID_CONFLICT",
                metadata={"request_id": request_id},
            )
        return known

    async def list_rules(
        self, *, campaign_id: str | None, after: Position | None, size: int
    ) -> tuple[Sequence[AlertRule], bool]:
        """Return a page of live rules, the newest first, and whether there are more."""
        async with self._database.acquire() as connection:
            rules = await store.list_alert_rules(
                connection, campaign_id=campaign_id, after=after, limit=size + 1
            )
        return rules[:size], len(rules) > size

    async def delete_rule(self, rule_id: str) -> None:
        """Forget a rule, and close its alert.

        Raises:
            NotFoundError: ALERT_RULE_UNKNOWN.
        """
        now = self._clock()
        async with self._database.transaction() as connection:
            if not await store.delete_alert_rule(connection, rule_id, now):
                raise NotFoundError(
                    f"no alert rule '{rule_id}'", reason="ALERT_RULE_UNKNOWN", metadata={"rule_id": rule_id}
                )
            closed = await store.close_alerts_of_rule(connection, rule_id, now)
        if closed:
            self._changes.mark_alerts()

    async def list_alerts(
        self, *, campaign_id: str | None, only_open: bool, after: Position | None, size: int
    ) -> tuple[Sequence[Alert], bool]:
        """Return a page of alerts, the newest first, and whether there are more."""
        async with self._database.acquire() as connection:
            alerts = await store.list_alerts(
                connection, campaign_id=campaign_id, only_open=only_open, after=after, limit=size + 1
            )
        return alerts[:size], len(alerts) > size

    async def watch_alerts(self, campaign_id: str | None) -> AsyncGenerator[Alert, None]:
        """Yield the open alerts, and every one that opens or closes, until the caller leaves.

        Raises:
            DomainError: as `WatchHub.watch`.
        """
        known: dict[str, bool] | None = None  # by alert, whether it was open
        async for observed in self._hub.watch(ALERTS, self._read_recent):
            recent = [a for a in observed.value if campaign_id is None or a.rule.campaign_id == campaign_id]
            before = known
            known = {alert.alert_id: alert.closed_at is None for alert in recent}
            for alert in recent:
                is_open = alert.closed_at is None
                if is_open if before is None else before.get(alert.alert_id) != is_open:
                    yield alert

    async def _read_recent(self) -> Sequence[Alert]:
        async with self._database.acquire() as connection:
            return await store.list_recent_alerts(connection, self._clock() - REMEMBERED)

    async def evaluate(self) -> Evaluation:
        """Look at every rule; open an alert where one went out of bounds, close those that are over."""
        now = self._clock()
        async with self._database.acquire() as connection:
            rules = await store.list_live_alert_rules(connection)
        opened = closed = 0
        try:
            for live in rules:
                did_open, did_close = await self._evaluate_rule(live, now)
                opened, closed = opened + did_open, closed + did_close
        finally:
            if opened or closed:
                self._changes.mark_alerts()
        return Evaluation(rules=len(rules), opened=opened, closed=closed)

    async def _evaluate_rule(self, live: store.LiveRule, now: datetime) -> tuple[bool, bool]:
        """Return whether an alert opened, and whether one closed."""
        rule = live.rule
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            window = window_of(rule, now, self._zone)
            counts = await _count(connection, rule, window)
            before = None if window.before is None else await _count(connection, rule, window.before)
            life = await store.fetch_alert_life(connection, rule)
        finding = judge(rule, window=counts, before=before, life=life)
        async with self._database.acquire() as connection:
            if live.is_open:
                is_over = finding is None or not finding.is_beyond
                return False, is_over and await store.close_alerts_of_rule(connection, rule.rule_id, now)
            if finding is None or not finding.is_sure:
                return False, False
            opened = await store.open_alert(
                connection,
                str(uuid4()),
                rule.rule_id,
                now=now,
                finding=finding,
                message=describe(rule, finding),
            )
        return opened, False


async def _count(connection: Connection, rule: AlertRule, window: AlertWindow) -> AlertCounts:
    if window.hours is not None:
        return await store.fetch_alert_hours(connection, rule, *window.hours)
    return await store.fetch_alert_days(connection, rule, window.days.start, window.days.end)
