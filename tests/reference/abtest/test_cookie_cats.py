"""Cookie Cats, a real test of 90,189 players (gate_30 against gate_40), from its counts and from its rows."""

import csv
import gzip
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from services.abtest.domain.means import compare_means
from services.abtest.domain.model import EpochCounts, GroupCounts
from services.abtest.domain.proportions import chi_squared_test, compare_proportions
from services.abtest.domain.ratios import compare_ratios
from services.abtest.domain.sample_ratio import check_sample_ratio
from services.abtest.domain.samples import MeanSample, RatioSample

GATES = ("gate_30", "gate_40")


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A group's players: rounds played, and whether they came back after one day and after seven."""

    rounds: NDArray[np.float64]
    after_one_day: NDArray[np.bool_]
    after_seven_days: NDArray[np.bool_]

    def returned(self, retention: NDArray[np.bool_]) -> GroupCounts:
        return GroupCounts(users=retention.size, conversions=int(retention.sum()))


@pytest.fixture(scope="module")
def gates() -> tuple[Gate, Gate]:
    """The two groups; skipped where the data is absent."""
    beside = Path(__file__).resolve().parents[3].parent / "shared" / "data"
    folder = Path(os.environ.get("SHARED_DATA_DIR", beside))
    path = folder / "cookie_cats" / "cookie_cats.csv.gz"
    if not path.exists():
        pytest.skip("the Cookie Cats data is not here")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    control, variant = ([row for row in rows if row["version"] == gate] for gate in GATES)
    assert len(control) + len(variant) == len(rows)
    return as_gate(control), as_gate(variant)


def as_gate(rows: list[dict[str, str]]) -> Gate:
    return Gate(
        rounds=np.array([float(row["sum_gamerounds"]) for row in rows]),
        after_one_day=np.array([row["retention_1"] == "TRUE" for row in rows]),
        after_seven_days=np.array([row["retention_7"] == "TRUE" for row in rows]),
    )


def test_cookie_cats_published_counts() -> None:
    # Cookie Cats (gate_30 against gate_40): 7-day retention 8502/44700 and 8279/45489; 1-day 20034 and 20119.
    seven = chi_squared_test(
        GroupCounts(users=44_700, conversions=8502), GroupCounts(users=45_489, conversions=8279)
    )
    assert round(seven.statistic, 6) == 10.013167
    assert round(seven.p_value, 6) == 0.001554
    one = chi_squared_test(
        GroupCounts(users=44_700, conversions=20_034), GroupCounts(users=45_489, conversions=20_119)
    )
    assert round(one.p_value, 5) == 0.07441


def test_cookie_cats_sizes_from_its_rows_warn_and_do_not_alarm(gates: tuple[Gate, Gate]) -> None:
    sizes = tuple(GroupCounts(users=gate.rounds.size) for gate in gates)
    check = check_sample_ratio([EpochCounts(epoch=1, weights=(0.5, 0.5), groups=sizes)])
    assert check is not None
    assert round(check.fixed_p_value, 6) == 0.008608
    assert check.warns
    assert not check.alarms


def test_cookie_cats_retention_from_its_rows(gates: tuple[Gate, Gate]) -> None:
    control, variant = gates
    seven = compare_proportions(
        control.returned(control.after_seven_days), variant.returned(variant.after_seven_days)
    )
    one = compare_proportions(
        control.returned(control.after_one_day), variant.returned(variant.after_one_day)
    )
    assert seven is not None
    assert one is not None
    assert seven.method == one.method == "pearson_chi_squared"
    assert (round(seven.statistic, 6), round(seven.p_value, 6)) == (10.013167, 0.001554)
    assert round(one.p_value, 5) == 0.07441


def test_cookie_cats_rounds_by_welch_capped_or_not_agree_with_scipy(gates: tuple[Gate, Gate]) -> None:
    # One player has 49,854 rounds, the next 2,961: what winsorising is for.
    rounds = [gate.rounds for gate in gates]
    cap = np.quantile(np.concatenate(rounds), 0.999)
    errors = []
    for values in (rounds, [np.minimum(each, cap) for each in rounds]):
        control, variant = map(MeanSample.from_values, values)
        ours = compare_means(control, variant, confidence_level=0.95)
        theirs = stats.ttest_ind(values[1], values[0], equal_var=False)
        assert ours.test is not None
        assert ours.difference is not None
        assert (ours.test.statistic, ours.test.p_value) == pytest.approx(
            (theirs.statistic, theirs.pvalue), rel=1e-9
        )
        errors.append(ours.difference.standard_error)
        integers = [each.astype(int).tolist() for each in values]
        if values is rounds:
            # The same from the exact integer sums that a database gives.
            exact = compare_means(
                *(
                    MeanSample.from_sums(users=len(each), total=sum(each), squares=sum(x * x for x in each))
                    for each in integers
                ),
                confidence_level=0.95,
            )
            assert exact.test is not None
            assert exact.test.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert errors[1] < 0.8 * errors[0]


def test_cookie_cats_returns_per_round_by_the_delta_method_agree_with_scipy(gates: tuple[Gate, Gate]) -> None:
    samples, parts = [], []
    for gate in gates:
        returns = gate.after_seven_days.astype(float)
        samples.append(RatioSample.from_values(returns, gate.rounds))
        ratio = returns.sum() / gate.rounds.sum()
        parts.append(ratio + (returns - ratio * gate.rounds) / gate.rounds.mean())
    ours = compare_ratios(*samples, confidence_level=0.95)
    theirs = stats.ttest_ind(parts[1], parts[0], equal_var=False)
    assert ours.test is not None
    assert (ours.test.statistic, ours.test.p_value) == pytest.approx(
        (theirs.statistic, theirs.pvalue), rel=1e-9
    )
