"""Classic reversals, from their publications, and the rate of false warnings where nothing is confounded."""

import numpy as np
import pytest

from services.analytics.domain.simpson import (
    StratifiedGroup,
    describe_reversal,
    find_reversals,
)

# P. J. Bickel, E. A. Hammel, J. W. O'Connell, "Sex bias in graduate admissions: data from Berkeley", Science
# 187 (1975); the six largest departments as in R's UCBAdmissions: admitted, applicants.
BERKELEY_MEN = {
    "A": (512, 825),
    "B": (353, 560),
    "C": (120, 325),
    "D": (138, 417),
    "E": (53, 191),
    "F": (22, 373),
}
BERKELEY_WOMEN = {
    "A": (89, 108),
    "B": (17, 25),
    "C": (202, 593),
    "D": (131, 375),
    "E": (94, 393),
    "F": (24, 341),
}
# C. R. Charig and others, "Comparison of treatment of renal calculi by open surgery, percutaneous
# nephrolithotomy, and extracorporeal shockwave lithotripsy", BMJ 292 (1986): successes and patients by size
# of the stone.
OPEN_SURGERY = {"small": (81, 87), "large": (192, 263)}
NEPHROLITHOTOMY = {"small": (234, 270), "large": (55, 80)}


def test_berkeley_admissions_warn() -> None:
    (reversal,) = find_reversals(
        [
            StratifiedGroup(name="women", cells=BERKELEY_WOMEN),
            StratifiedGroup(name="men", cells=BERKELEY_MEN),
        ],
        stratified_by="department",
        metric="admission_rate",
    )
    assert (reversal.first, reversal.second) == ("men", "women")
    assert reversal.pooled_difference == pytest.approx(1198 / 2691 - 557 / 1835, abs=1e-12)
    weights = {
        d: BERKELEY_MEN[d][1] * BERKELEY_WOMEN[d][1] / (BERKELEY_MEN[d][1] + BERKELEY_WOMEN[d][1])
        for d in "ABCDEF"
    }
    expected = sum(
        weights[d] * (BERKELEY_MEN[d][0] / BERKELEY_MEN[d][1] - BERKELEY_WOMEN[d][0] / BERKELEY_WOMEN[d][1])
        for d in "ABCDEF"
    ) / sum(weights.values())
    assert reversal.stratified_difference == pytest.approx(expected, abs=1e-12)
    assert -0.03 < expected < 0
    # R's mantelhaen.test on the same table: p = 0.22 without a difference within departments.
    assert reversal.stratified_difference_interval.lower < 0 < reversal.stratified_difference_interval.upper
    assert "may also be equal" in describe_reversal(reversal)


def test_kidney_stones_warn() -> None:
    (reversal,) = find_reversals(
        [
            StratifiedGroup(name="open surgery", cells=OPEN_SURGERY),
            StratifiedGroup(name="percutaneous nephrolithotomy", cells=NEPHROLITHOTOMY),
        ],
        stratified_by="stone_size",
        metric="success_rate",
    )
    assert reversal.first == "percutaneous nephrolithotomy"
    assert reversal.pooled_difference == pytest.approx(289 / 350 - 273 / 350, abs=1e-12)
    assert reversal.stratified_difference == pytest.approx(
        -0.0538, abs=5e-4
    )  # by hand from the weights 65.8 and 61.3
    assert reversal.agreeing_weight == 1.0
    assert "percutaneous nephrolithotomy is above open surgery" in describe_reversal(reversal)


def test_user_level_design_effects_take_the_certainty_away() -> None:
    """The kidney stones' z of 5.6 is below 1.96 where the trials are worth a ninth of themselves."""
    groups = [
        StratifiedGroup(name="open surgery", cells=OPEN_SURGERY, design_effect=9.0),
        StratifiedGroup(name="percutaneous nephrolithotomy", cells=NEPHROLITHOTOMY, design_effect=9.0),
    ]
    assert find_reversals(groups, stratified_by="stone_size", metric="success_rate") == []


@pytest.mark.parametrize("confounding", ["none", "rates_differ", "mixes_differ"])
def test_no_confounding_hardly_warns(confounding: str) -> None:
    """Eight equal groups over five strata: 28 pairs a world, and at most 5 % of 200 worlds may warn at all.

    Either the strata's rates differ or the groups' mixes do; only both together confound.
    """
    random = np.random.default_rng(20260331)
    rates = np.array([0.05, 0.1, 0.2, 0.3, 0.4]) if confounding == "rates_differ" else np.full(5, 0.2)
    worlds, warned = 200, 0
    for _ in range(worlds):
        groups = []
        for number in range(8):
            mix = random.dirichlet(np.full(5, 2.0)) if confounding == "mixes_differ" else np.full(5, 0.2)
            trials = random.multinomial(1_000, mix)
            successes = random.binomial(trials, rates)
            cells = {str(i): (int(y), int(x)) for i, (y, x) in enumerate(zip(successes, trials, strict=True))}
            groups.append(StratifiedGroup(name=f"g{number}", cells=cells))
        warned += bool(find_reversals(groups, stratified_by="channel", metric="conversion_rate"))
    assert warned <= 0.05 * worlds


def test_users_who_keep_to_a_stratum_hardly_warn() -> None:
    """Six equal groups of 300 users with 1 to 20 views each, all in the user's own channel: 200 worlds.

    Views counted as if they were independent would take the chance mix of channels for a real one.
    """
    random = np.random.default_rng(11)
    rates = np.array([0.1, 0.3, 0.5])
    warned = {"user": 0, "view": 0}
    for _ in range(200):
        by_user, by_view = [], []
        for number in range(6):
            channels, views = random.integers(0, 3, 300), random.integers(1, 21, 300)
            conversions = random.binomial(views, rates[channels])
            cells = {
                str(c): (int(conversions[channels == c].sum()), int(views[channels == c].sum()))
                for c in range(3)
            }
            repeats = float((views**2).sum() / views.sum())
            name = f"g{number}"
            by_view.append(StratifiedGroup(name=name, cells=cells))
            by_user.append(
                StratifiedGroup(name=name, cells=cells, design_effect=repeats, mix_design_effect=repeats)
            )
        for unit, groups in (("user", by_user), ("view", by_view)):
            warned[unit] += bool(find_reversals(groups, stratified_by="channel", metric="conversion_rate"))
    assert warned["user"] <= 10
    assert warned["view"] > 40


def test_true_reversals_are_found_among_many_pairs() -> None:
    """A third of the rate turned around by the mix, beside ten groups like one another: found in every
    world."""
    random = np.random.default_rng(7)
    for _ in range(30):
        groups = [
            StratifiedGroup(name=name, cells=_draw(random, mix, rates))
            for name, mix, rates in [
                ("a", (900, 100), (0.30, 0.10)),
                ("b", (100, 900), (0.36, 0.16)),
                *[(f"g{n}", (500, 500), (0.30, 0.10)) for n in range(10)],
            ]
        ]
        found = find_reversals(groups, stratified_by="offer_amount", metric="conversion_rate")
        assert ("a", "b") in {(reversal.first, reversal.second) for reversal in found}


def _draw(
    random: np.random.Generator, trials: tuple[int, int], rates: tuple[float, float]
) -> dict[str, tuple[int, int]]:
    scale = 10
    return {
        str(i): (int(random.binomial(n * scale, p)), n * scale)
        for i, (n, p) in enumerate(zip(trials, rates, strict=True))
    }
