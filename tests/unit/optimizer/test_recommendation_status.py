"""What becomes of a recommendation: decided, expired, not made again, and measured by which metric."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.common.errors import FailedPreconditionError
from services.optimizer.domain.recommendations.outcomes import EffectMetric, expect_effect, measured_by
from services.optimizer.domain.recommendations.recommendations import (
    Action,
    Draft,
    Recommendation,
    RecommendationType,
    Status,
    withhold_repeated,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def kept(status: Status, choice: str = "10") -> Recommendation:
    draft = Draft(
        type=RecommendationType.OFFER_AMOUNT,
        choice=choice,
        text="",
        effect=None,
        interval=None,
        effect_metric="",
        confidence=None,
        confidence_method="",
        evidence="",
        evidence_kind="observational",
    )
    return Recommendation(
        recommendation_id="r",
        campaign_id="c",
        status=status,
        draft=draft,
        inputs_key="k",
        created_at=NOW,
        expires_at=NOW + timedelta(days=14),
    )


def test_what_is_expected_is_of_the_metric_that_is_measured() -> None:
    offer = replace(kept(Status.OPEN).draft, effect=5.4, effect_metric="profit_per_view")
    assert expect_effect(offer) is None
    assert expect_effect(replace(offer, predicted_rate=0.3)) is None
    assert expect_effect(replace(offer, predicted_rate=0.3, previous_rate=0.2)) == pytest.approx(0.5)
    hours = replace(offer, type=RecommendationType.TIMING, effect=0.2)
    assert expect_effect(hours) == 0.2
    assert measured_by(hours.type) is EffectMetric.CONVERSIONS_PER_IMPRESSION
    assert expect_effect(replace(offer, type=RecommendationType.SEGMENT, effect=0.2)) is None
    assert measured_by(RecommendationType.SEGMENT) is EffectMetric.CONVERSION_RATE


ALLOWED = {
    Action.ACCEPT: {Status.OPEN},
    Action.DISMISS: {Status.OPEN, Status.ACCEPTED},
    Action.APPLY: {Status.OPEN, Status.ACCEPTED},
}
DONE = {Action.ACCEPT: Status.ACCEPTED, Action.DISMISS: Status.DISMISSED, Action.APPLY: Status.APPLIED}


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("action", list(ALLOWED))
def test_every_decision_from_every_status(action: Action, status: Status) -> None:
    recommendation = kept(status)
    if status is DONE[action]:
        assert recommendation.decided(action, NOW) is None
    elif status in ALLOWED[action]:
        decided = recommendation.decided(action, NOW)
        assert decided is not None
        assert (decided.status, decided.decided_at) == (DONE[action], NOW)
    else:
        with pytest.raises(FailedPreconditionError) as refused:
            recommendation.decided(action, NOW)
        assert refused.value.reason == "RECOMMENDATION_CLOSED"
        assert refused.value.metadata["status"] == status.value


def test_what_is_over_is_expired_before_the_job_says_so() -> None:
    with pytest.raises(FailedPreconditionError) as refused:
        kept(Status.ACCEPTED).decided(Action.APPLY, NOW + timedelta(days=14))
    assert refused.value.metadata["status"] == "expired"


def test_another_choice_may_follow_a_dismissed_one() -> None:
    dismissed = kept(Status.DISMISSED)
    assert withhold_repeated(kept(Status.OPEN, "12").draft, [dismissed]) is None
    assert withhold_repeated(dismissed.draft, []) is None
    repeated = withhold_repeated(dismissed.draft, [kept(Status.APPLIED, "12"), dismissed])
    assert repeated is not None
    assert (repeated.reason, "2026-12-04" in repeated.message) == ("DISMISSED", True)
