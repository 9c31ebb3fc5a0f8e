"""Intervals of what changes earned, in worlds whose truth is known; the seed was not used in development.

`python -m examples.outcome_intervals` prints a larger table.
"""

import pytest

from examples.outcome_intervals.__main__ import (
    PARTS,
    measure_draws,
    share_agreeing,
    share_held,
    truths_of,
)
from examples.outcome_intervals.worlds import WORLDS
from services.optimizer.domain.recommendations.worth import BeforeAfter

DRAWS = 400
NAMES = ("400 users, 28 days", "days have luck (0.3 of the logit)", "60 users who come often")


@pytest.fixture(scope="module")
def told() -> dict[str, list[BeforeAfter]]:
    return {name: measure_draws(WORLDS[name], draws=DRAWS, seed=20_290) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", PARTS)
def test_intervals_hold_nine_times_in_ten(told: dict[str, list[BeforeAfter]], name: str, part: str) -> None:
    """Monte Carlo's standard error is 1.5 points."""
    truth = truths_of(WORLDS[name])[part]
    held, given = share_held([PARTS[part](profit) for profit in told[name]], truth)
    assert given == 1.0
    assert 0.87 <= held <= 0.93


def test_kept_promises_are_called_so_and_others_not(told: dict[str, list[BeforeAfter]]) -> None:
    for name in NAMES[:2]:
        gain = truths_of(WORLDS[name])["effect"]
        assert share_agreeing(told[name], gain) > 0.87
        assert share_agreeing(told[name], gain + 0.5) < 0.2
