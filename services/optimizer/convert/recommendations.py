"""Recommendations between the wire and the domain."""

from typing import TypeAlias
from uuid import UUID

from gen.campaigns.optimizer.v1 import recommendations_pb2 as pb
from services.common.errors import NotFoundError
from services.common.wire import datetime_to_timestamp, timestamp_to_datetime
from services.optimizer.convert.checks import LONGEST_COMMENT, LONGEST_ID, optional_text, required_id
from services.optimizer.convert.ranges import interval_to_proto
from services.optimizer.domain.recommendations.recommendations import (
    Action,
    Decision,
    Recommendation,
    Withheld,
)
from services.optimizer.operations.recommendations import Advice, Verdict

DecisionRequest: TypeAlias = (
    pb.AcceptRecommendationRequest | pb.DismissRecommendationRequest | pb.MarkRecommendationAppliedRequest
)


def recommendation_id_from_proto(request: DecisionRequest) -> str:
    """Return the recommendation that is decided; what is no id of any is unknown as well."""
    name = required_id(request.recommendation_id, "recommendation_id")
    try:
        return str(UUID(name))
    except ValueError as error:
        raise NotFoundError(
            f"no recommendation {name!r}",
            reason="RECOMMENDATION_UNKNOWN",
            metadata={"recommendation_id": name},
        ) from error


def verdict_from_proto(request: DecisionRequest, action: Action) -> Verdict:
    """Return what is decided, by whom and why."""
    applied_at = None
    if isinstance(request, pb.MarkRecommendationAppliedRequest) and request.HasField("apply_time"):
        applied_at = timestamp_to_datetime(request.apply_time, "apply_time")
    return Verdict(
        action=action,
        actor=optional_text(request.actor, "actor", longest=LONGEST_ID),
        comment=optional_text(request.comment, "comment", longest=LONGEST_COMMENT),
        applied_at=applied_at,
    )


def advice_to_proto(advice: Advice) -> pb.GetOptimizationRecommendationsResponse:
    """Return what is recommended for a campaign."""
    return pb.GetOptimizationRecommendationsResponse(
        campaign_id=advice.campaign_id,
        recommendations=[recommendation_to_proto(each) for each in advice.recommendations],
        withheld=[_withheld_to_proto(each) for each in advice.withheld],
    )


def recommendation_to_proto(kept: Recommendation) -> pb.OptimizationRecommendation:
    """Return a recommendation with the decisions that were loaded."""
    draft = kept.draft
    return pb.OptimizationRecommendation(
        type=draft.type.value,
        recommendation=draft.text,
        expected_effect=draft.effect,
        expected_effect_interval=interval_to_proto(draft.interval),
        confidence=draft.confidence,
        confidence_method=draft.confidence_method,
        evidence=draft.evidence,
        recommendation_id=kept.recommendation_id,
        status=kept.status.value,
        choice=draft.choice,
        effect_metric=draft.effect_metric,
        evidence_kind=draft.evidence_kind,
        create_time=datetime_to_timestamp(kept.created_at),
        expire_time=datetime_to_timestamp(kept.expires_at),
        decide_time=None if kept.decided_at is None else datetime_to_timestamp(kept.decided_at),
        apply_time=None if kept.applied_at is None else datetime_to_timestamp(kept.applied_at),
        model_version=draft.model_version,
        decisions=[_decision_to_proto(decision) for decision in kept.decisions],
    )


def _withheld_to_proto(withheld: Withheld) -> pb.WithheldRecommendation:
    return pb.WithheldRecommendation(
        type=withheld.type.value, reason=withheld.reason, message=withheld.message
    )


def _decision_to_proto(decision: Decision) -> pb.RecommendationDecision:
    return pb.RecommendationDecision(
        action=decision.action.value,
        actor=decision.actor,
        comment=decision.comment,
        decide_time=datetime_to_timestamp(decision.decided_at),
    )
