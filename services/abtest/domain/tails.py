"""Tails of Student's t, Fisher's F and chi-squared by their logarithm, however far out; quantiles of t.

A double ends at 1e-308 and a large test does not, so below `_TRUSTED_ABOVE` continued fractions take over.
Infinite degrees of freedom give the normal (of t) and chi-squared (of F).
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

from scipy import special

from services.abtest.domain.proportions import HypothesisTest, floor_p_value, normal_quantile

_LN10 = math.log(10.0)
_TRUSTED_ABOVE = 1e-280
_TINY = 1e-300
_PRECISION = 1e-15


def student_quantile(confidence_level: float, degrees_of_freedom: float) -> float:
    """Return t with P(|T| <= t) = confidence_level."""
    if math.isinf(degrees_of_freedom):
        return normal_quantile(confidence_level)
    return float(-special.stdtrit(degrees_of_freedom, (1.0 - confidence_level) / 2.0))


def student_test(statistic: float, degrees_of_freedom: float, *, method: str) -> HypothesisTest:
    """Return the two-sided test of a statistic that is Student's t under its hypothesis."""
    if math.isinf(degrees_of_freedom):
        log_tail = math.log(2.0) + float(special.log_ndtr(-abs(statistic)))
    else:
        tail = 2.0 * float(special.stdtr(degrees_of_freedom, -abs(statistic)))
        log_tail = (
            math.log(tail) if tail > _TRUSTED_ABOVE else _log_f_tail(statistic, 1.0, degrees_of_freedom)
        )
    return _as_test(statistic, log_tail, method)


def f_test(
    statistic: float, degrees: float, denominator_degrees_of_freedom: float, *, method: str
) -> HypothesisTest:
    """Return the test of a statistic that is F under its hypothesis; large values speak against it."""
    if math.isinf(denominator_degrees_of_freedom):
        return replace(
            chi_squared_tail_test(statistic * degrees, degrees, method=method), statistic=statistic
        )
    tail = float(special.fdtrc(degrees, denominator_degrees_of_freedom, statistic))
    if tail > _TRUSTED_ABOVE:
        return _as_test(statistic, math.log(tail), method)
    root = math.sqrt(statistic)
    return _as_test(statistic, _log_f_tail(root, degrees, denominator_degrees_of_freedom), method)


def chi_squared_tail_test(statistic: float, degrees_of_freedom: float, *, method: str) -> HypothesisTest:
    """Return the test of a statistic that is chi-squared under its hypothesis."""
    tail = float(special.chdtrc(degrees_of_freedom, statistic))
    log_tail = math.log(tail) if tail > _TRUSTED_ABOVE else _log_chi_squared(statistic, degrees_of_freedom)
    return _as_test(statistic, log_tail, method)


def _as_test(statistic: float, log_tail: float, method: str) -> HypothesisTest:
    log10_p_value = min(0.0, log_tail / _LN10)
    return HypothesisTest(
        statistic=statistic, p_value=floor_p_value(log10_p_value), log10_p_value=log10_p_value, method=method
    )


def _log_f_tail(root: float, degrees: float, denominator_degrees: float) -> float:
    """Return log P(F > root^2), which is log I_x(w / 2, v / 2) at x = w / (w + v root^2); for far tails.

    v and w are the numerator's and the denominator's degrees of freedom. With v = 1 it is t's two-sided tail.

    Source: NIST Digital Library of Mathematical Functions, 8.17.22: a continued fraction, quick where
    x < (a + 1) / (a + b + 2), which a far tail is.
    """
    a, b = denominator_degrees / 2.0, degrees / 2.0
    # With o = w / (v root^2): x = o / (1 + o), 1 - x = 1 / (1 + o). The logarithm stays where o underflows.
    log_odds = math.log(denominator_degrees / degrees) - 2.0 * math.log(abs(root))
    odds = math.exp(log_odds)
    front = a * log_odds - (a + b) * math.log1p(odds) - math.log(a) - float(special.betaln(a, b))
    return front - math.log(_continue(1.0, _beta_steps(a, b, odds / (1.0 + odds))))


def _log_chi_squared(statistic: float, degrees_of_freedom: float) -> float:
    """Return log Q(a, x), a and x half of the arguments, for far tails.

    Source: NIST Digital Library of Mathematical Functions, 8.9.2, in its even part.
    """
    a, x = degrees_of_freedom / 2.0, statistic / 2.0
    fraction = _continue(x + 1.0 - a, ((-m * (m - a), x + 2 * m + 1.0 - a) for m in itertools.count(1)))
    return a * math.log(x) - x - float(special.gammaln(a)) - math.log(fraction)


def _beta_steps(a: float, b: float, x: float) -> Iterator[tuple[float, float]]:
    for term in itertools.count(1):
        m = term // 2
        if term % 2:
            yield -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)), 1.0
        else:
            yield m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)), 1.0


def _continue(first: float, steps: Iterator[tuple[float, float]]) -> float:
    """Return first + n1 / (d1 + n2 / (d2 + ...)) for endless steps (n, d), which must converge.

    Source: W. J. Lentz (1976), Applied Optics 15, 668-671, as modified by I. J. Thompson, A. R. Barnett
    (1986), Journal of Computational Physics 64, 490-509.
    """
    value = upper = first
    lower, change = 0.0, math.inf
    while abs(change - 1.0) > _PRECISION:
        numerator, denominator = next(steps)
        lower = 1.0 / _away_from_zero(denominator + numerator * lower)
        upper = _away_from_zero(denominator + numerator / upper)
        change = upper * lower
        value *= change
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
