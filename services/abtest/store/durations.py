"""Statements of the traffic that campaigns have."""

from collections.abc import Sequence
from datetime import date, datetime

from services.abtest.domain.duration import NEVER_BEFORE, Traffic
from services.abtest.domain.model import GroupCounts
from services.abtest.store.statements import STATEMENTS, Connection


async def fetch_reporting_day(connection: Connection, moment: datetime) -> date:
    """Return the day of the reporting time zone that `moment` falls on."""
    day: date = await connection.fetchval(STATEMENTS["fetch_reporting_day"].sql, moment)
    return day


async def fetch_traffic(
    connection: Connection, campaign_ids: Sequence[str], start: date, end: date
) -> Traffic:
    """Return the traffic of campaigns on the days from `start` to before `end`."""
    visits = await connection.fetch(STATEMENTS["count_returning_users"].sql, list(campaign_ids), start, end)
    reached = await connection.fetchrow(STATEMENTS["count_reached_users"].sql, list(campaign_ids), start, end)
    assert reached is not None  # an aggregate without groups always has its row
    return Traffic(
        days=(end - start).days,
        visits={
            (
                NEVER_BEFORE if row["previous_day"] is None else (row["previous_day"] - start).days,
                (row["day"] - start).days,
            ): row["users"]
            for row in visits
        },
        reached=GroupCounts(users=reached["users"], conversions=reached["converting_users"]),
    )
