"""What tests of forecasts are made of: days as kept, without the events behind them."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

import asyncpg
import numpy as np

WEEKDAY_FACTORS = np.array([0.7, 0.8, 0.9, 1.0, 1.3, 1.5, 0.8])
MICROS = 1_000_000


def daily_values(days: int, *, mean: float, seed: int) -> Sequence[float]:
    """Poisson counts with a weekly season."""
    expected = mean * WEEKDAY_FACTORS[np.arange(days) % 7]
    return [float(value) for value in np.random.default_rng(seed).poisson(expected)]


async def add_days(
    url: str,
    campaign_id: str,
    conversions: Sequence[float],
    last_day: date,
    *,
    currency_code: str = "USD",
    end_at: datetime | None = None,
) -> None:
    """A campaign whose days end with `last_day`: 20 of revenue and 3 of cost per conversion."""
    first_day = last_day - timedelta(days=len(conversions) - 1)
    days = [first_day + timedelta(days=index) for index in range(len(conversions))]
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "insert into campaigns (campaign_id, currency_code, counted_currency_code, end_at, created_at)"
            " values ($1, $2, $2, $3, $4)",
            campaign_id,
            currency_code,
            end_at,
            datetime.combine(first_day, time(), UTC),
        )
        rows = [
            (day, int(count), int(count) * 20 * MICROS, int(count) * 3 * MICROS)
            for day, count in zip(days, conversions, strict=True)
        ]
        await connection.executemany(
            "insert into campaign_analytics_daily (campaign_id, day, impressions, views, clicks, conversions,"
            " revenue_micros, cost_micros) values ($1, $2, 0, 0, 0, $3, $4, $5)",
            [(campaign_id, *row) for row in rows],
        )
        await connection.executemany(
            "insert into portfolio_analytics_daily as p (day, currency_code, slot, impressions, views,"
            " clicks, conversions, revenue_micros, cost_micros, purchases, purchase_revenue_micros)"
            " values ($1, $5, 0, 0, 0, 0, $2, $3, $4, 0, 0)"
            " on conflict (day, currency_code, slot) do update set conversions = p.conversions + $2,"
            " revenue_micros = p.revenue_micros + $3, cost_micros = p.cost_micros + $4",
            [(*row, currency_code) for row in rows],
        )
    finally:
        await connection.close()
