"""What an offer is worth, per view, under each objective."""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np
from scipy.special import ndtri

from services.common.errors import FailedPreconditionError
from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.training_window import WINDOW_DAYS

_LIKELY: Final = 101
_NORMAL_QUANTILES: Final = ndtri((np.arange(_LIKELY) + 0.5) / _LIKELY)
_ANY_MARGINS: Final = ((np.arange(_LIKELY) + 0.5) * (math.sqrt(5.0) - 1.0) / 2.0) % 1.0


class Objective(StrEnum):
    """What a recommendation maximises; the values are the words callers send."""

    PROFIT = "profit"
    CONVERSION_RATE = "conversion_rate"
    REVENUE = "revenue"


@dataclass(frozen=True, kw_only=True)
class Economics:
    """What a conversion brings: mean revenue in currency units, None where no conversion's revenue is known.

    `gross_margin_rate` is the share of revenue, 0 to 1, that is left after the goods are paid, None where
    nobody said; all of the revenue is then taken for margin, and no confidence rests on it.
    `revenue_relative_error` is the standard error of the mean revenue over itself, 0 where it is certain.
    """

    mean_revenue: float | None
    gross_margin_rate: float | None
    revenue_relative_error: float = 0.0

    def plausible(self) -> list["Economics"]:
        """Return equally likely economics: quantiles of a log-normal mean revenue around the one seen.

        A gross margin that nobody said may be any from 0 to 1; margins go with revenues as unevenly as the
        multiples of the golden ratio, so that neither foretells the other.
        """
        if self.mean_revenue is None:
            return [self]
        spread = math.sqrt(math.log1p(self.revenue_relative_error**2))
        margins = _ANY_MARGINS if self.gross_margin_rate is None else [self.gross_margin_rate] * _LIKELY
        return [
            replace(
                self,
                mean_revenue=self.mean_revenue * math.exp(spread * float(quantile)),
                gross_margin_rate=float(margin),
            )
            for quantile, margin in zip(_NORMAL_QUANTILES, margins, strict=True)
        ]


def value_per_conversion(objective: Objective, offers: FloatArray, economics: Economics) -> FloatArray:
    """Return what one conversion is worth at each offer (currency units; 1 for the conversion rate itself).

    Profit counts what is left of the revenue less the offer: gross_margin_rate * mean revenue - offer. An
    objective's value per view is this times the conversion rate at the offer.

    Raises:
        FailedPreconditionError: REVENUE_UNKNOWN, for profit and revenue without a known mean revenue.
    """
    if objective is Objective.CONVERSION_RATE:
        return offers * 0.0 + 1.0
    if economics.mean_revenue is None:
        raise FailedPreconditionError(
            f"the objective {objective.value} needs the revenue of conversions, and none is recorded in the"
            f" {WINDOW_DAYS} whole days before today; record revenue with conversions (today's counts from"
            " tomorrow on), or ask for the objective conversion_rate",
            reason="REVENUE_UNKNOWN",
            metadata={"objective": objective.value, "possible_objective": Objective.CONVERSION_RATE.value},
        )
    if objective is Objective.REVENUE:
        return offers * 0.0 + economics.mean_revenue
    margin = 1.0 if economics.gross_margin_rate is None else economics.gross_margin_rate
    return margin * economics.mean_revenue - offers
