"""Whether a change did what was promised of it, in the metric that it was promised in."""

import math
from dataclasses import dataclass
from enum import StrEnum

from services.optimizer.domain.offers.answer import Interval
from services.optimizer.domain.recommendations.worth import Figure


class Comparison(StrEnum):
    """What a change is compared with.

    before_after: the same campaign's days before. concurrent_offer: its own previous offer, sent on the same
    days to others. randomised_control: users drawn by chance.
    """

    BEFORE_AFTER = "before_after"
    CONCURRENT_OFFER = "concurrent_offer"
    RANDOMISED_CONTROL = "randomised_control"

    @property
    def reading(self) -> str:
        """What such a comparison can say, and what not."""
        return _READINGS[self]


_READINGS = {
    Comparison.BEFORE_AFTER: (
        "Before and after is what happened, not what the change caused: seasons, prices and other campaigns"
        " changed as well, and a campaign that was chosen because it did badly would have done better anyway"
        " (regression to the mean). An A/B test tells the cause."
    ),
    Comparison.CONCURRENT_OFFER: (
        "Both offers were sent on the same days, so that seasons and regression to the mean make no"
        " difference; but who got which was not drawn for this comparison, and may. An A/B test tells the"
        " cause."
    ),
    Comparison.RANDOMISED_CONTROL: (
        "Users were drawn by chance, and the test's own lift is what the change caused. What was earned is of"
        " the whole campaigns while the test ran, users outside of it included."
    ),
}


class Agreement(StrEnum):
    """Whether what was observed is what was promised, less or more of it."""

    AGREES = "agrees"
    BELOW = "below"
    ABOVE = "above"


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What a change was promised to gain, relative to before, beside what it did.

    `metric` is what both are of. `difference` is observed less promised; it, with its interval, and
    `agreement` are None where either is unknown, and the latter two where either has no interval.
    """

    metric: str
    expected: Figure
    observed: Figure | None
    comparison: Comparison

    @property
    def difference(self) -> Figure | None:
        """What was observed less what was promised, with the interval of both errors together.

        The ends of the interval are made of the intervals' own, which need not be symmetric (MOVER: Zou &
        Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 27 (2008),
        eq. 6-7), as if the days before had no part in the prediction.
        """
        if self.observed is None:
            return None
        value = self.observed.value - self.expected.value
        seen, told = self.observed.interval, self.expected.interval
        if seen is None or told is None:
            return Figure(value=value)
        return Figure(
            value=value,
            interval=Interval(
                lower=value - math.hypot(self.observed.value - seen.lower, told.upper - self.expected.value),
                upper=value + math.hypot(seen.upper - self.observed.value, self.expected.value - told.lower),
            ),
        )

    @property
    def agreement(self) -> Agreement | None:
        """Whether the difference may be chance (90 %)."""
        difference = self.difference
        if difference is None or difference.interval is None:
            return None
        if difference.interval.upper < 0.0:
            return Agreement.BELOW
        return Agreement.ABOVE if difference.interval.lower > 0.0 else Agreement.AGREES
