"""Use cases of send times: answering for a user, and keeping everybody's."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from services.common.attempts import Attempts
from services.common.database import Connection, Database
from services.common.errors import DeadlineExceededError, FailedPreconditionError
from services.common.telemetry import get_logger
from services.optimizer.domain.receipt import LATE_RECEIPT
from services.optimizer.domain.send_time.calibration import calibrate_gains
from services.optimizer.domain.send_time.counts import CellCount, History, list_sendings
from services.optimizer.domain.send_time.profile import SendTimeProfile, fit_profile
from services.optimizer.domain.send_time.recurrence import measure_recurrence
from services.optimizer.domain.send_time.send_time import (
    KeptSendTime,
    QuietHours,
    SendTime,
    Source,
    recommend,
)
from services.optimizer.domain.send_time.view_calibration import calibrate_views
from services.optimizer.operations.days import fetch_reporting_zone
from services.optimizer.store import send_times as store
from services.optimizer.store.send_times import UserPlace

JOB_NAME: Final = "send_times"
ANY_TYPE: Final = 0
HISTORY_DAYS: Final = 365
"""Days of a user's history, up to their last event."""
UNANSWERED: Final = timedelta(days=1)
"""How old a delivery must be to count: younger ones may still be answered."""
MOST_EVENTS: Final = 20_000
"""Events of a user that count, the last ones: 54 a day for a year. A longer history would hold up others."""
RETRY_AFTER: Final = timedelta(days=1)
"""When a user is tried again whose events cannot be counted in time even by themselves."""
SAMPLE_USERS: Final = 2_000
USERS_AT_ONCE: Final = 250
AGED: Final = timedelta(days=7)
"""Send times this old are computed anew after the next fit."""
GONE: Final = timedelta(days=400)
"""Users of whom nothing came in for so long are not kept; a question for one is answered from events."""
_log = get_logger("optimizer")
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class _People:
    """Users with the zone that their hours are told in and their segments."""

    user_ids: Sequence[str]
    time_zones: list[str]
    are_zones_known: list[bool]
    segment_set_ids: list[int | None]


class SendTimeOperations:
    """Recommends when to send.

    Args:
        database: where events are and send times are kept.
        now: the clock.
        quiet: the hours in which nothing is sent unless a request says otherwise.
        refit: how old the profile of everybody may become before it is fitted anew.
    """

    def __init__(
        self, database: Database, *, now: Callable[[], datetime], quiet: QuietHours, refit: timedelta
    ) -> None:
        self._database = database
        self._now = now
        self._quiet = quiet
        self._refit = refit
        self._zone_names: frozenset[str] = frozenset()
        self._profile: tuple[datetime, SendTimeProfile] | None = None

    async def optimize(self, user_id: str, campaign_type: int, quiet: QuietHours | None) -> KeptSendTime:
        """Return when to send to a user; what is kept where it answers the question, else from events.

        Raises:
            FailedPreconditionError: DATA_INSUFFICIENT, where nobody's history is known, this user's neither.
        """
        quiet = quiet or self._quiet
        async with self._database.acquire() as connection:
            people = await self._find(connection, [user_id])
            kept = await store.fetch_send_time(connection, user_id)
            if kept is not None and _answers(kept, people.time_zones[0], campaign_type, quiet):
                return replace(kept, is_zone_known=people.are_zones_known[0])
            profile = await self._load_profile(connection)
            counts = await self._count(connection, people)
        found = recommend(
            profile or SendTimeProfile.unlearned(),
            History.of([user_id], counts),
            people.segment_set_ids,
            campaign_type=campaign_type,
            quiet=quiet,
        )[0]
        if profile is None and found.source is not Source.USER:
            raise FailedPreconditionError(
                f"nobody's hours are known yet; ingest events, then run the job {JOB_NAME} "
                f"(RunJob, POST /api/optimize/jobs/{JOB_NAME}/run)",
                reason="DATA_INSUFFICIENT",
            )
        return KeptSendTime(
            send_time=found,
            time_zone=people.time_zones[0],
            computed_at=self._now(),
            is_interim=profile is None,
            is_zone_known=people.are_zones_known[0],
        )

    async def is_anything_due(self) -> bool:
        """Queue the users of whom events came in; return whether there is anybody to compute for."""
        await self._queue()
        async with self._database.acquire() as connection:
            return await store.is_anybody_queued(connection)

    async def refresh(self) -> str:
        """Compute the send times of users with new events, and fit the profile where it is due.

        Returns what was done, in one line. Batches are transactions of their own: a run that is cut off is
        gone on with by the next. Where a batch takes too long, its users come last, one by one; who still
        takes too long is left for a day. So is whose history meets a defect, and holds up nobody else.

        Raises:
            InternalError: a defect was met; the others' send times are kept, unless it were too many.
        """
        await self._queue()
        fitted = await self._fit_if_due()
        attempts = Attempts(log=_log, failure="a user's send times cannot be computed")
        while not attempts.are_given_up and (batch := await self._list_due()):
            if not await attempts.succeeds(partial(self._recompute, batch), batch):
                wait = RETRY_AFTER if len(batch) == 1 else timedelta(0)
                async with self._database.transaction() as connection:
                    await store.postpone_queued_users(connection, batch, wait)
        said = f"{attempts.done} users"
        return attempts.report(f"{said}, profile of {fitted} users fitted" if fitted else said)

    async def _queue(self) -> None:
        async with self._database.transaction() as connection:
            until = await store.fetch_progress(connection)
            since = _LONG_AGO if until is None else until - LATE_RECEIPT
            await store.queue_active_users(connection, since)

    async def _fit_if_due(self) -> int:
        """Fit the profile where there is none or it is old; returns of how many users, 0 where it was not."""
        now = self._now()
        async with self._database.acquire() as connection:
            fitted_at = await store.fetch_profile_time(connection)
            if fitted_at is not None and now - fitted_at < self._refit:
                return 0
            sample = await store.list_sample_users(connection, SAMPLE_USERS)
        counts: list[CellCount] = []
        counted: list[str] = []
        segment_set_ids: list[int | None] = []
        for start in range(0, len(sample), USERS_AT_ONCE):
            batch = sample[start : start + USERS_AT_ONCE]
            with suppress(DeadlineExceededError):  # a profile of the others is as good
                async with self._database.acquire() as connection:
                    some = await self._find(connection, batch)
                    counts += await self._count(connection, some)
                counted += batch
                segment_set_ids += some.segment_set_ids
        if not counts:
            return 0
        profile = await asyncio.to_thread(_fit, counted, counts, segment_set_ids)
        async with self._database.transaction() as connection:
            await store.upsert_profile(connection, profile, now)
            await store.queue_aged_users(connection, now - AGED)
        return profile.users

    async def _list_due(self) -> list[str]:
        """Return the users to compute for next; nobody before the profile was fitted."""
        async with self._database.acquire() as connection:
            if await store.fetch_profile_time(connection) is None:
                return []
            return await store.list_queued_users(connection, USERS_AT_ONCE)

    async def _recompute(self, user_ids: Sequence[str]) -> None:
        async with self._database.transaction() as connection:
            profile = await self._load_profile(connection) or SendTimeProfile.unlearned()
            await store.take_queued_users(connection, user_ids)
            gone = await store.forget_gone_users(connection, user_ids, GONE)
            user_ids = [user_id for user_id in user_ids if user_id not in gone]
            if not user_ids:
                return
            people = await self._find(connection, user_ids)
            counts = await self._count(connection, people)
            found = await asyncio.to_thread(
                _recommend, profile, user_ids, counts, people.segment_set_ids, self._quiet
            )
            now = self._now()
            await store.upsert_send_times(
                connection,
                [
                    KeptSendTime(send_time=best, time_zone=zone, computed_at=now)
                    for best, zone in zip(found, people.time_zones, strict=True)
                ],
            )

    async def _find(self, connection: Connection, user_ids: Sequence[str]) -> _People:
        """Find users' zones, the reporting one where the catalog or the database knows none, and segments."""
        if not self._zone_names:
            self._zone_names = await store.list_time_zone_names(connection)
        reporting = (await fetch_reporting_zone(connection)).key
        places = await store.list_user_places(connection, user_ids)
        return _People(
            user_ids=user_ids,
            time_zones=[self._known_zone(place, reporting) for place in places],
            are_zones_known=[place.time_zone in self._zone_names for place in places],
            segment_set_ids=[place.segment_set_id for place in places],
        )

    def _known_zone(self, place: UserPlace, otherwise: str) -> str:
        return place.time_zone if place.time_zone in self._zone_names else otherwise

    async def _count(self, connection: Connection, people: _People) -> list[CellCount]:
        return await store.list_send_time_counts(
            connection,
            people.user_ids,
            people.time_zones,
            days=HISTORY_DAYS,
            most_events=MOST_EVENTS,
            delivered_before=self._now() - UNANSWERED,
        )

    async def _load_profile(self, connection: Connection) -> SendTimeProfile | None:
        """Return the profile; it is read again only when it has changed."""
        fitted_at = await store.fetch_profile_time(connection)
        if fitted_at is None:
            return None
        if self._profile is None or self._profile[0] != fitted_at:
            self._profile = await store.fetch_profile(connection)
        return self._profile[1]


def _answers(kept: KeptSendTime, time_zone: str, campaign_type: int, quiet: QuietHours) -> bool:
    """Whether what is kept answers a question."""
    return campaign_type == ANY_TYPE and kept.time_zone == time_zone and kept.send_time.quiet == quiet


def _fit(
    user_ids: Sequence[str], counts: Sequence[CellCount], segment_set_ids: Sequence[int | None]
) -> SendTimeProfile:
    history = History.of(user_ids, counts)
    sendings = list_sendings(user_ids, counts)
    profile = fit_profile(history, sendings, segment_set_ids)
    return replace(
        profile,
        gain=calibrate_gains(profile, history, sendings, segment_set_ids),
        recurrence=measure_recurrence(sendings, segment_set_ids),
        view_shift=calibrate_views(profile, history, sendings, segment_set_ids),
    )


def _recommend(
    profile: SendTimeProfile,
    user_ids: Sequence[str],
    counts: Sequence[CellCount],
    segment_set_ids: Sequence[int | None],
    quiet: QuietHours,
) -> list[SendTime]:
    history = History.of(user_ids, counts)
    return recommend(profile, history, segment_set_ids, campaign_type=ANY_TYPE, quiet=quiet)
