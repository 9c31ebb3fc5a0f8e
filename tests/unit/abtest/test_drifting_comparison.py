"""After a change of weights, what is told of rates compares the groups within weight epochs."""

import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import StratifiedTable

from services.abtest.domain.comparisons import Comparison
from services.abtest.domain.decision import as_strata
from services.abtest.domain.metric_comparison import compare_metric
from services.abtest.domain.metrics import CONVERSION_RATE
from services.abtest.domain.model import EpochCounts
from services.abtest.domain.outcomes import MetricOutcome
from tests.abtest_factories import design, epoch


def compared(*epochs: EpochCounts) -> Comparison:
    outcome = MetricOutcome(metric=CONVERSION_RATE, strata=tuple(as_strata(epochs)))
    (comparison,) = compare_metric(design(), outcome).comparisons
    return comparison


def test_a_drift_of_rates_is_no_lift() -> None:
    # No effect, but the rate rose from 8 % to 30 % as the variant's weight rose from 10 % to 50 %.
    first = epoch((720, 9000), (80, 1000), number=1, weights=(0.9, 0.1))
    second = epoch((1500, 5000), (1500, 5000), number=2)
    pooled = stats.chi2_contingency([[2220, 11_780], [1580, 4420]], correction=False)
    assert pooled.pvalue < 1e-10
    found = compared(first, second)
    assert found.test is not None
    assert (found.test.method, found.test.p_value) == ("cochran_stratified", 1.0)
    assert found.absolute_lift == pytest.approx(0.0, abs=1e-12)
    assert found.relative_lift == pytest.approx(0.0, abs=1e-12)
    assert found.relative_lift_interval is not None
    assert found.relative_lift_interval.lower < 0.0 < found.relative_lift_interval.upper


def test_the_lift_is_mantel_and_haenszels() -> None:
    tables = (((100, 1000), (150, 1000)), ((900, 3000), (350, 1000)))
    found = compared(*(epoch(*pair, number=number) for number, pair in enumerate(tables, start=1)))
    peer = StratifiedTable([[[x1, n1 - x1], [x0, n0 - x0]] for (x0, n0), (x1, n1) in tables])
    assert found.relative_lift == pytest.approx(float(peer.riskratio_pooled) - 1.0, rel=1e-9)
    weights = [1000 * 1000 / 2000, 3000 * 1000 / 4000]
    difference = (weights[0] * 0.05 + weights[1] * 0.05) / sum(weights)
    assert found.absolute_lift == pytest.approx(difference, rel=1e-9)
    assert found.absolute_lift_interval is not None
    assert found.absolute_lift_interval.lower < difference < found.absolute_lift_interval.upper


def test_an_epoch_in_which_one_group_had_nobody_compares_nothing() -> None:
    both = epoch((100, 1000), (131, 1000), number=2)
    assert compared(epoch((40, 50), (0, 0), number=1), both) == compared(both)
