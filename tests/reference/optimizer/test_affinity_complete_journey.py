"""Users' merchants on the real data: trained before 1 August 2017, judged afterwards (Complete Journey).

The whole table is `python -m examples.complete_journey.merchants`, which says what each figure is. Of all
2,446 households it gives: stores 0.825 (frequency 0.812), never-visited stores 0.321 (popularity 0.066; ALS
0.31 was reported), manufacturers 0.603 (frequency 0.602), without the house brand 0.421 (0.420; popularity
0.342).
"""

import os
from pathlib import Path

import numpy as np
import pytest

from examples.complete_journey.merchants import (
    HOUSE_BRAND,
    Market,
    fit_before_cut,
    habit_recalls,
    new_recalls,
    next_week,
    read_market,
)
from examples.complete_journey.source import Source
from services.optimizer.affinity_training.pipeline import Fitted

SHARED = Path(os.environ.get("SHARED_DATA_DIR", Path(__file__).parents[4] / "shared" / "data"))
FOLDER = SHARED / "complete_journey"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the Complete Journey files are not there")


@pytest.fixture(scope="module")
def stores() -> Market:
    return read_market(Source.find(FOLDER), "store")


@pytest.fixture(scope="module")
def fitted(stores: Market) -> Fitted:
    return fit_before_cut(stores)


def test_habits_at_stores_are_foretold_better_than_by_frequency(stores: Market, fitted: Fitted) -> None:
    recalls = habit_recalls(stores, fitted)
    assert fitted.report.is_better
    assert recalls.households == 2203
    assert recalls.by_method["model"] > recalls.by_method["frequency"] > 0.80
    assert recalls.by_method["popularity"] < 0.06


def test_stores_never_visited_are_foretold(stores: Market, fitted: Fitted) -> None:
    recalls = new_recalls(stores, fitted)
    assert recalls.households == 723
    assert recalls.by_method["model"] >= 0.25
    assert recalls.by_method["popularity"] == pytest.approx(0.066, abs=0.002)
    assert recalls.by_method["ceiling"] > 0.99


def test_scores_are_the_share_of_what_is_visited_in_the_next_days(stores: Market, fitted: Fitted) -> None:
    """1 to 7 August: as many visits as the scores add up to, and in every band of scores about so."""
    week, scores = next_week(stores, fitted)
    assert scores.sum() == pytest.approx(week.visited.sum(), rel=0.06)
    for lower, upper in ((0.05, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.0)):
        inside = (scores >= lower) & (scores < upper)
        assert np.sum(inside) > 100
        assert scores[inside].mean() == pytest.approx(week.visited[inside].mean(), abs=0.05)


def test_habits_at_manufacturers_are_foretold_as_well_as_by_frequency() -> None:
    """Of every fourth household, so that it takes seconds."""
    market = read_market(Source.find(FOLDER), "manufacturer", without=HOUSE_BRAND, every=4)
    recalls = habit_recalls(market, fit_before_cut(market))
    assert recalls.households > 500
    assert recalls.by_method["model"] >= recalls.by_method["frequency"] - 0.01
    assert recalls.by_method["frequency"] > recalls.by_method["popularity"] + 0.03
