"""Merchants for users: proto <-> domain."""

from typing import Final

from gen.campaigns.optimizer.v1 import affinity_pb2 as pb
from gen.campaigns.type.v1 import range_pb2
from services.common.wire import datetime_to_timestamp
from services.optimizer.convert.checks import optional_limit, required_id
from services.optimizer.domain.affinity.answer import Affinity, AffinitySource, MerchantAffinity
from services.optimizer.domain.affinity.model import HORIZON_DAYS

DEFAULT_LIMIT: Final = 10
MOST_MERCHANTS: Final = 1_000
_SOURCES: Final = {
    AffinitySource.KEPT: pb.AFFINITY_SOURCE_KEPT,
    AffinitySource.LIVE: pb.AFFINITY_SOURCE_LIVE,
    AffinitySource.POPULATION: pb.AFFINITY_SOURCE_POPULATION,
}


def question_from_proto(request: pb.GetMerchantAffinityRequest) -> tuple[str, int]:
    """Return the user and how many merchants at most."""
    limit = request.limit if request.HasField("limit") else None
    return (
        required_id(request.user_id, "user_id"),
        optional_limit(limit, default=DEFAULT_LIMIT, most=MOST_MERCHANTS),
    )


def affinity_to_proto(affinity: Affinity) -> pb.GetMerchantAffinityResponse:
    """Return a user's merchants."""
    is_of_user = affinity.source is not AffinitySource.POPULATION
    return pb.GetMerchantAffinityResponse(
        user_id=affinity.user_id,
        merchants=[_merchant_to_proto(merchant, is_of_user=is_of_user) for merchant in affinity.merchants],
        source=_SOURCES[affinity.source],
        computed_time=datetime_to_timestamp(affinity.computed_at),
        horizon_days=HORIZON_DAYS,
        model_version=affinity.model_version,
    )


def _merchant_to_proto(merchant: MerchantAffinity, *, is_of_user: bool) -> pb.MerchantAffinity:
    told = merchant.score_range
    return pb.MerchantAffinity(
        merchant_id=merchant.merchant_id,
        merchant_name=merchant.merchant_name,
        affinity_score=merchant.score,
        reasons=merchant.reasons,
        affinity_interval=(
            None if told is None else range_pb2.ConfidenceInterval(lower=told.lower, upper=told.upper)
        ),
        is_returning=merchant.is_returning if is_of_user else None,
        distance_km=merchant.distance_km,
    )
