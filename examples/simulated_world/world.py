"""The simulated world as a whole: built from a seed and the day on which it ends."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Self
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from examples.simulated_world.campaigns import Campaigns, draw_campaigns
from examples.simulated_world.columns import HOUR_SECONDS, EventColumns
from examples.simulated_world.population import (
    CITIES,
    DAYS,
    HOURS,
    Merchants,
    Users,
    draw_merchants,
    draw_users,
)


@dataclass(frozen=True, kw_only=True)
class World:
    """Merchants, users and campaigns over the 90 local days that end with `dates[-1]`.

    `noon_utc` (cities, days) is each city's local noon in seconds since the epoch, and through it the offset
    of that day: clocks change at night, and nothing happens in this world before 7:00.
    """

    seed: int
    dates: tuple[date, ...]
    weekdays: NDArray[np.intp]
    noon_utc: NDArray[np.int64]
    merchants: Merchants
    users: Users
    campaigns: Campaigns

    @classmethod
    def build(cls, *, seed: int, end_date: date) -> Self:
        """Draw the world; the same seed and end date give the same world."""
        dates = tuple(end_date - timedelta(days=DAYS - 1 - day) for day in range(DAYS))
        weekdays = np.array([day.weekday() for day in dates], dtype=np.intp)
        rng = np.random.default_rng([seed, 1])
        merchants = draw_merchants(rng)
        users = draw_users(rng, merchants)
        noons = [
            [int(datetime.combine(day, time(12), ZoneInfo(city.time_zone)).timestamp()) for day in dates]
            for city in CITIES
        ]
        return cls(
            seed=seed,
            dates=dates,
            weekdays=weekdays,
            noon_utc=np.array(noons, dtype=np.int64),
            merchants=merchants,
            users=users,
            campaigns=draw_campaigns(rng, merchants, weekdays),
        )

    def to_utc_seconds(
        self, users: NDArray[np.intp], day: int, local_seconds: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Seconds since the epoch of the users' local times on a day, given in seconds (7:00 or later)."""
        noon = self.noon_utc[self.users.city[users], day]
        return np.asarray(noon - 12 * 3600 + local_seconds, dtype=np.int64)

    def local_hours(self, columns: EventColumns) -> NDArray[np.intp]:
        """The users' local hours of events."""
        noon = self.noon_utc[self.users.city[columns.user], columns.day]
        return np.asarray(((columns.at - noon) // HOUR_SECONDS + 12) % HOURS, dtype=np.intp)

    def starts_at(self, campaign: int) -> datetime:
        """Local midnight, in the merchant's city, of the campaign's first day."""
        return self._local_midnight(campaign, int(self.campaigns.start_day[campaign]))

    def ends_at(self, campaign: int) -> datetime:
        """Local midnight after the campaign's last day; may lie after the window."""
        return self._local_midnight(campaign, int(self.campaigns.end_day[campaign]))

    def signed_up_at(self, user: int) -> datetime:
        """Noon UTC of the user's sign-up day."""
        day = self.dates[0] + timedelta(days=int(self.users.sign_up_day[user]))
        return datetime.combine(day, time(12), UTC)

    def _local_midnight(self, campaign: int, day: int) -> datetime:
        city = CITIES[self.merchants.city[self.campaigns.merchant[campaign]]]
        midnight = datetime.combine(self.dates[0] + timedelta(days=day), time(), ZoneInfo(city.time_zone))
        return midnight.astimezone(UTC)
