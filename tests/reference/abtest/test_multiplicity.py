"""Adjusted p-values against statsmodels, and what they promise by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from services.abtest.domain.multiplicity import adjust_by_benjamini_hochberg, adjust_by_holm


@settings(max_examples=40)
@given(
    p_values=st.lists(
        st.floats(0, 1) | st.sampled_from([0.0, 0.01, 0.05, 1.0, 1e-300]), min_size=1, max_size=12
    )
)
def test_adjustments_agree_with_statsmodels(p_values: list[float]) -> None:
    for adjust, method in ((adjust_by_holm, "holm"), (adjust_by_benjamini_hochberg, "fdr_bh")):
        theirs = multipletests(p_values, method=method)[1]
        assert adjust(p_values) == pytest.approx(theirs.tolist(), rel=1e-9)


def test_what_was_not_compared_costs_nothing() -> None:
    assert adjust_by_holm([None, 0.02, None, 0.01]) == (None, 0.02, None, 0.02)
    assert adjust_by_benjamini_hochberg([None, 0.04, 0.01]) == (None, 0.04, 0.02)
    assert adjust_by_holm([]) == adjust_by_benjamini_hochberg([]) == ()


def test_holm_keeps_its_level_over_variants_that_share_a_control() -> None:
    # Four variants against one control, none better: any finding at all is wrong.
    generator = np.random.default_rng(6)
    control, *variants = generator.binomial(1000, 0.1, (5, 10_000))
    pooled = (np.array(variants) + control) / 2000
    z = (np.array(variants) - control) / np.sqrt(pooled * (1 - pooled) * 2 * 1000)
    p_values = 2 * stats.norm.sf(np.abs(z)).T
    # Holm finds something exactly where the smallest p-value is under a quarter of the level.
    found = [min(p for p in adjust_by_holm(row) if p is not None) < 0.05 for row in p_values.tolist()]
    assert np.mean(found) <= 0.05
    assert (p_values < 0.05).any(axis=1).mean() > 0.1


def test_benjamini_hochberg_keeps_the_share_of_false_findings() -> None:
    # Twenty metrics, of which five moved: of what is found, on average at most 5 % did not.
    generator = np.random.default_rng(8)
    moved = np.arange(20) < 5
    p_values = 2 * stats.norm.sf(np.abs(generator.normal(moved * 3.0, 1.0, (4000, 20))))
    shares, powers = [], []
    for row in p_values.tolist():
        found = np.array([p is not None and p < 0.05 for p in adjust_by_benjamini_hochberg(row)])
        shares.append((found & ~moved).sum() / max(1, found.sum()))
        powers.append(found[moved].mean())
    assert np.mean(shares) <= 0.05
    holm = [
        np.mean([p is not None and p < 0.05 for p in adjust_by_holm(row)[:5]]) for row in p_values.tolist()
    ]
    assert np.mean(powers) > np.mean(holm) + 0.1
