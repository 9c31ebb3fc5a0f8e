"""The simulated world's campaigns: what their managers offered, when, and to whom."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from examples.simulated_world import response
from examples.simulated_world.population import CITIES, DAYS, MERCHANT_COUNT, BoolArray, IntArray, Merchants
from examples.simulated_world.response import FloatArray

CAMPAIGN_COUNT: Final = 200
WEEKDAYS: Final = 7
SEND_DAYS_A_WEEK: Final = 2
TUESDAY: Final = 1
STILL_RUNNING_SHARE: Final = 0.7
RAISING_SHARE: Final = 0.5
RANDOMISED_SHARE: Final = 0.15
MEAN_AUDIENCE: Final = 130.0
CAMPAIGN_TYPE_NAMES: Final = (
    "Location deal",
    "Flash sale",
    "Loyalty reward",
    "Win back",
    "New merchant",
    "Birthday",
    "Cross sell",
)
CHANNELS: Final = ("push", "email", "sms", "in_app")
CHANNEL_SHARE: Final[FloatArray] = np.array([0.24, 0.12, 0.16, 0.48])
PUSH: Final = 0
EMAIL: Final = 1


@dataclass(frozen=True, kw_only=True)
class Campaigns:
    """The campaigns and what their managers do on each day.

    `offer` (campaigns, days) is the offer of the day before any randomisation, NaN on days outside
    [`start_day`, `end_day`); `tilt` (campaigns, days) is how strongly the audience leans to lapsed users.
    `randomised` campaigns draw each delivery's offer around the day's offer with a logged propensity.
    """

    names: tuple[str, ...]
    campaign_type: IntArray
    merchant: IntArray
    channel: IntArray
    start_day: IntArray
    end_day: IntArray
    intercept: FloatArray
    mean_revenue: FloatArray
    gross_margin_rate: FloatArray
    usual_hour: IntArray
    audience: FloatArray
    sends_on: BoolArray
    randomised: BoolArray
    offer: FloatArray
    tilt: FloatArray

    def current_offer(self, campaign: int) -> float:
        """The manager's offer on the campaign's last day in the window."""
        offers = self.offer[campaign]
        return float(offers[~np.isnan(offers)][-1])


def draw_campaigns(rng: np.random.Generator, merchants: Merchants, weekdays: IntArray) -> Campaigns:
    """Draw the campaigns and the whole history of what their managers offered to whom.

    `weekdays` gives the weekday (Monday 0) of each day of the window.
    """
    merchant = rng.permutation(np.arange(CAMPAIGN_COUNT) % MERCHANT_COUNT)
    campaign_type = rng.permutation(np.arange(CAMPAIGN_COUNT) % len(CAMPAIGN_TYPE_NAMES))
    start_day, end_day = _draw_spans(rng)
    own_effect = merchants.effect[merchant] + rng.normal(0, 0.30, CAMPAIGN_COUNT)
    randomised = np.zeros(CAMPAIGN_COUNT, dtype=np.bool_)
    randomised[rng.choice(CAMPAIGN_COUNT, round(CAMPAIGN_COUNT * RANDOMISED_SHARE), replace=False)] = True
    offer, tilt = _draw_schedules(rng, start_day, end_day, own_effect, randomised)
    offer = _raise_on_slow_days(rng, offer, weekdays)
    names = tuple(
        f"{CAMPAIGN_TYPE_NAMES[campaign_type[index]]} at {merchants.names[merchant[index]]}"
        for index in range(CAMPAIGN_COUNT)
    )
    city_share = np.array([entry.share for entry in CITIES])[merchants.city[merchant]]
    audience = MEAN_AUDIENCE * np.clip(city_share * len(CITIES), 0.8, 1.3)
    return Campaigns(
        names=names,
        campaign_type=campaign_type,
        merchant=merchant,
        channel=rng.choice(len(CHANNELS), CAMPAIGN_COUNT, p=CHANNEL_SHARE),
        start_day=start_day,
        end_day=end_day,
        intercept=response.TYPE_INTERCEPT[campaign_type] + own_effect,
        mean_revenue=merchants.mean_basket[merchant] * np.exp(rng.normal(0, 0.18, CAMPAIGN_COUNT)),
        gross_margin_rate=np.round(merchants.margin[merchant] + rng.uniform(-0.04, 0.04, CAMPAIGN_COUNT), 2),
        usual_hour=rng.integers(8, 22, CAMPAIGN_COUNT),
        audience=audience * np.exp(rng.normal(0, 0.35, CAMPAIGN_COUNT)),
        sends_on=_draw_send_days(rng),
        randomised=randomised,
        offer=offer,
        tilt=tilt,
    )


def _draw_spans(rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """First day and day after the last: most campaigns still run at the window's end, some are over."""
    start_day = rng.integers(0, 42, CAMPAIGN_COUNT)
    still_runs = rng.random(CAMPAIGN_COUNT) < STILL_RUNNING_SHARE
    over = start_day + rng.integers(30, 46, CAMPAIGN_COUNT)
    ahead = DAYS + rng.integers(3, 40, CAMPAIGN_COUNT)
    return start_day, np.where(still_runs, ahead, over).astype(np.intp)


def _draw_send_days(rng: np.random.Generator) -> BoolArray:
    """Weekdays (campaigns, 7) on which a campaign sends: two of the seven."""
    order = np.argsort(rng.random((CAMPAIGN_COUNT, WEEKDAYS)), axis=1)
    return np.asarray(order < SEND_DAYS_A_WEEK, dtype=np.bool_)


def _draw_schedules(
    rng: np.random.Generator,
    start_day: IntArray,
    end_day: IntArray,
    own_effect: FloatArray,
    randomised: BoolArray,
) -> tuple[FloatArray, FloatArray]:
    """The managers' offers and audiences, confounded on purpose.

    A manager's usual offer is higher where the campaign does worse; each period (5 to 9 days) moves away from
    it, and a higher offer goes to an audience that leans to lapsed users. Randomised campaigns do not lean.
    """
    usual = rng.uniform(8.0, 22.0, CAMPAIGN_COUNT) - 4.0 * own_effect
    offer = np.full((CAMPAIGN_COUNT, DAYS), np.nan)
    tilt = np.zeros((CAMPAIGN_COUNT, DAYS))
    for campaign in range(CAMPAIGN_COUNT):
        day = int(start_day[campaign])
        last = min(int(end_day[campaign]), DAYS)
        while day < last:
            until = min(day + int(rng.integers(5, 10)), last)
            level = _to_level(usual[campaign] + rng.normal(0, 6.0))
            offer[campaign, day:until] = level
            lean = 0.12 * (level - 15.0) + rng.normal(0, 0.25)
            tilt[campaign, day:until] = 0.0 if randomised[campaign] else lean
            day = until
    return offer, tilt


def _raise_on_slow_days(rng: np.random.Generator, offer: FloatArray, weekdays: IntArray) -> FloatArray:
    """Half of the managers add a step on Mondays and Tuesdays, when users convert less anyway."""
    raising = rng.random(CAMPAIGN_COUNT) < RAISING_SHARE
    slow = weekdays <= TUESDAY
    raised = np.minimum(offer + response.OFFER_STEP, response.MAX_OFFER)
    return np.where(raising[:, np.newaxis] & slow, raised, offer)


def _to_level(amount: float) -> float:
    """The nearest offer on the grid of steps."""
    steps = round((amount - response.MIN_OFFER) / response.OFFER_STEP)
    return float(
        np.clip(response.MIN_OFFER + steps * response.OFFER_STEP, response.MIN_OFFER, response.MAX_OFFER)
    )
