"""The chain of touches against published worked examples, against brute force, and under symmetry."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.analytics.domain.markov import Transitions, find_removal_effects

Journeys = list[tuple[list[int], bool]]


def count(journeys: Journeys) -> NDArray[np.float64]:
    """Transitions of journeys: lists of campaigns (from 1), and whether each converted; repeats included."""
    campaigns = max(max(path) for path, _ in journeys)
    counts = np.zeros((campaigns + 3, campaigns + 3))
    for path, converted in journeys:
        states = [0, *path, campaigns + 1 if converted else campaigns + 2]
        for origin, target in pairwise(states):
            counts[origin, target] += 1
    return counts


def convert_probability(counts: NDArray[np.float64], removed: int | None = None) -> float:
    """Probability of conversion from start by solving for the absorption probabilities of all states."""
    states = counts.shape[0]
    conversion, null = states - 2, states - 1
    chain = counts.copy()
    if removed is not None:
        chain[:, null] += chain[:, removed]
        chain[:, removed] = 0
    sums = chain.sum(axis=1)
    shares = np.divide(chain, sums[:, None], out=np.zeros_like(chain), where=sums[:, None] > 0)
    shares[sums == 0, null] = 1.0
    transient = [state for state in range(states) if state not in {conversion, null, removed}]
    inner = shares[np.ix_(transient, transient)]
    solved = np.linalg.solve(np.eye(len(transient)) - inner, shares[transient, conversion])
    return float(solved[0])


@pytest.mark.parametrize(
    ("journeys", "effects", "credits_"),
    [
        # S. Bryl', "Marketing Multi-Channel Attribution model with R (part 1: Markov chains concept)",
        # AnalyzeCore, 2016: C1 > C2 > C3 converts, C1 and C2 > C3 do not.
        ([([1, 2, 3], True), ([1], False), ([2, 3], False)], [0.5, 1.0, 1.0], [0.2, 0.4, 0.4]),
        # S. Puzyrov, "Markov Chain Attribution - simple explanation of removal effect", 2019: Google Ads
        # converts twice, mailing once, Google Ads > mailing once, and Google Ads once does not.
        (
            [([1], True), ([1], True), ([2], True), ([1, 2], True), ([1], False)],
            [0.75, 0.5],
            [2.4, 1.6],
        ),
    ],
)
def test_published_examples_come_out_exactly(
    journeys: Journeys, effects: list[float], credits_: list[float]
) -> None:
    found = find_removal_effects(count(journeys))
    assert found == pytest.approx(effects, abs=1e-12)
    conversions = sum(converted for _, converted in journeys)
    assert conversions * found / found.sum() == pytest.approx(credits_, abs=1e-12)


def test_a_published_simulation_comes_near() -> None:
    """J. Woloso, pychattr (after R's ChannelAttribution), README: 1.991106 and 1.008894 of 3, simulated."""
    journeys: Journeys = [([1, 2, 1, 2, 2, 1], True), ([1, 2, 2, 1, 1], True), ([1, 1], True)]
    found = find_removal_effects(count(journeys))
    assert 3 * found / found.sum() == pytest.approx([2.0, 1.0], abs=1e-12)
    assert 3 * found / found.sum() == pytest.approx([1.991106, 1.008894], abs=0.02)


journeys_strategy = st.lists(
    st.tuples(st.lists(st.integers(1, 6), min_size=1, max_size=7), st.booleans()), min_size=1, max_size=12
)


@given(journeys_strategy)
def test_removal_effects_are_what_brute_force_says(journeys: Journeys) -> None:
    counts = count(journeys)
    found = find_removal_effects(counts)
    whole = convert_probability(counts)
    for campaign, effect in enumerate(found, start=1):
        expected = 1 - convert_probability(counts, campaign) / whole if whole > 1e-12 else 0.0
        assert effect == pytest.approx(expected, abs=1e-9)


@given(journeys_strategy)
def test_campaigns_that_change_places_everywhere_have_the_same_effect(journeys: Journeys) -> None:
    other = {1: 2, 2: 1}
    both = journeys + [([other.get(c, c) for c in path], converted) for path, converted in journeys]
    found = find_removal_effects(count([*both, ([1, 2], False), ([2, 1], False)]))
    assert found[0] == pytest.approx(found[1], abs=1e-12)


def test_groups_are_left_out_of_the_counts() -> None:
    """Steps as (group, origin, target): group 1's are missing without it, and the same steps add up."""
    first = (np.array([0, 1, 1]), np.array([0, 0, 1]), np.array([1, 1, 2]))
    transitions = Transitions.of(1, [first, (np.array([1]), np.array([0]), np.array([1]))])
    assert transitions.to_matrix()[0, 1] == 3
    assert transitions.to_matrix(without_group=1).sum() == 1
    assert Transitions.of(1, []).to_matrix().sum() == 0
    assert find_removal_effects(Transitions.of(2, []).to_matrix()).tolist() == [0.0, 0.0]
