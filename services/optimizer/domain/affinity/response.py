"""How a user's affinity to a merchant moves the chance that the user converts in the merchant's campaign.

Among views of one campaign at one offer, the odds of a conversion go with affinity^exponent:

    logit P(conversion | view) = campaign and offer + exponent x ln(affinity) + b x mean ln(affinity)

The last term is the mean over the user's own views (Mundlak, "On the pooling of time series and cross
section data", Econometrica 46 (1978)): users who buy much anyway are near to every merchant and convert more
in every campaign, and that does not tell one campaign of a user from another. So the exponent is of what
differs within users. A merchant that a user visits twenty times as often need not convert twenty times as
well.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from services.optimizer.domain.affinity.contacts import BoolArray, FloatArray, IntArray
from services.optimizer.domain.response.response import logistic, logit

PRIOR_EXPONENT: Final = 0.3
"""Before anything is known: midway between the rate alone (0) and the largest exponent of real coupons, so
that the larger of both regrets is least (Savage, JASA 46 (1951)). Coupons that households redeemed show 0.4,
those that people say they would take 0.36 to 0.57 (`tests/reference/optimizer/
test_affinity_exponent_real.py`); the equations of the simulated world make 0.16 to 0.18."""
PRIOR_DEVIATION: Final = 0.25
"""How far from that the exponent is likely to be: beside some sixty conversions it weighs as much as they."""
LEAST_SCORE: Final = 1e-12
_Z90: Final = 1.6448536269514722


@dataclass(frozen=True, kw_only=True)
class Exposures:
    """Views of campaigns and what came of them: one entry per user, campaign, offer and day.

    Parallel arrays. `user` and `merchant` are positions in the lists that contacts have, `stratum` numbers
    campaigns with their offers, `day` is a proleptic ordinal; of `views`, at most all are `conversions`.
    """

    user: IntArray
    merchant: IntArray
    stratum: IntArray
    day: IntArray
    views: IntArray
    conversions: IntArray

    def __len__(self) -> int:
        return len(self.day)

    def select(self, chosen: BoolArray) -> "Exposures":
        """Return the entries where `chosen` holds."""
        return Exposures(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})

    @classmethod
    def concatenate(cls, parts: Sequence["Exposures"]) -> "Exposures":
        """Return all parts as one, in their order."""
        return cls(
            **{
                field.name: np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(cls)
            }
        )


@dataclass(frozen=True, kw_only=True)
class AffinityResponse:
    """What views of campaigns told of the exponent; without any it is the prior's.

    `standard_error` is the exponent's. `usual_log_score` is the mean logarithm of the affinities of those who
    viewed, `least_score` an affinity below which hardly anybody did (0: nobody knows). `views` and
    `conversions` are those behind it.
    """

    exponent: float = PRIOR_EXPONENT
    standard_error: float = PRIOR_DEVIATION
    usual_log_score: float = 0.0
    least_score: float = 0.0
    views: int = 0
    conversions: int = 0

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 90 % interval of the exponent, None where no views told of it."""
        if self.views == 0:
            return None
        reach = _Z90 * self.standard_error
        return self.exponent - reach, self.exponent + reach

    def log_odds(self, scores: FloatArray) -> FloatArray:
        """Return what affinities add to the logit of a campaign's rate.

        Below `least_score` no view tells anything: the odds then fall in proportion to the affinity, so that
        campaigns of merchants that a user never comes near to are not shown for their rate alone.
        """
        held = np.maximum(scores, LEAST_SCORE)
        inside = np.maximum(held, self.least_score)
        return np.asarray(
            self.exponent * (np.log(inside) - self.usual_log_score) + np.log(held) - np.log(inside)
        )

    def rates(self, rates: FloatArray, scores: FloatArray) -> FloatArray:
        """Return campaigns' rates as they are for a user with these affinities to their merchants."""
        return logistic(logit(rates) + self.log_odds(scores))


UNKNOWN_RESPONSE: Final = AffinityResponse()


def draw_to_prior(exponent: float, standard_error: float) -> tuple[float, float]:
    """Return an estimated exponent and its error, drawn to the prior as far as it may be chance.

    Both are normal: precisions add, and the mean is weighted by them.
    """
    own, prior = 1.0 / standard_error**2, 1.0 / PRIOR_DEVIATION**2
    mean = (own * exponent + prior * PRIOR_EXPONENT) / (own + prior)
    return mean, float((own + prior) ** -0.5)
