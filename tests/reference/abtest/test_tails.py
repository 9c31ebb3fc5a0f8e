"""Tails of t, F and chi-squared against scipy where a double holds them, and closed forms where none does."""

import math

import numpy as np
import pytest
from scipy import stats

from services.abtest.domain import tails
from services.abtest.domain.proportions import SMALLEST_P_VALUE

DEGREES = (1.0, 2.0, 3.5, 30.0, 999.0, 20_000.0, 2e6)


@pytest.mark.parametrize("degrees", DEGREES)
def test_student_tails_agree_with_scipy(degrees: float) -> None:
    for statistic in (-40.0, -3.3, -0.2, 0.0, 1e-9, 1.96, 8.0, 25.0):
        test = tails.student_test(statistic, degrees, method="t")
        assert test.p_value == pytest.approx(2 * stats.t.sf(abs(statistic), degrees), rel=1e-9)
        assert 10**test.log10_p_value == pytest.approx(test.p_value, rel=1e-9)
    for level in (0.80, 0.95, 0.999):
        quantile = tails.student_quantile(level, degrees)
        assert 2 * stats.t.sf(quantile, degrees) == pytest.approx(1 - level, rel=1e-9)


def test_infinite_degrees_of_freedom_are_the_normal_and_chi_squared() -> None:
    assert tails.student_quantile(0.95, math.inf) == pytest.approx(stats.norm.ppf(0.975), rel=1e-12)
    normal = tails.student_test(-30.0, math.inf, method="z")
    assert normal.log10_p_value == pytest.approx(
        (math.log(2) + stats.norm.logsf(30)) / math.log(10), rel=1e-12
    )
    assert tails.f_test(2.0, 3.0, math.inf, method="f").p_value == pytest.approx(stats.chi2.sf(6.0, 3))


def test_continued_fractions_agree_with_scipy_where_both_hold() -> None:
    # A tail of 1e-300 to 1e-5, where a double holds it still and the fraction is already quick.
    checked = 0
    for degrees in DEGREES:
        for numerator in (1.0, 2.0, 7.0):
            for statistic in np.geomspace(20, 1400, 8):
                expected = float(stats.f.sf(statistic, numerator, degrees))
                if 1e-300 < expected < 1e-5:
                    ours = tails._log_f_tail(math.sqrt(statistic), numerator, degrees)
                    assert ours == pytest.approx(math.log(expected), rel=1e-9)
                    checked += 1
    for degrees in (1.0, 2.0, 7.0, 60.0):
        for statistic in np.geomspace(150, 1300, 8):
            expected = float(stats.chi2.logsf(statistic, degrees))
            if expected > -690:
                assert tails._log_chi_squared(statistic, degrees) == pytest.approx(expected, rel=1e-12)
                checked += 1
    assert checked > 80


def test_tails_below_the_smallest_double_by_their_closed_forms() -> None:
    # Cauchy (1 degree): P(|T| > t) = 2 atan(1 / t) / pi. Two degrees: 1 - t / sqrt(2 + t^2) ~ 1 / t^2.
    assert tails.student_test(1e300, 1.0, method="t").log10_p_value == pytest.approx(
        math.log10(2 / math.pi) - 300, rel=1e-12
    )
    two = tails.student_test(-1e170, 2.0, method="t")
    assert two.log10_p_value == pytest.approx(-340, rel=1e-12)
    assert two.p_value == SMALLEST_P_VALUE
    # Chi-squared with 2 degrees: exp(-x / 2); with 4: exp(-x / 2) (1 + x / 2).
    x = 20_000.0
    two_degrees = tails.chi_squared_tail_test(x, 2, method="q")
    assert two_degrees.log10_p_value == pytest.approx(-x / 2 / math.log(10), rel=1e-12)
    four = tails.chi_squared_tail_test(x, 4, method="q")
    assert four.log10_p_value == pytest.approx((math.log1p(x / 2) - x / 2) / math.log(10), rel=1e-12)
    assert four.p_value == SMALLEST_P_VALUE
    # F with 2 degrees over w: (1 + 2 F / w)^(-w / 2).
    f = tails.f_test(5000.0, 2.0, 1000.0, method="f")
    assert f.log10_p_value == pytest.approx(-500 * math.log10(11), rel=1e-12)
    # t with very many degrees is within reach of the normal: the tail's expansion in 1 / degrees.
    t, degrees = 60.0, 1e9
    normal = (math.log(2) + float(stats.norm.logsf(t))) / math.log(10)
    expected = normal + t**4 / (4 * degrees) / math.log(10)
    assert tails.student_test(t, degrees, method="t").log10_p_value == pytest.approx(expected, rel=1e-6)
