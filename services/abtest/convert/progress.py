"""How far a test is, on the wire."""

from gen.campaigns.abtest.v1 import progress_pb2 as pb
from services.abtest.convert.groups import groups_to_proto
from services.abtest.domain.progress import TestProgress
from services.common.wire import datetime_to_timestamp


def progress_to_proto(progress: TestProgress) -> pb.GetTestStatusResponse:
    """Return how far a test is."""
    test = progress.test
    return pb.GetTestStatusResponse(
        test_id=test.test_id,
        test_name=test.design.test_name,
        is_active=test.is_active,
        groups=groups_to_proto(test, progress.users),
        target_sample_size=test.design.target_sample_size,
        progress=progress.progress,
        can_end=progress.can_end,
        can_end_reason=progress.can_end_reason,
        decision_method=test.design.decision_method.label,
        start_time=datetime_to_timestamp(test.created_at),
        end_time=datetime_to_timestamp(test.ended_at) if test.ended_at else None,
    )
