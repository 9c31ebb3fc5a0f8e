"""Contacts, similarities, features and scores of affinity, by hand."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from services.optimizer.affinity_training.similarity_fit import fit_similarities
from services.optimizer.domain.affinity.answer import (
    answer_by_population,
    answer_users,
    gather_for,
    score_by_population,
    score_range,
    score_user,
)
from services.optimizer.domain.affinity.contacts import (
    HABIT_HALF_LIFE,
    RECENT_HALF_LIFE,
    WINDOW_DAYS,
    Contact,
    Contacts,
    Evidence,
    IntArray,
    gather,
    visited_within,
    weighted_days,
)
from services.optimizer.domain.affinity.documents import from_document, to_document
from services.optimizer.domain.affinity.features import (
    FIRST_FEATURES,
    RETURNING_FEATURES,
    Merchants,
    Pairs,
    candidate_keys,
    pair_features,
    visitor_shares,
)
from services.optimizer.domain.affinity.model import AffinityModel, Band, LogisticTerms
from services.optimizer.domain.affinity.reasons import Explainer
from services.optimizer.domain.affinity.response import UNKNOWN_RESPONSE, AffinityResponse
from services.optimizer.domain.affinity.similarity import look_up, similar_taste

TODAY = 700_000
NAN = math.nan
MERCHANTS = Merchants(
    ids=np.array([10, 20, 30, 40], dtype=np.int64),
    names=("Bakery", "Market", "Opera", ""),
    categories=("food", "music"),
    category=np.array([0, 0, 1, -1], dtype=np.int64),
    latitude=np.array([40.0, 40.0, 40.09, NAN]),
    longitude=np.array([-74.0, -74.0, -74.0, NAN]),
)


def contacts(*rows: tuple[int, int, Contact, int]) -> Contacts:
    """User, merchant, kind, days before TODAY."""
    columns = np.array([(user, place, kind, TODAY - ago) for user, place, kind, ago in rows], dtype=np.int64)
    columns = columns.reshape(-1, 4)
    return Contacts(user=columns[:, 0], merchant=columns[:, 1], kind=columns[:, 2], day=columns[:, 3])


def evidence_of(*rows: tuple[int, int, Contact, int], users: int = 3) -> Evidence:
    return gather(contacts(*rows), TODAY, user_count=users, merchant_count=4)


def terms(names: tuple[str, ...], intercept: float, **weights: float) -> LogisticTerms:
    return LogisticTerms(
        names=names,
        means=(0.0,) * len(names),
        scales=(1.0,) * len(names),
        coefficients=tuple(weights.get(name, 0.0) for name in names),
        intercept=intercept,
    )


def model_of(evidence: Evidence, bands: tuple[Band, ...] = ()) -> AffinityModel:
    return AffinityModel(
        version=3,
        merchants=MERCHANTS,
        visitor_share=visitor_shares(evidence),
        weekly_share=np.array([0.2, 0.1, 0.3, 0.1]),
        similarities=fit_similarities(evidence),
        returning=terms(RETURNING_FEATURES, 3.0, habit_rate=1.0, passings=0.5),
        first=terms(
            FIRST_FEATURES, -3.0, similar_taste=0.2, nearness=0.1, category_share=1.0, popularity=0.1
        ),
        bands=bands,
        redemptions_are_visits=False,
    )


HISTORY = (
    (0, 0, Contact.VISIT, 1),
    (0, 0, Contact.VISIT, 15),
    (0, 0, Contact.REDEMPTION, 1),
    (0, 1, Contact.VISIT, 91),
    (0, 2, Contact.PASSING, 1),
    (1, 0, Contact.VISIT, 1),
    (1, 2, Contact.VISIT, 8),
)


def test_visits_fade_by_half_with_every_half_life() -> None:
    evidence = evidence_of(*HISTORY)
    assert evidence.key.tolist() == [0, 1, 2, 4, 6]
    assert evidence.recent[0] == pytest.approx(2 ** (-1 / RECENT_HALF_LIFE) + 2 ** (-15 / RECENT_HALF_LIFE))
    assert evidence.habit[1] == pytest.approx(2 ** (-91 / HABIT_HALF_LIFE))
    assert evidence.total.tolist() == [2, 1, 0, 1, 1]
    assert evidence.last_age.tolist()[:2] == [1, 91]
    assert math.isnan(evidence.last_age[2])
    assert evidence.redemptions[0] == pytest.approx(2 ** (-1 / HABIT_HALF_LIFE))
    assert evidence.passings[2] > 0 == evidence.passings[0]
    assert evidence.tenure.tolist() == [91, 8, 0]
    assert evidence.user_recent[1] == pytest.approx(evidence.recent[3] + evidence.recent[4])


def test_what_comes_later_or_was_long_ago_is_not_seen() -> None:
    evidence = evidence_of(
        (0, 0, Contact.VISIT, 0), (0, 0, Contact.VISIT, -3), (0, 1, Contact.VISIT, WINDOW_DAYS + 1)
    )
    assert len(evidence.key) == 0
    assert evidence.tenure.tolist() == [0, 0, 0]


def test_redemptions_count_as_visits_where_nothing_else_is_known() -> None:
    counted = contacts(*HISTORY).count_redemptions_as_visits()
    evidence = gather(counted, TODAY, user_count=3, merchant_count=4)
    assert evidence.total[0] == 3
    assert evidence.redemptions.sum() == 0
    assert evidence.passings.sum() > 0


def test_the_days_a_user_is_known_are_weighted_as_visits_are() -> None:
    ages = np.arange(1, 31)
    assert weighted_days(np.array([30.0, 0.0]), 14.0).tolist() == pytest.approx(
        [float(np.sum(2.0 ** (-ages / 14.0))), 0.0]
    )


def test_visits_of_the_coming_days_are_told() -> None:
    coming = contacts(
        (0, 1, Contact.VISIT, 0),
        (0, 2, Contact.VISIT, -6),
        (1, 2, Contact.VISIT, -7),
        (1, 3, Contact.PASSING, -1),
    )
    assert visited_within(coming, TODAY, 7, 4).tolist() == [1, 2]


def test_similarity_is_the_cosine_of_visitors() -> None:
    """Visitors are {0, 1}, {0} and {1}: 1 / sqrt(2) each; 1 and 2 share nobody."""
    similar = fit_similarities(evidence_of(*HISTORY))
    found = {
        (int(merchant), int(neighbour)): value
        for merchant, neighbour, value in zip(
            similar.merchant, similar.neighbour, similar.similarity, strict=True
        )
    }
    half = 1 / math.sqrt(2)
    assert found == {pair: pytest.approx(half) for pair in ((0, 1), (1, 0), (0, 2), (2, 0))}


def test_taste_is_what_neighbours_of_a_merchant_are_to_the_user() -> None:
    """User 0, merchant 2: its one neighbour is merchant 0: 1 / sqrt(2), over that and the prior of 0.3."""
    evidence = evidence_of(*HISTORY)
    taste = similar_taste(evidence, fit_similarities(evidence).matrix())
    habits = np.log1p(evidence.habit[:2])
    similarity = 1 / math.sqrt(2)
    expected = habits[0] * similarity / (similarity + 0.3) / habits.sum()
    assert taste.of(np.array([2, 3], dtype=np.int64)).tolist() == [pytest.approx(expected), 0.0]
    assert look_up(np.array([], dtype=np.int64), np.array([]), np.array([1]), missing=2.0).tolist() == [2.0]


def features_of(evidence: Evidence) -> Pairs:
    taste = similar_taste(evidence, fit_similarities(evidence).matrix())
    share = visitor_shares(evidence)
    return pair_features(evidence, taste, MERCHANTS, share, candidate_keys(evidence, taste, share))


def test_places_and_categories() -> None:
    """User 0 is at home where both visited merchants are, 0.09 degrees south of the opera."""
    evidence = evidence_of(*HISTORY)
    pairs = features_of(evidence)
    assert pairs.key.tolist() == list(range(12))
    assert pairs.distance_km[:2].tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    assert pairs.distance_km[2] == pytest.approx(6371.0 * math.radians(0.09), rel=1e-6)
    assert math.isnan(pairs.distance_km[3])
    assert all(math.isnan(value) for value in pairs.distance_km[8:])
    assert pairs.values["is_far"][:3].tolist() == [0, 0, 0]
    habit = evidence.habit
    assert pairs.values["category_share"][0] == pytest.approx(habit[1] / (habit[1] + 1))
    assert pairs.values["category_share"][2] == 0.0
    assert math.isnan(pairs.values["category_share"][3])
    assert pairs.is_returning.tolist() == [True, True, False, False, True, False, True] + [False] * 5


def test_an_unknown_value_counts_as_the_mean() -> None:
    fitted = replace(terms(("a", "b"), 0.5, a=2.0, b=1.0), means=(1.0, 4.0), scales=(2.0, 1.0))
    assert fitted.logit(np.array([[3.0, NAN], [NAN, 5.0]])).tolist() == [2.5, 1.5]


def test_calibration_joins_its_knots_and_shifts_beyond_them() -> None:
    fitted = replace(terms(("a",), 0.0, a=1.0), knots=(-1.0, 0.0, 1.0), calibrated=(-2.0, 0.5, 1.0))
    logits = np.array([-3.0, -1.0, -0.5, 1.0, 2.5])
    assert fitted.calibrate(logits).tolist() == pytest.approx([-4.0, -2.0, -0.75, 1.0, 2.5])
    assert terms(("a",), 0.0).calibrate(logits).tolist() == logits.tolist()


def test_a_score_is_as_unsure_as_its_band_was_off() -> None:
    """Odds 3 times those of the mean score are off by a factor of 3^1.96, whatever chance alone would do."""
    off = Band(
        lower_score=0.4, mean_score=0.5, visited_share=0.75, lower=2 / 3, upper=0.81, pairs=90, users=80
    )
    told = score_range(model_of(evidence_of(*HISTORY), (off,)), 0.6)
    factor = 3.0**1.959964
    assert told is not None
    assert [told.lower, told.upper] == pytest.approx([1.5 / (1.5 + factor), 1.5 / (1.5 + 1.0 / factor)])
    assert score_range(model_of(evidence_of(*HISTORY), (off,)), 0.3) is None
    assert score_range(model_of(evidence_of(*HISTORY), ()), 0.3) is None


def test_bands_that_held_are_as_unsure_as_chance_and_beyond_it_as_others_are_off() -> None:
    """Alone, the interval of the second band is its own; beside one that is off, departures are shared."""
    held = Band(
        lower_score=0.4, mean_score=0.5, visited_share=0.5, lower=1 / 3, upper=2 / 3, pairs=90, users=80
    )
    off = replace(held, lower_score=0.1, mean_score=0.2, lower=1 / 3, visited_share=0.5, upper=2 / 3)
    alone = score_range(model_of(evidence_of(*HISTORY), (held,)), 0.5)
    beside = score_range(model_of(evidence_of(*HISTORY), (off, held)), 0.5)
    assert alone is not None
    assert beside is not None
    assert [alone.lower, alone.upper] == pytest.approx([1 / 3, 2 / 3])
    # Odds 4 times and as large, with errors ln 2 / 1.96: the mean square of both less that of the errors.
    variance = (math.log(4.0) ** 2 - 2.0 * (math.log(2.0) / 1.959964) ** 2) / 2.0
    spread = 1.959964 * math.sqrt(variance + (math.log(2.0) / 1.959964) ** 2)
    assert beside.upper == pytest.approx(1.0 / (1.0 + math.exp(-spread)))
    assert beside.lower == pytest.approx(1.0 - beside.upper)


def test_answers_name_merchants_best_first_with_reasons() -> None:
    evidence = evidence_of(*HISTORY)
    first, second, third = answer_users(model_of(evidence), evidence, limit=3)
    assert [merchant.merchant_id for merchant in first] == [10, 20, 30]
    assert first[0].score > first[1].score > first[2].score > 0
    assert first[0].reasons[0] == "bought here on 2 of the last 91 days, last today"
    assert first[1].reasons[0] == "bought here once, 90 days ago"
    assert not first[2].is_returning
    assert first[2].merchant_name == "Opera"
    assert first[2].reasons == ("50.0% of all users bought here in the last 365 days",), (
        "nothing speaks for it"
    )
    assert len(second) == len(third) == 3
    assert all(merchant.distance_km is None for merchant in third)


def test_reasons_are_weighed() -> None:
    """Another model, in which taste, places and categories push up scores of merchants never visited."""
    evidence = evidence_of(
        *HISTORY, (2, 0, Contact.VISIT, 3), (2, 2, Contact.REDEMPTION, 3), (2, 2, Contact.PASSING, 2)
    )
    model = replace(
        model_of(evidence),
        first=replace(
            terms(
                FIRST_FEATURES,
                -3.0,
                similar_taste=0.5,
                nearness=1.0,
                category_share=9.0,
                redemptions=0.1,
                passings=0.2,
                popularity=0.01,
            ),
            means=tuple(
                -5.0 if name in {"similar_taste", "nearness", "popularity"} else 0.0
                for name in FIRST_FEATURES
            ),
        ),
    )
    third = {merchant.merchant_id: merchant for merchant in answer_users(model, evidence, limit=4)[2]}
    assert third[20].reasons[:3] == (
        "49% of the user's other purchases are in the category food",
        "10.0 km from where the user mostly is",
        "customers of Bakery, where the user buys, also buy here",
    )
    assert "right where the user mostly is" in third[30].reasons
    assert "took up an offer here before" in third[30].reasons
    assert "passed by lately (geofence)" in third[30].reasons
    assert third[40].reasons == ("0.0% of all users bought here in the last 365 days",)


def test_certain_merchants_are_scored_and_only_the_chosen_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    history = contacts(*HISTORY)
    model = model_of(evidence_of(*HISTORY))
    evidence = gather_for(model, history.select(history.user == 0), TODAY, 1)
    whole = {merchant.merchant_id: merchant for merchant in answer_users(model, evidence, limit=9)[0]}
    explained: list[int] = []
    explain = Explainer.reasons

    def counted(self: Explainer, rows: IntArray) -> list[tuple[str, ...]]:
        explained.append(len(rows))
        return explain(self, rows)

    monkeypatch.setattr(Explainer, "reasons", counted)
    some = score_user(model, evidence, [40, 20, 20, 99])
    assert some.scores == {merchant: whole[merchant].score for merchant in (20, 40)}
    assert explained == []
    assert some.explain([40]) == (whole[40],)
    assert explained == [1]
    assert score_user(model, evidence, []).scores == {}


def test_everybody_scores_for_one_of_whom_nothing_is_known() -> None:
    model = model_of(evidence_of(*HISTORY))
    everybody = score_by_population(model, [40, 10, 99])
    assert everybody.scores == {10: 0.2, 40: 0.1}
    (told,) = everybody.explain([40])
    assert (told.merchant_id, told.score) == (40, 0.1)
    assert "of this user nothing is known yet" in told.reasons[0]
    assert [merchant.merchant_id for merchant in answer_by_population(model, limit=9)] == [30, 10, 20, 40]


def test_one_user_is_answered_as_in_a_batch() -> None:
    history = contacts(*HISTORY)
    model = model_of(evidence_of(*HISTORY))
    batch = answer_users(model, gather_for(model, history, TODAY, 3), limit=4)
    alone = history.select(history.user == 1)
    alone = replace(alone, user=alone.user * 0)
    assert answer_users(model, gather_for(model, alone, TODAY, 1), limit=4)[0] == batch[1]


def test_the_document_keeps_what_was_fitted() -> None:
    band = Band(lower_score=0.0, mean_score=0.1, visited_share=0.1, lower=0.05, upper=0.2, pairs=9, users=8)
    told = AffinityResponse(exponent=0.2, standard_error=0.01, usual_log_score=-2.0, views=9, conversions=3)
    model = replace(model_of(evidence_of(*HISTORY), (band,)), response=told)
    document = json.loads(json.dumps(to_document(model)))
    kept = from_document(document)
    assert (kept.returning, kept.first, kept.bands) == (model.returning, model.first, model.bands)
    assert kept.redemptions_are_visits is False
    assert kept.response == told
    del document["response"]
    assert from_document(document).response == UNKNOWN_RESPONSE
