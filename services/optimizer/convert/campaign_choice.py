"""Campaigns for a user between the wire and the domain."""

from gen.campaigns.optimizer.v1 import campaigns_for_user_pb2 as pb
from gen.campaigns.type.v1 import range_pb2
from services.optimizer.convert.checks import optional_limit, required_id
from services.optimizer.convert.ranges import interval_to_proto
from services.optimizer.domain.recommendations.campaign_choice import Choice
from services.optimizer.operations.campaign_choice import Choices

DEFAULT_LIMIT, MOST_CAMPAIGNS = 10, 1000


def question_from_proto(request: pb.RecommendCampaignsRequest) -> tuple[str, int]:
    """Return the user and how many campaigns to answer with."""
    limit = request.limit if request.HasField("limit") else None
    return (
        required_id(request.user_id, "user_id"),
        optional_limit(limit, default=DEFAULT_LIMIT, most=MOST_CAMPAIGNS),
    )


def choices_to_proto(user_id: str, found: Choices) -> pb.RecommendCampaignsResponse:
    """Return the campaigns to show, ranked."""
    response = found.response
    worth = None if response is None else response.interval
    return pb.RecommendCampaignsResponse(
        user_id=user_id,
        campaigns=[_choice_to_proto(rank, choice) for rank, choice in enumerate(found.choices, start=1)],
        left_out_campaigns=found.left_out,
        model_version=found.model_version,
        affinity_exponent=None if response is None else response.exponent,
        affinity_exponent_interval=(
            None if worth is None else range_pb2.ConfidenceInterval(lower=worth[0], upper=worth[1])
        ),
    )


def _choice_to_proto(rank: int, choice: Choice) -> pb.CampaignRecommendation:
    campaign, affinity = choice.candidate.campaign, choice.affinity
    worth = affinity.score_range
    return pb.CampaignRecommendation(
        rank=rank,
        campaign_id=campaign.campaign_id,
        campaign_name=campaign.campaign_name,
        score=choice.score,
        reasons=choice.reasons,
        merchant_id=affinity.merchant_id,
        affinity_score=affinity.score,
        affinity_interval=(
            None if worth is None else range_pb2.ConfidenceInterval(lower=worth.lower, upper=worth.upper)
        ),
        predicted_conversion_rate=choice.conversion_rate,
        predicted_conversion_rate_interval=interval_to_proto(choice.rate_interval),
        offer_amount=campaign.offer,
        currency_code=campaign.currency_code,
        expected_value=choice.expected_value,
        expected_value_interval=interval_to_proto(choice.value_interval),
    )
