"""Comparisons between the wire and the domain."""

from collections.abc import Sequence

from gen.campaigns.analytics.v1 import comparison_pb2, metrics_pb2
from services.analytics.convert.metrics import campaign_id_from_proto, metrics_to_proto
from services.analytics.convert.ranges import interval_to_proto
from services.analytics.convert.segments import reversals_to_proto
from services.analytics.domain.comparison import (
    ADJUSTMENT_METHOD,
    COMPARED_METRICS,
    ComparedMetric,
    Difference,
)
from services.analytics.domain.intervals import ConfidenceInterval
from services.analytics.operations.comparison import Comparison
from services.common.errors import InvalidArgumentError, invalid_field
from services.common.wire import MICROS_PER_UNIT

MINIMUM_CAMPAIGNS, MAXIMUM_CAMPAIGNS = 2, 20


def campaign_ids_from_proto(request: comparison_pb2.CompareCampaignsRequest) -> Sequence[str]:
    """Return 2 to 20 names of campaigns, each once; a wrong one is named by its place."""
    names = list(request.campaign_ids)
    if not MINIMUM_CAMPAIGNS <= len(names) <= MAXIMUM_CAMPAIGNS:
        description = f"must name from {MINIMUM_CAMPAIGNS} to {MAXIMUM_CAMPAIGNS} campaigns"
        raise invalid_field("campaign_ids", description, "VALUE_OUT_OF_RANGE" if names else "FIELD_REQUIRED")
    for place, name in enumerate(names):
        field = f"campaign_ids[{place}]"
        campaign_id_from_proto(name, field)
        if name in names[:place]:
            raise _duplicate(field)
    return names


def metrics_from_proto(request: comparison_pb2.CompareCampaignsRequest) -> Sequence[ComparedMetric]:
    """Return the metrics to compare, each once; all of them where none is named."""
    known = {str(metric): metric for metric in COMPARED_METRICS}
    chosen: list[ComparedMetric] = []
    for place, name in enumerate(request.metrics):
        field = f"metrics[{place}]"
        if name not in known:
            raise invalid_field(field, f"must be one of {', '.join(known)}", "VALUE_UNKNOWN")
        if known[name] in chosen:
            raise _duplicate(field)
        chosen.append(known[name])
    return chosen or COMPARED_METRICS


def _duplicate(field: str) -> InvalidArgumentError:
    return invalid_field(field, "must not be given twice", "DUPLICATE_ENTRY")


def comparison_to_proto(comparison: Comparison) -> comparison_pb2.CompareCampaignsResponse:
    """Return the answer of CompareCampaigns; what is undefined stays unset."""
    return comparison_pb2.CompareCampaignsResponse(
        campaigns=[
            metrics_pb2.CampaignMetrics.FromString(metrics_to_proto(metrics).SerializeToString())
            for metrics in comparison.campaigns
        ],
        differences=[_difference_to_proto(difference) for difference in comparison.differences],
        adjustment_method=ADJUSTMENT_METHOD,
        warnings=reversals_to_proto(comparison.reversals),
    )


def _difference_to_proto(difference: Difference) -> comparison_pb2.CampaignDifference:
    divisor = MICROS_PER_UNIT if difference.metric == "revenue_per_impression" else 1
    interval: ConfidenceInterval | None = difference.interval
    return comparison_pb2.CampaignDifference(
        campaign_id=difference.campaign_id,
        baseline_campaign_id=difference.baseline_campaign_id,
        metric=difference.metric,
        difference=None if difference.difference is None else difference.difference / divisor,
        difference_interval=interval_to_proto(interval, divisor=divisor),
        p_value=difference.p_value,
        adjusted_p_value=difference.adjusted_p_value,
        reason=difference.reason,
    )
