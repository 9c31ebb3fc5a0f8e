"""Rates compared within weight epochs, against exact fractions, statsmodels and Fisher's test."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import StratifiedTable

from services.abtest.domain.model import EpochCounts, GroupCounts
from services.abtest.domain.proportions import fisher_exact_log10_p_value
from services.abtest.domain.stratified_rates import (
    compare_stratified,
    exact_stratified_log10_p_value,
    score_information,
    usable_pairs,
)
from tests.abtest_factories import epoch


def exact_p_value(epochs: list[EpochCounts]) -> float:
    """Every table with these margins, one by one, in fractions."""
    laws = []
    for control, variant in usable_pairs(epochs, 1):
        converted = control.conversions + variant.conversions
        total = math.comb(control.users + variant.users, converted)
        laws.append(
            {
                k: Fraction(math.comb(control.users, k) * math.comb(variant.users, converted - k), total)
                for k in range(max(0, converted - variant.users), min(control.users, converted) + 1)
            }
        )
    sums: dict[int, Fraction] = {}
    for cells in itertools.product(*(law.items() for law in laws)):
        place = sum(k for k, _ in cells)
        sums[place] = sums.get(place, Fraction(0)) + math.prod((mass for _, mass in cells), start=Fraction(1))
    seen = sums[sum(each.groups[0].conversions for each in epochs)]
    return float(sum(mass for mass in sums.values() if mass <= seen * (1 + Fraction(1, 10**7))))


sizes = st.integers(1, 12)


@given(tables=st.lists(st.tuples(sizes, sizes, st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=3))
def test_the_exact_test_agrees_with_all_tables_counted(
    tables: list[tuple[int, int, float, float]],
) -> None:
    epochs = [
        epoch((round(p * n), n), (round(q * m), m), number=number)
        for number, (n, m, p, q) in enumerate(tables)
    ]
    ours = 10 ** exact_stratified_log10_p_value(usable_pairs(epochs, 1))
    assert ours == pytest.approx(exact_p_value(epochs), rel=1e-9)


def test_with_one_stratum_it_is_fishers_however_far_out() -> None:
    for pair in (((3, 10), (9, 12)), ((0, 4000), (60, 4000)), ((1, 900_000), (3, 1000))):
        counts = epoch(*pair)
        assert exact_stratified_log10_p_value(usable_pairs([counts], 1)) == pytest.approx(
            fisher_exact_log10_p_value(*counts.groups), rel=1e-9
        )


def test_few_expected_conversions_take_the_exact_test() -> None:
    few = [epoch((9, 900), (3, 100), number=1, weights=(0.9, 0.1)), epoch((2, 50), (3, 50), number=2)]
    test = compare_stratified(few)
    assert test is not None
    assert test.method == "exact_stratified"
    assert test.p_value == pytest.approx(exact_p_value(few), rel=1e-9)
    assert test.log10_p_value == pytest.approx(math.log10(test.p_value), rel=1e-9)


def test_many_take_cochrans() -> None:
    many = [
        epoch((90, 900), (15, 100), number=1, weights=(0.9, 0.1)),
        epoch((50, 500), (65, 500), number=2),
    ]
    test = compare_stratified(many)
    assert test is not None
    assert test.method == "cochran_stratified"
    tables = [
        np.array([[g.conversions, g.users - g.conversions] for g in each.groups], dtype=float)
        for each in many
    ]
    # statsmodels' Mantel-Haenszel test has the variance of fixed margins, (N - 1) / N of Cochran's per table.
    peer = StratifiedTable(tables).test_null_odds(correction=False)
    assert test.statistic == pytest.approx(float(peer.statistic), rel=3e-3)
    excess = sum(table[1, 0] - table[1].sum() * table[:, 0].sum() / table.sum() for table in tables)
    variance = sum(
        table[0].sum() * table[1].sum() * table[:, 0].sum() * table[:, 1].sum() / table.sum() ** 3
        for table in tables
    )
    assert test.statistic == pytest.approx(excess**2 / variance, rel=1e-12)
    assert score_information(many, 1) == pytest.approx(variance, rel=1e-12)


def test_the_exact_fallback_keeps_its_level_where_cochrans_would_not() -> None:
    # Two lopsided epochs at 0.5 %: 5 conversions expected in control, a fraction of one in the variant.
    generator = np.random.default_rng(8)
    tests, wrong = 4000, 0
    counts, times = np.unique(
        generator.binomial([400, 20, 300, 30], 0.005, (tests, 4)), axis=0, return_counts=True
    )
    for (a, b, c, d), count in zip(counts, times, strict=True):
        epochs = [
            epoch((int(a), 400), (int(b), 20), number=1),
            epoch((int(c), 300), (int(d), 30), number=2),
        ]
        test = compare_stratified(epochs)
        wrong += int(count) * (test is not None and test.p_value < 0.05)
    assert wrong / tests <= 0.05


def test_nothing_to_compare_is_told_by_none() -> None:
    assert compare_stratified([]) is None
    assert compare_stratified([epoch((0, 5), (0, 0)), epoch((0, 0), (1, 5), number=2)]) is None
    assert compare_stratified([epoch((5, 5), (3, 3)), epoch((0, 7), (0, 2), number=2)]) is None


def test_another_variant_is_compared_by_its_index() -> None:
    groups = tuple(GroupCounts(users=1000, conversions=count) for count in (100, 100, 150))
    three = [EpochCounts(epoch=1, weights=(1 / 3,) * 3, groups=groups)]
    nothing, something = compare_stratified(three, 1), compare_stratified(three, 2)
    assert nothing is not None
    assert something is not None
    assert nothing.p_value == 1.0
    assert something.p_value < 0.001
