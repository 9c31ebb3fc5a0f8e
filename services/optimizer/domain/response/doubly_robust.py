"""What offers that were drawn at random say of a response learned from offers that were not.

A false slope is the part of the logit's slope in the offer that the fitted response has wrong, because past
offers went along with something that no effect of the regression takes out. Where the sender logged the
probability of each offer, the doubly robust (augmented inverse propensity weighted) estimate of the offers'
effect is right whether or not the regression is (J. Robins, A. Rotnitzky and L. P. Zhao 1994, "Estimation of
regression coefficients when some regressors are not always observed"; H. Bang and J. Robins 2005, "Doubly
robust estimation in missing data and causal inference models"), and the difference between the two is the
false slope. It is believed as far as it is known: with the prior N(0, CONFOUNDING_SPREAD^2) (S. Greenland
2005, "Multiple-bias modelling for analysis of observational data"; N. Kallus, A. M. Puli and U. Shalit 2018,
"Removing hidden confounding by experimental grounding").
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri, stdtrit

from services.optimizer.domain.features import MICROS_PER_UNIT, FloatArray
from services.optimizer.domain.response.offer_cells import OfferCells

CONFOUNDING_SPREAD: Final = 0.03
"""What past offers that were not random may have bent the curve by, unseen by its standard errors: the
standard deviation of a false slope of the logit, per currency unit. A judgement, of the size that audiences
leaning with the offer have in the simulated world where nobody looks at their segments."""
SMALLEST_PROPENSITY: Final = 0.02
"""Views with an offer less likely than this are left out: their weight would drown the others."""
FEWEST_CAMPAIGNS: Final = 5
"""Campaigns with offers drawn at random that a standard error over campaigns takes at least."""
LEAST_DEGREES: Final = 1.0
_LEAST_LEFT: Final = 1e-3


@dataclass(frozen=True, kw_only=True)
class FalseSlope:
    """What is missing to the response's slope in the offer, on the logit scale, per currency unit.

    `views` and `campaigns` are those with offers drawn at random, which it is measured on. `standard_error`
    is over campaigns, and known with `degrees_of_freedom`: one less than as many equal campaigns as tell as
    much (Kish, "Survey sampling", 1965). None where it was measured before those were kept.
    """

    point_estimate: float
    standard_error: float
    views: int
    campaigns: int
    degrees_of_freedom: float | None = None

    def interval(self, confidence_level: float) -> tuple[float, float]:
        """Return the interval by Student's t over campaigns."""
        reach = self._reach(confidence_level)
        return self.point_estimate - reach, self.point_estimate + reach

    @property
    def normal_error(self) -> float:
        """The standard deviation of the normal law with the same 90 % interval."""
        return self._reach(0.9) / float(ndtri(0.95))

    def _reach(self, confidence_level: float) -> float:
        known = self.degrees_of_freedom
        freedom = self.campaigns - 1.0 if known is None else max(known, LEAST_DEGREES)
        return self.standard_error * float(stdtrit(freedom, (1.0 + confidence_level) / 2.0))


def measure_false_slope(cells: OfferCells, rates: FloatArray) -> FalseSlope | None:
    """Return the false slope of fitted `rates` (one per cell); None where too few offers were drawn.

    Within a stratum s (campaign and day) the augmented estimate of the rate at arm a is m_a + r_a with the
    regression's m_a and r_a = sum_i (y_i - m_i) / pi_i / sum_i 1 / pi_i over the views of the arm: weights
    normalised to 1, so that an error that the arms of a stratum share cancels. The slope of r over the arms,
    sum_a (x_a - x_s) r_a with the arms' mean offer x_s, is what the regression lacks; over all strata, by
    views, it is divided by what a unit of slope on the logit scale would make: sum_a (x_a - x_s)^2 m_a (1 -
    m_a). Its variance is the sandwich over campaigns; a large campaign pulls the slope to itself, so that its
    own residual is divided by what is left of its leverage (CR2; R. M. Bell and D. F. McCaffrey 2002, "Bias
    reduction in standard errors for linear regression with multi-stage samples").
    """
    chosen = cells.is_randomised & (cells.propensity >= SMALLEST_PROPENSITY)
    drawn, expected = cells.select(chosen), rates[chosen]
    if len(drawn) == 0:
        return None
    weights = drawn.views / drawn.propensity
    arms, arm = np.unique(
        np.column_stack((drawn.campaign, drawn.day, drawn.offer_micros)), axis=0, return_inverse=True
    )
    arm = arm.reshape(-1)
    total = np.bincount(arm, weights=weights)
    missing = drawn.conversions / drawn.views - expected
    residual = np.bincount(arm, weights=weights * missing) / total
    rate = np.bincount(arm, weights=weights * expected) / total
    _, stratum = np.unique(arms[:, :2], axis=0, return_inverse=True)
    stratum = stratum.reshape(-1)
    offers = arms[:, 2] / MICROS_PER_UNIT
    apart = offers - (np.bincount(stratum, weights=offers) / np.bincount(stratum))[stratum]
    views = np.bincount(stratum, weights=np.bincount(arm, weights=drawn.views))[stratum]
    _, campaign = np.unique(arms[:, 0], return_inverse=True)
    lacking = np.bincount(campaign, weights=views * apart * residual)
    per_unit = np.bincount(campaign, weights=views * apart**2 * rate * (1.0 - rate))
    count = len(lacking)
    if count < FEWEST_CAMPAIGNS or per_unit.sum() <= 0.0:
        return None
    slope = float(lacking.sum() / per_unit.sum())
    leverage = per_unit / per_unit.sum()
    spread = float(np.sum((lacking - slope * per_unit) ** 2 / np.maximum(1.0 - leverage, _LEAST_LEFT)))
    return FalseSlope(
        point_estimate=slope,
        standard_error=math.sqrt(spread) / float(per_unit.sum()),
        views=int(drawn.views.sum()),
        campaigns=count,
        degrees_of_freedom=float(1.0 / np.sum(leverage**2)) - 1.0,
    )


def believe(measured: FalseSlope | None) -> tuple[float, float]:
    """Return the false slope to correct for, and its standard deviation: prior and measurement together."""
    if measured is None:
        return 0.0, CONFOUNDING_SPREAD
    variance = measured.normal_error**2
    kept = CONFOUNDING_SPREAD**2 / (CONFOUNDING_SPREAD**2 + variance)
    return kept * measured.point_estimate, math.sqrt(kept * variance)
