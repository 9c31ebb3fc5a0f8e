"""Statements that rank campaigns."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from services.analytics.domain.intervals import RatioMoments
from services.analytics.domain.metrics import Counts
from services.analytics.domain.ranking import CampaignWindow
from services.analytics.store.statements import STATEMENTS, Connection, Record

HOT_LIMIT = 10
"""How many campaigns the statements of the last 30 days answer with."""
_HOT = "list_top_of_last_30_days_by_"
_SAME_ORDER = {"roi": "roas"}


@dataclass(frozen=True, kw_only=True)
class Top:
    """Campaigns in their order; `currencies` took part in all, empty where nobody asked."""

    windows: Sequence[CampaignWindow]
    currencies: Sequence[str] = ()


async def list_top_of_last_30_days(
    connection: Connection, metric: str, *, end: date, currency_code: str
) -> Top:
    """Return the ten best at the metric's default minimum volume; nothing where the window ends elsewhere."""
    statement = STATEMENTS[_HOT + _SAME_ORDER.get(metric, metric)]
    return _top(await connection.fetch(statement.sql, end, currency_code))


async def rank_campaigns(
    connection: Connection,
    metric: str,
    *,
    start: date,
    end: date,
    minimum_volume: int,
    currency_code: str,
    limit: int,
) -> Top:
    """Return the best campaigns of any days, both ends included."""
    statement = STATEMENTS["rank_campaigns"]
    return _top(
        await connection.fetch(statement.sql, start, end, metric, minimum_volume, currency_code, limit)
    )


async def rank_campaigns_by_users(
    connection: Connection,
    *,
    start: date,
    end: date,
    start_at: datetime,
    end_at: datetime,
    minimum_volume: int,
    currency_code: str,
    limit: int,
) -> Top:
    """Return the campaigns of the highest user conversion rate; `end` is included, `end_at` is not."""
    statement = STATEMENTS["rank_campaigns_by_users"]
    rows = await connection.fetch(
        statement.sql, start, end, start_at, end_at, minimum_volume, currency_code, limit
    )
    return _top(rows)


def _top(rows: Sequence[Record]) -> Top:
    currencies = rows[0].get("currencies") if rows else None
    return Top(windows=[_window(row) for row in rows], currencies=sorted(currencies or ()))


def _window(row: Record) -> CampaignWindow:
    return CampaignWindow(
        campaign_id=row["campaign_id"],
        campaign_name=row["campaign_name"],
        currency_code=row["currency_code"],
        counts=Counts(
            impressions=row["impressions"],
            views=row["views"],
            clicks=row["clicks"],
            conversions=row["conversions"],
            revenue_micros=row["revenue_micros"],
            cost_micros=row["cost_micros"],
        ),
        reached_users=row.get("reached_users") or 0,
        converting_users=row.get("converting_users") or 0,
        life=_life(row),
        life_conversions=row.get("life_conversions") or 0,
    )


def _life(row: Record) -> RatioMoments | None:
    if row.get("y") is None:  # no ratio is asked for, or nothing but costs is known of the campaign
        return None
    return RatioMoments(
        users=row["users"],
        y=row["y"],
        x=row["x"],
        yy=int(row["yy"]),
        xy=int(row["xy"]),
        xx=int(row["xx"]),
        carriers=row["carriers"],
        yyy=None if row["yyy"] is None else int(row["yyy"]),
        x_known=row["x_known"],
    )
