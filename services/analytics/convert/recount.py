"""Recounts on their way to the wire."""

from gen.campaigns.analytics.v1 import operations_service_pb2 as pb
from services.analytics.store.recount import Comparison


def comparison_to_proto(comparison: Comparison) -> pb.ReconcileResponse:
    """Return one message of the answer of Reconcile."""
    return pb.ReconcileResponse(
        rollup=comparison.rollup,
        compared_count=comparison.compared,
        difference_count=comparison.difference_count,
        differences=[
            pb.RollupDifference(side=difference.side, content=difference.content)
            for difference in comparison.differences
        ],
    )
