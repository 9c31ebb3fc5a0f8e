"""How far a test is, on the wire."""

from gen.campaigns.abtest.v1 import progress_pb2 as pb
from services.abtest.convert.definition import optional_time, start_time
from services.abtest.convert.groups import groups_to_proto
from services.abtest.domain.progress import TestProgress


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
        start_time=start_time(test),
        end_time=optional_time(test.ended_at),
        status=test.status.label,
        planned_end_time=optional_time(None if test.ended_at else test.ends_at),
        weight_epoch=test.epoch.number,
    )
