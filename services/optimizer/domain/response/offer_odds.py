"""How sure it is that one offer of a curve is worth more than another, and by how much."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri

from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.objectives import Economics, Objective, value_per_conversion
from services.optimizer.domain.response.response import Anchor, TypeResponse, saturating_terms

CONFIDENCE_METHOD: Final = "laplace_delta"
"""The probability that the recommended offer beats the current one, by a normal approximation of the log
ratio of their conversion rates (delta method over the response's coefficients, whose posterior is Laplace's,
over the false slope, and over the curve's level), averaged over what the mean revenue may be."""

MOST_CONFIDENCE: Final = 0.99
LEAST_CONFIDENCE: Final = 0.01
"""No probability above this, nor below its complement, is claimed: the shape of the curve and the normal
approximation are themselves not surer than that."""

QUANTILE: Final = float(ndtri(0.95))
_TAIL: Final = 0.05
_LARGEST_LOG_RATIO: Final = 10.0
_HALVINGS: Final = 50
_REACH: Final = 6.0
_LEAST_SPREAD: Final = 1e-12


@dataclass(frozen=True, kw_only=True)
class PricedOffer:
    """An offer (currency units), its predicted rate and its value per view."""

    offer: float
    rate: float
    value: float


@dataclass(frozen=True, kw_only=True)
class Duel:
    """The recommended offer against the current one.

    `log_rates` is the log ratio of their rates, `spread` its standard deviation; `worth` (plausible
    economics, 2) what a conversion is worth at each, which are equally likely. `gains` and `gain_spreads`
    (plausible economics) are the differences of their values per view and their standard deviations.
    """

    log_rates: float
    spread: float
    worth: FloatArray
    gains: FloatArray
    gain_spreads: FloatArray

    @property
    def confidence(self) -> float:
        """The probability that the recommended offer is worth more."""
        wins = [self._win(float(best), float(current)) for best, current in self.worth]
        return min(max(math.fsum(wins) / len(wins), LEAST_CONFIDENCE), MOST_CONFIDENCE)

    def _win(self, best: float, current: float) -> float:
        """Return the probability of a win, given what conversions are worth.

        Where one earns and the other does not, the rates decide nothing; where both lose, the smaller loss
        wins.
        """
        if best * current <= 0.0:
            return 1.0 if best > current else 0.0
        log_ratio = self.log_rates + math.log(best / current)
        return float(ndtr(math.copysign(log_ratio, log_ratio * best) / self.spread))

    def improvement_interval(self, level: float) -> tuple[float, float] | None:
        """Return the central interval of the relative gain in value (a fraction, at least -1).

        None where the current offer may well earn nothing: its gain has no upper end then. The log of the
        ratio of values is a mixture of normals, one per plausible economics; its quantiles are found by
        halving.
        """
        tail = (1.0 - level) / 2.0
        best, current = self.worth[:, 0], self.worth[:, 1]
        if float(np.mean((best <= 0.0) | (current <= 0.0))) >= tail:
            return None
        earning = (best > 0.0) & (current > 0.0)
        middles = self.log_rates + np.log(best[earning] / current[earning])
        spreads, range_ = np.full(len(middles), self.spread), (-_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO)
        lower, upper = (_quantile(middles, spreads, range_, each) for each in (tail, 1.0 - tail))
        return math.expm1(lower), math.expm1(upper)

    def gain_interval(self, level: float) -> tuple[float, float]:
        """Return the central interval of the difference of values per view.

        It is a mixture of normals as well, one per plausible economics; what earns nothing does no harm.
        """
        tail, reach = (1.0 - level) / 2.0, _REACH * float(self.gain_spreads.max())
        range_ = float(self.gains.min()) - reach, float(self.gains.max()) + reach
        lower, upper = (_quantile(self.gains, self.gain_spreads, range_, each) for each in (tail, 1.0 - tail))
        return lower, upper


def _quantile(
    middles: FloatArray, spreads: FloatArray, within: tuple[float, float], probability: float
) -> float:
    """Return the quantile of a mixture of equally likely normals, by halving."""
    lower, upper = within
    for _ in range(_HALVINGS):
        middle = (lower + upper) / 2.0
        if float(np.mean(ndtr((middle - middles) / spreads))) < probability:
            lower = middle
        else:
            upper = middle
    return (lower + upper) / 2.0


def arrange_duel(
    objective: Objective,
    economics: Economics,
    response: TypeResponse,
    anchor: Anchor,
    *,
    best: PricedOffer,
    current: PricedOffer,
    level_variance: float,
) -> Duel:
    """Return the duel of two offers.

    The log ratio of the two rates has the gradient g = (1 - rate*) (s(x*) - a) - (1 - rate0) (s(x0) - a) in
    the coefficients, a the mean terms at the anchor, likewise in the false slope with offers for terms, and
    (1 - rate*) - (1 - rate0) in the level, whose variance is `level_variance` (of the logit). That of the
    difference of values has worth x rate (1 - rate) in the place of 1 - rate. The mean revenue is as
    uncertain as its days say, independently of the rates.
    """
    offers = np.array([best.offer, current.offer])
    terms = saturating_terms(offers) - np.average(
        saturating_terms(anchor.offers), axis=0, weights=anchor.weights
    )
    apart = offers - np.average(anchor.offers, weights=anchor.weights)
    shares = np.array([1.0 - best.rate, current.rate - 1.0])
    variance = response.effect_variance((shares @ terms)[np.newaxis], np.array([shares @ apart]))[0]
    variance += (shares.sum()) ** 2 * level_variance
    worth = np.array([value_per_conversion(objective, offers, likely) for likely in economics.plausible()])
    rates = np.array([best.rate, -current.rate])
    slopes = worth * rates * (1.0 - np.abs(rates))
    of_gains = (
        response.effect_variance(slopes @ terms, slopes @ apart) + slopes.sum(axis=1) ** 2 * level_variance
    )
    return Duel(
        log_rates=math.log(best.rate / current.rate),
        spread=math.sqrt(float(variance)),
        worth=worth,
        gains=worth @ rates,
        gain_spreads=np.maximum(np.sqrt(of_gains), _LEAST_SPREAD),
    )


def most_improvement(
    objective: Objective,
    economics: Economics,
    response: TypeResponse,
    anchor: Anchor,
    *,
    others: FloatArray,
    rates: FloatArray,
    current: PricedOffer,
    level_variance: float,
) -> float | None:
    """Return the highest upper end of the 90 % intervals of what `others` gain over the current offer.

    The gains are relative. Their logs vary as in `arrange_duel`; an upper end is the log's value, not
    linearised, where what is uncertain lies 1.64 deviations towards a larger one (the most likely point of
    those at which it is linear: Hasofer & Lind 1974), economics being taken for normal. None where the
    current offer may well earn nothing. That all gains lie below a bound is claimed at the level of one of
    them (intersection-union: Berger, Technometrics 24, 1982).
    """
    worth = np.array(
        [
            value_per_conversion(objective, np.append(others, current.offer), likely)
            for likely in economics.plausible()
        ]
    )
    if float(np.mean(worth[:, -1] <= 0.0)) >= _TAIL:
        return None
    middle = np.average(anchor.offers, weights=anchor.weights)
    centre = np.average(saturating_terms(anchor.offers), axis=0, weights=anchor.weights)
    terms, apart = saturating_terms(others) - centre, others - middle
    now_terms, now_apart = saturating_terms(np.array([current.offer])) - centre, current.offer - middle

    def variance(weight: float) -> FloatArray:
        """Of the others' logits plus so many times the current offer's."""
        spread = response.effect_variance(terms + weight * now_terms, apart + weight * now_apart)
        return spread + (1.0 + weight) ** 2 * level_variance

    together = (variance(1.0) - variance(-1.0)) / 4.0
    own = variance(0.0)
    now = variance(1.0) - own - 2.0 * together
    most = 0.0
    for place, (offer_rate, *spreads) in enumerate(zip(rates, own, now, together, strict=True)):
        both = worth[(worth[:, place] > 0.0) & (worth[:, -1] > 0.0)]
        if len(both):
            logs = np.log(both[:, place] / both[:, -1])
            upper = _upper_log_rates(float(offer_rate), current.rate, spreads, float(logs.var()))
            most = max(most, math.expm1(min(upper + float(logs.mean()), _LARGEST_LOG_RATIO)))
    return most


def _upper_log_rates(rate: float, current: float, spreads: Sequence[float], of_worth: float) -> float:
    """Return the log ratio of two rates, and the deviation of their worth, at the upper point.

    `spreads` are the variances of both logits and their covariance, `of_worth` is the variance of the log of
    what conversions are worth.
    """
    own, now, together = spreads
    pull, back = 1.0 - rate, 1.0 - current
    towards = pull * own - back * together, pull * together - back * now
    variance = pull * towards[0] - back * towards[1] + of_worth
    if variance <= 0.0:
        return math.log(rate / current)
    scale = QUANTILE / math.sqrt(variance)
    moved = expit(logit(np.array([rate, current])) + scale * np.array(towards))
    return math.log(moved[0] / moved[1]) + scale * of_worth


def logit_spreads(response: TypeResponse, offers: FloatArray, anchor: Anchor) -> FloatArray:
    """Return how uncertain the logit is at each offer x, given the level at the anchor.

    sqrt(g' V g + c²) with g = s(x) - a, a the mean terms at the anchor, V the coefficients' covariance, and
    c = slope_error * (x - mean offer of the anchor).
    """
    middle = np.average(saturating_terms(anchor.offers), axis=0, weights=anchor.weights)
    apart = offers - np.average(anchor.offers, weights=anchor.weights)
    return np.asarray(np.sqrt(response.effect_variance(saturating_terms(offers) - middle, apart)))
