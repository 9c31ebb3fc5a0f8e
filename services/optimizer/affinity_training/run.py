"""Scores users in batches: everybody by a new model, or those of whom something came in.

Who fits or scores holds a lock in a transaction that reads nothing: what a transaction reads cannot be
altered before it ends, and this one may last an hour.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

from services.common.attempts import Attempts
from services.common.database import Connection, Database
from services.common.errors import FailedPreconditionError
from services.common.telemetry import get_logger
from services.optimizer.domain.affinity.answer import MerchantAffinity, answer_users, gather_for
from services.optimizer.domain.affinity.contacts import WINDOW_DAYS
from services.optimizer.domain.affinity.model import AffinityModel
from services.optimizer.domain.receipt import LATE_RECEIPT
from services.optimizer.store import affinity, affinity_models, catalog

KEPT_MERCHANTS: Final = 20
"""Merchants kept per user; a caller who asks for more is answered live."""
_USERS_AT_ONCE: Final = 500
_LISTED_AT_ONCE: Final = 10_000
_log = get_logger("optimizer")
Progress = Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """Scores batches of users and keeps what comes out."""

    database: Database
    model: AffinityModel
    zone: ZoneInfo
    now: datetime

    @property
    def since(self) -> datetime:
        """Where the window of contacts begins."""
        return window_start(self.now)

    async def score(self, user_ids: Sequence[str]) -> None:
        """Score users and keep their best merchants; users without any contact lose what was kept."""
        async with self.database.transaction() as connection:
            contacts = await affinity.list_contacts(
                connection, user_ids, self.model.positions, self.since, self.zone.key
            )
            tomorrow = self.now.astimezone(self.zone).date().toordinal() + 1
            evidence = gather_for(self.model, contacts, tomorrow, len(user_ids))
            answers = answer_users(self.model, evidence, limit=KEPT_MERCHANTS)
            kept: list[tuple[str, tuple[MerchantAffinity, ...]]] = [
                (user_id, answer if tenure > 0 else ())
                for user_id, answer, tenure in zip(user_ids, answers, evidence.tenure.tolist(), strict=True)
            ]
            await affinity.replace_kept_affinities(connection, kept, self.model.version, self.now)
            await affinity_models.update_pass(connection, self.model.version, user_ids[-1])

    async def try_to_score(self, user_ids: Sequence[str], attempts: Attempts) -> None:
        """Score users, parting those among whom somebody's contacts meet a defect, until these are alone.

        Such a user keeps what was kept, and is scored again with everybody after the next fit, or once
        something comes in.
        """
        if attempts.are_given_up or await attempts.succeeds(partial(self.score, user_ids), user_ids):
            return
        if len(user_ids) == 1:
            async with self.database.transaction() as connection:
                await affinity_models.update_pass(connection, self.model.version, user_ids[0])
            return
        middle = len(user_ids) // 2
        for part in (user_ids[:middle], user_ids[middle:]):
            await self.try_to_score(part, attempts)


async def run_refresh(database: Database, *, now: Callable[[], datetime]) -> str:
    """Score the users of whom something came in since the last time; return what was done, in one line.

    A scoring that was cut off, also a fit's of everybody, is gone on with.
    """
    async with database.transaction() as lock:
        await affinity_models.lock_affinity(lock)
        async with database.transaction(readonly=True) as connection:
            live = await affinity_models.fetch_live(connection)
        if live is None:
            return "nothing is fitted yet: the job affinity_model does it"
        scored = await score_by_version(database, live.version, now())
    return f"{scored} by version {live.version}"


async def score_by_version(database: Database, version: int, now: datetime) -> str:
    """Score the users who are due by a version that is kept; return how many, in words."""
    async with database.transaction(readonly=True) as connection:
        model = await affinity_models.fetch_model(connection, version)
        zone = await reporting_zone(connection)
    return await score_users(
        database, Scorer(database=database, model=model, zone=zone, now=now), _say_nothing
    )


async def require_contacts(database: Database, now: datetime) -> None:
    """Raise FailedPreconditionError (DATA_INSUFFICIENT) where nobody met a merchant."""
    async with database.transaction(readonly=True) as connection:
        if await affinity.list_contact_users(connection, "", window_start(now), 1):
            return
    raise FailedPreconditionError(
        f"no user met a merchant in the last {WINDOW_DAYS} days: send purchases or geofence entries first",
        reason="DATA_INSUFFICIENT",
    )


async def score_users(database: Database, scorer: Scorer, on_progress: Progress) -> str:
    """Score the users who are due, from where a scoring was cut off; return how many, in words.

    The first scoring by a version is of everybody who met a merchant in the window, each other one of those
    of whom something came in since the one before began.

    Raises:
        InternalError: a defect was met; the others are scored, unless it were too many. The scoring is ended
            by the next run, which goes on after them.
    """
    version = scorer.model.version
    async with database.transaction() as connection:
        begun = await affinity_models.begin_pass(connection, version)
    attempts, last = Attempts(log=_log, failure="a user's merchants cannot be scored"), begun.user_id
    while not attempts.are_given_up and (
        users := await _list_due(database, begun.refreshed_until, last, scorer.since)
    ):
        for batch in _batches(users):
            await scorer.try_to_score(batch, attempts)
        last = users[-1]
        on_progress(f"scored {attempts.done} users", 0.5)
    said = attempts.report(f"{attempts.done} users scored")
    async with database.transaction() as connection:
        if begun.refreshed_until is None:
            await affinity.delete_outdated_affinities(connection, version)
        await affinity_models.end_pass(connection, version)
    return said


async def _list_due(
    database: Database, refreshed_until: datetime | None, after: str, since: datetime
) -> list[str]:
    async with database.transaction(readonly=True) as connection:
        if refreshed_until is None:
            return await affinity.list_contact_users(connection, after, since, _LISTED_AT_ONCE)
        came_in = refreshed_until - LATE_RECEIPT
        return await affinity.list_changed_users(connection, after, came_in, _LISTED_AT_ONCE)


async def reporting_zone(connection: Connection) -> ZoneInfo:
    """Return the zone of the reporting days; UTC before analytics first started."""
    return ZoneInfo(await catalog.fetch_reporting_time_zone(connection) or "UTC")


def window_start(now: datetime) -> datetime:
    """Return where the window of contacts begins."""
    return now - timedelta(days=WINDOW_DAYS)


def _say_nothing(_stage: str, _fraction: float) -> None:
    """Report no progress."""


def _batches(users: Sequence[str]) -> list[Sequence[str]]:
    return [users[start : start + _USERS_AT_ONCE] for start in range(0, len(users), _USERS_AT_ONCE)]
