"""The fit of affinity: what is learned, what is refused, and that noise beats nothing."""

from dataclasses import replace

import numpy as np
import pytest

from services.common.errors import FailedPreconditionError
from services.optimizer.affinity_training.fit import calibrate, fit_terms, look_at_week
from services.optimizer.affinity_training.pipeline import Fitted, fit_affinity
from services.optimizer.affinity_training.report import make_bands, recall
from services.optimizer.domain.affinity.contacts import Contact, Contacts, FloatArray
from services.optimizer.domain.affinity.features import Merchants

TODAY = 700_000
USERS = 300
COUNT = 12


def market(rates: FloatArray, days: int = 70, kind: Contact = Contact.VISIT, seed: int = 1) -> Contacts:
    """Visits (users, merchants) at a chance per day each."""
    rng = np.random.default_rng(seed)
    met = rng.random((days, *rates.shape)) < rates
    day, user, merchant = np.nonzero(met)
    return Contacts(
        user=user.astype(np.int64),
        merchant=merchant.astype(np.int64),
        kind=np.full(len(day), kind, dtype=np.int64),
        day=(TODAY - days + day).astype(np.int64),
    )


def merchants() -> Merchants:
    unknown = np.full(COUNT, np.nan)
    return Merchants(
        ids=np.arange(COUNT, dtype=np.int64),
        names=("",) * COUNT,
        categories=(),
        category=np.full(COUNT, -1, dtype=np.int64),
        latitude=unknown,
        longitude=unknown,
    )


def habits(seed: int = 7) -> FloatArray:
    """Most rates low, one in four high."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random((USERS, COUNT)) < 0.25, 0.12, 0.004)


def fit(contacts: Contacts) -> Fitted:
    return fit_affinity(contacts, merchants(), version=1, today=TODAY, user_count=USERS)


def test_habits_are_learned_and_beat_frequency() -> None:
    """Two kinds of habit: frequency takes one visit in 70 days for a rate of 1 / 70, the fit knows better."""
    fitted = fit(market(habits()))
    report = fitted.report
    assert report.is_better
    assert report.log_loss < report.frequency_log_loss
    assert report.reason.startswith("log loss 0.")
    assert report.reason.endswith("how affinity moves conversions is not measured: the prior counts")
    assert "not measured" not in replace(report, is_response_measured=True).reason
    assert report.calibration_error < 0.03
    assert report.recall is not None
    assert report.popularity_recall is not None
    assert report.recall > report.popularity_recall + 0.1
    assert report.users > 0.98 * USERS
    assert not fitted.model.redemptions_are_visits


def test_the_same_contacts_give_the_same_fit() -> None:
    contacts = market(habits())
    first, second = fit(contacts), fit(contacts)
    assert first.model.returning == second.model.returning
    assert first.model.first == second.model.first


def test_noise_is_not_better_than_everybody_alike_and_says_so() -> None:
    """In the held-out week everybody goes anywhere: a user's past says less than what everybody does."""
    rng = np.random.default_rng(3)
    contacts = market(habits())
    held_out = contacts.day >= TODAY - 7
    user, merchant = contacts.user.copy(), contacts.merchant.copy()
    user[held_out] = rng.integers(0, USERS, held_out.sum())
    merchant[held_out] = rng.integers(0, COUNT, held_out.sum())
    shuffled = Contacts(user=user, merchant=merchant, kind=contacts.kind, day=contacts.day)
    report = fit(shuffled).report
    assert not report.is_better
    assert report.population_log_loss < report.log_loss
    assert report.reason.startswith("does not beat these baselines by more than chance: log loss")


def test_redemptions_are_visits_where_no_purchase_outside_campaigns_is_known() -> None:
    fitted = fit(market(habits(), kind=Contact.REDEMPTION))
    assert fitted.model.redemptions_are_visits
    assert fitted.report.is_better


def test_what_is_missing_is_said() -> None:
    with pytest.raises(FailedPreconditionError, match=r"28 days of events \(there are 27\)") as caught:
        fit(market(habits(), days=27))
    assert "500 days" not in caught.value.message
    assert caught.value.metadata["days"] == "27"
    nobody = market(habits() * 0)
    with pytest.raises(FailedPreconditionError, match=r"28 days of events \(there are 0\) and 500 days"):
        fit(nobody)


def test_a_week_without_visits_measures_nothing() -> None:
    """Events of past weeks are still being sent: those of the last ten days have not come."""
    contacts = market(habits())
    come = contacts.day < TODAY - 10
    half = Contacts(
        user=contacts.user[come],
        merchant=contacts.merchant[come],
        kind=contacts.kind[come],
        day=contacts.day[come],
    )
    with pytest.raises(FailedPreconditionError, match=r"50 visits .* \(there are 0\)") as caught:
        fit(half)
    assert caught.value.reason == "DATA_INSUFFICIENT"


def test_four_weeks_are_enough() -> None:
    assert fit(market(habits(), days=28)).report.visits > 500


def test_too_few_visits_to_learn_from_give_their_share() -> None:
    """Nobody ever visits a merchant for the first time: the chance is small, alike for all, and not 0."""
    rates = np.where(np.arange(COUNT) < 3, 0.5, 0.0) * np.ones((USERS, 1))
    week = look_at_week(market(rates), merchants(), TODAY - 7, USERS)
    first = fit_terms([week], returning=False, rng=np.random.default_rng(1))
    assert set(first.coefficients) == {0.0}
    assert first.intercept < -8
    assert calibrate(first, [week], returning=False) == first


def test_calibration_keeps_the_order_of_pairs() -> None:
    contacts = market(habits())
    weeks = [look_at_week(contacts, merchants(), TODAY - 7 * back, USERS) for back in (3, 2)]
    terms = calibrate(fit_terms(weeks, returning=True, rng=np.random.default_rng(1)), weeks, returning=True)
    assert len(terms.knots) >= 2
    assert np.all(np.diff(terms.knots) > 0)
    assert np.all(np.diff(terms.calibrated) > 0)


def test_bands_hold_their_share_as_often_as_they_say() -> None:
    """95 % intervals over users whose pairs go together: of 300 samples, 90 % to 99 % hold the true rate.

    Each user has a chance of their own for ten pairs (Beta(1, 24), mean 0.04): pairs are not independent.
    """
    rng = np.random.default_rng(11)
    held, naive = [], []
    for _ in range(300):
        chances = np.repeat(rng.beta(1.0, 24.0, 200), 10)
        visited = rng.random(2_000) < chances
        user = np.repeat(np.arange(200), 10)
        if visited.sum() >= 100:
            continue
        (band,) = make_bands(np.full(2_000, 0.04), visited, user)
        held.append(band.lower <= 0.04 <= band.upper)
        error = 1.96 * np.sqrt(band.visited_share * (1 - band.visited_share) / 2_000)
        naive.append(abs(band.visited_share - 0.04) <= error)
    assert len(held) > 200
    assert 0.90 <= np.mean(held) <= 0.99
    assert np.mean(naive) < np.mean(held) - 0.02, "pairs taken for independent would hold too rarely"


def test_bands_of_few_users_are_left_out() -> None:
    scores = np.full(100, 0.5)
    visited = np.arange(100) % 2 == 0
    assert make_bands(scores, visited, np.arange(100) % 19) == ()
    assert make_bands(scores, np.zeros(100, dtype=np.bool_), np.arange(100)) == ()


def test_recall_without_visits_is_undefined() -> None:
    week = look_at_week(market(habits()), merchants(), TODAY, USERS)
    assert recall(week, np.zeros(len(week.pairs.key))) is None
