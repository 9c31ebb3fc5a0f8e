"""Statements of when users act and answer, and of what is kept of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.optimizer.domain.offers.answer import Interval
from services.optimizer.domain.send_time.cell_scores import CellScores
from services.optimizer.domain.send_time.counts import CellCount
from services.optimizer.domain.send_time.documents import profile_from_document, profile_to_document
from services.optimizer.domain.send_time.profile import SendTimeProfile
from services.optimizer.domain.send_time.send_time import (
    KeptSendTime,
    QuietHours,
    SendTime,
    Source,
)
from services.optimizer.domain.send_time.timing_gain import GainCalibration, gain_from_document
from services.optimizer.store.statements import STATEMENTS, Connection, Record, fetch_required

HOUR: Final = "hour"
DAY: Final = "day"
"""Cycles, as columns are called by them; of days the errors of values alone are kept: no rates are told."""


@dataclass(frozen=True, kw_only=True)
class UserPlace:
    """What the catalog says of a user: their time zone and the number of their set of segments."""

    time_zone: str | None
    segment_set_id: int | None


async def list_time_zone_names(connection: Connection) -> frozenset[str]:
    """Return the time zones that statements may name."""
    rows = await connection.fetch(STATEMENTS["list_time_zone_names"].sql)
    return frozenset(row["name"] for row in rows)


async def list_user_places(connection: Connection, user_ids: Sequence[str]) -> list[UserPlace]:
    """Return what the catalog says of users, in their order."""
    rows = await connection.fetch(STATEMENTS["list_user_places"].sql, list(user_ids))
    return [UserPlace(time_zone=row["time_zone"], segment_set_id=row["segment_set_id"]) for row in rows]


async def list_send_time_counts(
    connection: Connection,
    user_ids: Sequence[str],
    time_zones: Sequence[str],
    *,
    days: int,
    most_events: int,
    delivered_before: datetime,
) -> list[CellCount]:
    """Return what users did by hour and weekday, in so many days up to each one's last event.

    Of a user's events in these days the last `most_events` count.
    """
    rows = await connection.fetch(
        STATEMENTS["list_send_time_counts"].sql,
        list(user_ids),
        list(time_zones),
        days,
        delivered_before,
        most_events,
    )
    return [CellCount(**dict(row)) for row in rows]


async def fetch_progress(connection: Connection) -> datetime | None:
    """Return until when received events have queued their users, None before the first time."""
    row = await connection.fetchrow(STATEMENTS["fetch_send_time_progress"].sql)
    return None if row is None else row["received_until"]


async def queue_active_users(connection: Connection, since: datetime) -> None:
    """Queue the users of whom events were received since a time, and keep that all before now have been."""
    await connection.execute(STATEMENTS["queue_active_users"].sql, since)
    await connection.execute(STATEMENTS["upsert_send_time_progress"].sql)


async def queue_aged_users(connection: Connection, before: datetime) -> None:
    """Queue the users whose send times were computed before a time."""
    await connection.execute(STATEMENTS["queue_aged_users"].sql, before)


async def is_anybody_queued(connection: Connection) -> bool:
    """Return whether the queue has users who are due."""
    return await connection.fetchrow(STATEMENTS["fetch_queued_user"].sql) is not None


async def list_sample_users(connection: Connection, most: int) -> list[str]:
    """Return at most so many of the users queued and kept, always the same of the same ones."""
    rows = await connection.fetch(STATEMENTS["list_sample_users"].sql, most)
    return [row["user_id"] for row in rows]


async def list_queued_users(connection: Connection, most: int) -> list[str]:
    """Return at most so many users of the queue who were not tried yet; else one who is to be tried again."""
    rows = await connection.fetch(STATEMENTS["list_queued_users"].sql, most)
    if not rows:
        rows = await connection.fetch(STATEMENTS["list_users_to_retry"].sql, 1)
    return [row["user_id"] for row in rows]


async def take_queued_users(connection: Connection, user_ids: Sequence[str]) -> None:
    """Take users out of the queue; they are back if the transaction fails."""
    await connection.execute(STATEMENTS["take_queued_users"].sql, list(user_ids))


async def forget_gone_users(
    connection: Connection, user_ids: Sequence[str], after: timedelta
) -> frozenset[str]:
    """Forget what is kept of those users of whom nothing came in for some time; return them."""
    rows = await connection.fetch(STATEMENTS["list_gone_users"].sql, list(user_ids), after)
    gone = frozenset(str(row["user_id"]) for row in rows)
    if gone:
        await connection.execute(STATEMENTS["delete_send_times"].sql, sorted(gone))
    return gone


async def postpone_queued_users(connection: Connection, user_ids: Sequence[str], wait: timedelta) -> None:
    """Put users behind the others, each to be tried again by itself after some time."""
    await connection.execute(STATEMENTS["postpone_queued_users"].sql, list(user_ids), wait)


async def fetch_profile_time(connection: Connection) -> datetime | None:
    """Return when the profile was fitted, None where there is none."""
    row = await connection.fetchrow(STATEMENTS["fetch_send_time_profile_time"].sql)
    return None if row is None else row["fitted_at"]


async def fetch_profile(connection: Connection) -> tuple[datetime, SendTimeProfile]:
    """Return the profile, which is known to be there, and when it was fitted."""
    row = await fetch_required(connection, "fetch_send_time_profile")
    return row["fitted_at"], profile_from_document(json.loads(row["document"]))


async def fetch_timing_gain(connection: Connection) -> GainCalibration | None:
    """Return what hours' values are worth in conversions, None where it was not learned."""
    gain: str | None = await connection.fetchval(STATEMENTS["fetch_timing_gain"].sql)
    return None if gain is None else gain_from_document(json.loads(gain))


async def upsert_profile(connection: Connection, profile: SendTimeProfile, fitted_at: datetime) -> None:
    """Keep the profile in place of the one before."""
    document = json.dumps(profile_to_document(profile), allow_nan=False)
    await connection.execute(STATEMENTS["upsert_send_time_profile"].sql, fitted_at, profile.users, document)


async def fetch_send_time(connection: Connection, user_id: str) -> KeptSendTime | None:
    """Return what is kept of a user, for campaigns of any type."""
    row = await connection.fetchrow(STATEMENTS["fetch_send_time"].sql, user_id)
    if row is None:
        return None
    lower, upper = row["expected_conversion_rate_lower"], row["expected_conversion_rate_upper"]
    return KeptSendTime(
        send_time=SendTime(
            user_id=row["user_id"],
            hours=_scores(row, HOUR),
            days=_scores(row, DAY),
            quiet=QuietHours(start=row["quiet_start_hour"], end=row["quiet_end_hour"]),
            conversion_rate_interval=None if lower is None else Interval(lower=lower, upper=upper),
            source=Source(row["source"]),
            evidence=row["observed_events"],
        ),
        time_zone=row["time_zone"],
        computed_at=row["computed_at"],
    )


async def upsert_send_times(connection: Connection, kept: Sequence[KeptSendTime]) -> None:
    """Keep users' send times in place of the ones before."""
    await connection.executemany(STATEMENTS["upsert_send_time"].sql, [_to_row(entry) for entry in kept])


def _to_row(kept: KeptSendTime) -> tuple[object, ...]:
    best, interval = kept.send_time, kept.send_time.conversion_rate_interval
    return (
        best.user_id,
        kept.time_zone,
        best.optimal_hour,
        best.optimal_day,
        best.conversion_rate,
        None if interval is None else interval.lower,
        None if interval is None else interval.upper,
        best.confidence,
        best.source.value,
        best.evidence,
        kept.computed_at,
        best.quiet.start,
        best.quiet.end,
        *(
            column
            for scores in (best.hours, best.days)
            for column in (
                scores.values,
                scores.view_rates,
                scores.conversion_rates,
                scores.probabilities,
            )
        ),
        best.hours.value_deviations,
        best.hours.view_deviations,
        best.hours.conversion_deviations,
        best.days.value_deviations,
    )


def _scores(row: Record, cycle: str) -> CellScores:
    return CellScores(
        values=tuple(row[f"{cycle}_values"]),
        view_rates=_numbers(row, f"{cycle}_view_rates"),
        conversion_rates=_numbers(row, f"{cycle}_conversion_rates"),
        probabilities=tuple(row[f"{cycle}_probabilities"]),
        value_deviations=_numbers(row, f"{cycle}_value_deviations"),
        view_deviations=_numbers(row, f"{cycle}_view_deviations") if cycle == HOUR else None,
        conversion_deviations=_numbers(row, f"{cycle}_conversion_deviations") if cycle == HOUR else None,
    )


def _numbers(row: Record, column: str) -> tuple[float, ...] | None:
    return None if row[column] is None else tuple(row[column])
