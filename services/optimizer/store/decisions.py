"""Statements of deliveries whose offers were drawn with a logged propensity."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.optimizer.domain.offer_policy import DecisionTable
from services.optimizer.store.statements import STATEMENTS, Connection, Record

MOST_DECISIONS: Final = 200_000
"""Deliveries that one evaluation looks at, the latest."""
_NO_SEGMENTS: Final = -1


async def list_logged_decisions(  # noqa: PLR0917 (what bounds a reading)
    connection: Connection,
    campaign_ids: Sequence[str],
    first_at: datetime,
    end_at: datetime,
    outcome: timedelta,
    time_zone: str,
) -> DecisionTable | None:
    """Return the deliveries of [first_at, end_at) with a propensity, the latest first; None for none.

    Campaigns are numbered by their place in `campaign_ids`.
    """
    rows = await connection.fetch(
        STATEMENTS["list_logged_decisions"].sql,
        list(campaign_ids),
        first_at,
        end_at,
        outcome,
        time_zone,
        MOST_DECISIONS,
    )
    return _table(rows, campaign_ids) if rows else None


async def list_campaign_currencies(connection: Connection, campaign_ids: Sequence[str]) -> list[str]:
    """Return the currencies that campaigns count in, each once."""
    rows = await connection.fetch(STATEMENTS["list_campaign_currencies"].sql, list(campaign_ids))
    return [row["currency_code"] for row in rows]


async def list_segment_sets(connection: Connection, numbers: Sequence[int]) -> Mapping[int, Sequence[str]]:
    """Return the segments by the number of their set."""
    rows = await connection.fetch(STATEMENTS["list_segment_sets"].sql, list(numbers))
    return {row["segment_set_id"]: tuple(row["segments"]) for row in rows}


def _table(rows: Sequence[Record], campaign_ids: Sequence[str]) -> DecisionTable:
    place = {campaign_id: number for number, campaign_id in enumerate(campaign_ids)}
    days = [row["day"] for row in rows]
    sets = [_NO_SEGMENTS if row["segment_set_id"] is None else row["segment_set_id"] for row in rows]
    return DecisionTable(
        user=_number([row["user_id"] for row in rows]),
        campaign=np.array([place[row["campaign_id"]] for row in rows], dtype=np.intp),
        version=_number([row["policy_version"] or "" for row in rows]),
        day=np.array([day.toordinal() for day in days], dtype=np.int64),
        weekday=np.array([day.weekday() for day in days], dtype=np.intp),
        hour=np.array([row["hour"] for row in rows], dtype=np.intp),
        segment_set=np.array(sets, dtype=np.int64),
        offer_micros=np.array([row["offer_amount_micros"] for row in rows], dtype=np.int64),
        propensity=np.array([row["propensity"] for row in rows], dtype=np.float64),
        conversions=np.array([row["conversions"] for row in rows], dtype=np.int64),
        revenue_micros=np.array([row["revenue_micros"] for row in rows], dtype=np.int64),
    )


def _number(names: Sequence[str]) -> NDArray[np.intp]:
    """Return each name's number, from 0 in the order of the names."""
    return np.asarray(np.unique(np.array(names, dtype=np.str_), return_inverse=True)[1], dtype=np.intp)
