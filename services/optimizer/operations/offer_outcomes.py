"""Measures what applied recommendations and ended A/B tests did, and lists it; lets the others expire."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Final
from uuid import NAMESPACE_URL, uuid5
from zoneinfo import ZoneInfo

from services.common.database import Connection, Database
from services.common.errors import DeadlineExceededError, InternalError, UnavailableError
from services.common.jobs import Every, Job, JobContext
from services.common.telemetry import get_logger
from services.optimizer.domain.offers.answer import Interval
from services.optimizer.domain.recommendations.outcomes import (
    OUTCOME_DAYS,
    Outcome,
    OutcomeKey,
    OutcomeSource,
    compare_counts,
    count_days,
    expect_effect,
    measured_by,
    weigh_promise,
)
from services.optimizer.domain.recommendations.recommendations import Recommendation, RecommendationType
from services.optimizer.domain.recommendations.terms import Terms, terms_of_campaign
from services.optimizer.domain.recommendations.worth import Figure, Worth, told
from services.optimizer.operations.days import fetch_reporting_zone
from services.optimizer.operations.lookup import require_campaign
from services.optimizer.operations.outcome_worth import (
    Span,
    fetch_concurrent_worth,
    fetch_test_worth,
    fetch_worth,
)
from services.optimizer.operations.recommendations import expire
from services.optimizer.store import offer_outcomes as store
from services.optimizer.store.catalog import fetch_campaign
from services.optimizer.store.offer_outcomes import EndedTest
from services.optimizer.store.recommendations import list_expired

AT_ONCE: Final = 500
"""Rows that one run of the job looks at."""
_MOST_NAMED: Final = 5
_log = get_logger("optimizer")
DAY: Final = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class OutcomePage:
    """Outcomes, and where the next page begins; None for the last one."""

    outcomes: tuple[Outcome, ...]
    next_key: OutcomeKey | None


class OutcomeOperations:
    """Lists outcomes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_outcomes(self, campaign_id: str, after: OutcomeKey | None, page_size: int) -> OutcomePage:
        """Return a page, the latest applied first.

        Raises:
            NotFoundError: CAMPAIGN_UNKNOWN, where neither the catalog nor any outcome knows the campaign.
        """
        async with self._database.transaction(readonly=True) as connection:
            found = await store.list_outcomes(connection, campaign_id, after, page_size + 1)
            if campaign_id and not found:
                await require_campaign(connection, campaign_id)
        shown = tuple(found[:page_size])
        if len(found) <= page_size:
            return OutcomePage(outcomes=shown, next_key=None)
        last = OutcomeKey(applied_at=shown[-1].applied_at, history_id=shown[-1].history_id)
        return OutcomePage(outcomes=shown, next_key=last)


@dataclass(frozen=True, kw_only=True)
class Reckoning:
    """What one run of the job did; `failed` names what could not be measured."""

    expired: int
    measured: int
    tests: int
    failed: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = f"{self.expired} expired, {self.measured} outcomes measured, {self.tests} tests kept"
        if not self.failed:
            return said
        more = len(self.failed) - _MOST_NAMED
        names = ", ".join(self.failed[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        return f"{said}; not measured, and tried again later: {names} (see the log)"


class OutcomeKeeper:
    """What the job does; every outcome is a transaction of its own, and may be measured again."""

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def reckon(self) -> Reckoning:
        """Let recommendations expire, measure what was applied, and keep what tests found.

        What takes too long, or meets a defect, holds up nothing else: a recommendation is tried again the
        next day, a test by the next run.
        """
        expired = await self._expire()
        measured, put_off = await self._measure()
        tests, unkept = await self._keep_tests()
        return Reckoning(expired=expired, measured=measured, tests=tests, failed=(*put_off, *unkept))

    async def _expire(self) -> int:
        now = self._now()
        async with self._database.transaction() as connection:
            names = await list_expired(connection, now, AT_ONCE)
            return sum([await expire(connection, name, now) for name in names])

    async def _measure(self) -> tuple[int, list[str]]:
        """Return how many outcomes were measured, and the recommendations that could not be."""
        now, failed = self._now(), []
        async with self._database.acquire() as connection:
            zone = await fetch_reporting_zone(connection)
            today = datetime.combine(now.astimezone(zone).date(), time(), tzinfo=zone)
            applied = await store.list_unmeasured(connection, today, AT_ONCE)
        for kept, since in applied:
            name = kept.recommendation_id
            if not await self._try(partial(self._measure_one, kept, since, now, zone), name):
                failed.append(name)
                with suppress(DeadlineExceededError):  # it is somebody's: tried again by the next run
                    async with self._database.transaction() as connection:
                        await store.note_measured(connection, name, now, is_final=False)
        return len(applied) - len(failed), failed

    async def _measure_one(
        self, recommendation: Recommendation, since: datetime, now: datetime, zone: ZoneInfo
    ) -> None:
        async with self._database.transaction() as connection:
            outcome = await _measure(connection, recommendation, since, now, zone)
            await store.upsert_outcome(connection, outcome)
            await store.note_measured(connection, outcome.source_id, now, is_final=outcome.is_final)

    async def _keep_tests(self) -> tuple[int, list[str]]:
        """Return how many comparisons of tests were kept, and those that could not be."""
        now, failed = self._now(), []
        async with self._database.acquire() as connection:
            zone = await fetch_reporting_zone(connection)
            tests = await store.list_unkept_tests(connection, AT_ONCE)
        for test in tests:
            name = f"{test.test_id}/{test.group_name}"
            if not await self._try(partial(self._keep_test, test, now, zone), name):
                failed.append(name)
        return len(tests) - len(failed), failed

    async def _keep_test(self, test: EndedTest, now: datetime, zone: ZoneInfo) -> None:
        async with self._database.transaction() as connection:
            await store.upsert_outcome(connection, await _measure_test(connection, test, now, zone))

    async def _try(self, measure: Callable[[], Awaitable[None]], source_id: str) -> bool:
        """Return whether an outcome was measured; why not is logged, unless no other one could be either."""
        try:
            await measure()
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 (whatever one outcome meets, the others go on)
            _log.error("an outcome cannot be measured", source_id=source_id, exc_info=error)
            return False
        return True


def build_outcomes_job(keeper: OutcomeKeeper, *, seconds: float) -> Job:
    """Return the job that measures outcomes; it has failed where one could not be, the others being kept."""

    async def run(_context: JobContext) -> str:
        reckoning = await keeper.reckon()
        if reckoning.failed:
            raise InternalError(str(reckoning), reason="INTERNAL")
        return str(reckoning)

    return Job(name="outcomes", schedule=Every(seconds=seconds), run=run)


async def _measure(
    connection: Connection,
    recommendation: Recommendation,
    applied_at: datetime,
    now: datetime,
    zone: ZoneInfo,
) -> Outcome:
    """Count whole days: the day of the application is neither before nor after.

    An offer is counted at the recommended one since, and at the one it replaces (where that is known) before.
    """
    draft = recommendation.draft
    applied_day, campaign_id = applied_at.astimezone(zone).date(), recommendation.campaign_id
    end_day = applied_day + DAY * (1 + OUTCOME_DAYS)
    today = now.astimezone(zone).date()
    since = await store.list_campaign_days(
        connection, campaign_id, applied_day + DAY, min(end_day, today), draft.offer_micros
    )
    before = await store.list_campaign_days(
        connection, campaign_id, applied_day - OUTCOME_DAYS * DAY, applied_day, draft.previous_offer_micros
    )
    observed, previous, metric = count_days(since), count_days(before), measured_by(draft.type)
    effect, effect_interval = compare_counts(count_days(since, metric), count_days(before, metric))
    worth, concurrent = await _fetch_worths(
        connection, recommendation, applied_day, min(end_day, today), zone
    )
    rate = None if effect is None else told(Figure(value=effect, interval=effect_interval))
    return Outcome(
        history_id=_history_id(recommendation.recommendation_id),
        campaign_id=campaign_id,
        source=OutcomeSource.RECOMMENDATION,
        source_id=recommendation.recommendation_id,
        type=draft.type,
        choice=draft.choice,
        previous_offer_micros=draft.previous_offer_micros,
        offer_micros=draft.offer_micros,
        predicted_rate=draft.predicted_rate,
        predicted_interval=draft.predicted_interval,
        expected_effect=expect_effect(draft),
        observed_views=observed.trials,
        observed_conversions=observed.conversions,
        observed_interval=observed.interval,
        previous_views=previous.trials,
        previous_conversions=previous.conversions,
        previous_interval=previous.interval,
        effect=effect,
        effect_interval=effect_interval,
        applied_at=applied_at,
        measured_at=max(now, applied_at),
        window_ends_at=datetime.combine(end_day, time(), tzinfo=zone),
        is_final=today >= end_day,
        worth=worth,
        concurrent=concurrent,
        promise=weigh_promise(draft, worth, concurrent, rate),
    )


async def _fetch_worths(
    connection: Connection, recommendation: Recommendation, applied_day: date, end_day: date, zone: ZoneInfo
) -> tuple[Worth | None, Worth | None]:
    """Return what was earned beside before, and beside the previous offer where it was sent on these days."""
    draft, campaign_id = recommendation.draft, recommendation.campaign_id
    terms = draft.terms or await _fetch_terms(connection, campaign_id)
    after = Span(
        campaign_id=campaign_id,
        first_day=applied_day + DAY,
        end_day=max(end_day, applied_day + DAY),
        offer_micros=draft.offer_micros,
    )
    before = replace(
        after,
        first_day=applied_day - OUTCOME_DAYS * DAY,
        end_day=applied_day,
        offer_micros=draft.previous_offer_micros,
    )
    worth = await fetch_worth(
        connection, before, after, zone=zone, metric=measured_by(draft.type), terms=terms
    )
    if draft.offer_micros is None or draft.previous_offer_micros is None:
        return worth, None
    previous = replace(after, offer_micros=draft.previous_offer_micros)
    return worth, await fetch_concurrent_worth(connection, previous, after, zone=zone, terms=terms)


async def _fetch_terms(connection: Connection, campaign_id: str) -> Terms:
    """Return the terms of a recommendation that did not keep its own: nobody knows the margin of then."""
    campaign = await fetch_campaign(connection, campaign_id)
    return Terms(currency_code="" if campaign is None else campaign.currency_code, gross_margin_rate=None)


async def _measure_test(connection: Connection, test: EndedTest, now: datetime, zone: ZoneInfo) -> Outcome:
    """Count the whole campaigns while the test ran; the lift is the test's own, of its users."""
    days = test.started_at.astimezone(zone).date(), test.ended_at.astimezone(zone).date() + DAY
    observed = count_days(await store.list_campaign_days(connection, test.campaign_id, *days))
    control = count_days(await store.list_campaign_days(connection, test.control_campaign_id, *days))
    lower, upper = test.relative_lift_lower, test.relative_lift_upper
    return Outcome(
        history_id=_history_id(f"{test.test_id}/{test.group_name}"),
        campaign_id=test.campaign_id,
        source=OutcomeSource.AB_TEST,
        source_id=test.test_id,
        type=RecommendationType.OFFER_AMOUNT,
        choice=test.group_name,
        previous_offer_micros=await store.fetch_sent_offer(connection, test.control_campaign_id, *days),
        offer_micros=await store.fetch_sent_offer(connection, test.campaign_id, *days),
        predicted_rate=None,
        predicted_interval=None,
        expected_effect=None,
        observed_views=observed.trials,
        observed_conversions=observed.conversions,
        observed_interval=observed.interval,
        previous_views=control.trials,
        previous_conversions=control.conversions,
        previous_interval=control.interval,
        effect=test.relative_lift,
        effect_interval=None if lower is None or upper is None else Interval(lower=lower, upper=upper),
        applied_at=test.started_at,
        measured_at=max(now, test.started_at),
        window_ends_at=test.ended_at,
        is_final=True,
        worth=await _fetch_test_worth(connection, test, days, zone),
    )


async def _fetch_test_worth(
    connection: Connection, test: EndedTest, days: tuple[date, date], zone: ZoneInfo
) -> Worth | None:
    """Return what the test's campaigns earned by the catalog's margins; None where one is unknown to it."""
    names = test.control_campaign_id, test.campaign_id
    control, variant = [await fetch_campaign(connection, name) for name in names]
    if control is None or variant is None:
        return None
    spans = [Span(campaign_id=name, first_day=days[0], end_day=days[1]) for name in names]
    terms = terms_of_campaign(control), terms_of_campaign(variant)
    return await fetch_test_worth(connection, spans[0], spans[1], zone=zone, terms=terms)


def _history_id(source: str) -> str:
    """Return the id of a source's outcome: the same however often it is measured."""
    return str(uuid5(NAMESPACE_URL, f"offer-outcome:{source}"))
