"""The forest: its export, its parity, its importances; the response's fit on a known truth."""

import numpy as np
import onnx
import pytest

from services.optimizer.domain.features import (
    MICROS_PER_UNIT,
    fit_encoding,
    table_features,
    trailing_history,
)
from services.optimizer.domain.response.offer_cells import offer_cells
from services.optimizer.domain.response.response import CURVE_OFFERS_MICROS, logit
from services.optimizer.domain.response.support import survey_support
from services.optimizer.training.forest import (
    DEPTH,
    TREES,
    ExportedForest,
    export_forest,
    fit_forest,
    measure_importance,
    measure_parity,
)
from services.optimizer.training.response_fit import fit_response
from tests.unit.optimizer.synthetic import build_world, true_rate

TABLE = build_world(campaigns=15, days=40).table
FEATURES = table_features(TABLE, trailing_history(TABLE), fit_encoding(TABLE))
VIEWS = TABLE.views.astype(np.float64)


def test_the_export_says_what_the_forest_says() -> None:
    heard: list[float] = []
    forest = fit_forest(FEATURES, TABLE.conversion_rate, VIEWS, on_progress=heard.append)
    model = export_forest(forest)
    exported = ExportedForest(model)
    parsed = onnx.load_from_string(model)
    assert len(forest.estimators_) == TREES
    assert max(tree.get_depth() for tree in forest.estimators_) <= DEPTH
    assert heard == pytest.approx(np.linspace(0.1, 1.0, 10))
    assert measure_parity(forest, exported, FEATURES) <= 2e-6
    assert [tensor.name for tensor in parsed.graph.input] == ["features"]
    assert [tensor.name for tensor in parsed.graph.output] == ["conversion_rate"]
    importances = measure_importance(forest, FEATURES, TABLE.conversion_rate, VIEWS)
    assert importances[0].feature_name == "offer_amount"
    assert sum(importance.impurity for importance in importances) == pytest.approx(1.0)

    other = fit_forest(FEATURES, TABLE.conversion_rate**2, VIEWS, on_progress=heard.append)
    assert measure_parity(other, exported, FEATURES) > 2e-6


def test_growing_in_steps_gives_the_trees_of_one_fit() -> None:
    from sklearn.ensemble import RandomForestRegressor

    from services.optimizer.training.forest import _SEED, SMALLEST_LEAF

    at_once = RandomForestRegressor(
        n_estimators=TREES, max_depth=DEPTH, min_samples_leaf=SMALLEST_LEAF, random_state=_SEED
    ).fit(FEATURES, TABLE.conversion_rate, sample_weight=VIEWS)
    in_steps = fit_forest(FEATURES, TABLE.conversion_rate, VIEWS, on_progress=lambda _: None)
    np.testing.assert_allclose(at_once.predict(FEATURES), in_steps.predict(FEATURES), rtol=1e-12)


def test_the_response_is_found_in_spite_of_confounded_offers() -> None:
    """Between campaigns higher offers go with lower rates; within them the truth shows.

    The fitted curve differs from the true one by at most 0.25 on the logit scale between $7.50 and $22.50,
    of an effect of 2 to 3; a fit that ignores campaigns is far off.
    """
    table = build_world(campaigns=90, days=60).table
    support = survey_support(table)
    response = fit_response(offer_cells((), table), support).types
    assert set(response) == {1, 2, 3}
    offers = np.array(CURVE_OFFERS_MICROS[5:36]) / MICROS_PER_UNIT
    for campaign_type, of_type in response.items():
        truth = logit(true_rate(campaign_type, 0.0, offers))
        fitted = of_type.effect(offers)
        difference = (fitted - fitted.mean()) - (truth - truth.mean())
        assert np.abs(difference).max() < 0.25
        assert np.linalg.eigvalsh(of_type.covariance).min() > 0.0


def test_a_type_whose_campaigns_never_vary_has_no_response() -> None:
    table = build_world(campaigns=6, days=30).table
    first_of_campaign = {int(c): int(table.offer_micros[table.campaign == c][0]) for c in range(6)}
    fixed = np.array([first_of_campaign[int(c)] for c in table.campaign])
    of_type_one = table.campaign_type == 1
    offers = np.where(of_type_one, fixed, table.offer_micros)
    changed = type(table)(**{**vars(table), "offer_micros": offers})
    response = fit_response(offer_cells((), changed), survey_support(changed)).types
    assert 1 not in response
    assert {2, 3} <= set(response)
