"""Exposures on the wire."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from gen.campaigns.abtest.v1 import exposures_pb2 as pb
from services.abtest.convert.violations import Violations
from services.abtest.domain.exposures import Exposure, SourceExposures
from services.abtest.domain.model import ABTest
from services.abtest.operations.exposures import RecordedExposures
from services.common.errors import invalid_field
from services.common.wire import timestamp_to_datetime

LARGEST_BATCH: Final = 1000
_SOURCE: Final = re.compile(r"[a-z0-9_.-]{1,64}")


def exposures_from_proto(request: pb.RecordExposuresRequest, now: datetime) -> list[Exposure]:
    """Return the exposures of a batch; `now` is the time of those that tell none.

    Raises:
        InvalidArgumentError: no exposure, too many, or one that is malformed.
    """
    if not request.exposures:
        raise invalid_field("exposures", "must hold at least one exposure", "FIELD_REQUIRED")
    if len(request.exposures) > LARGEST_BATCH:
        raise invalid_field("exposures", f"must hold at most {LARGEST_BATCH} exposures", "BATCH_TOO_LARGE")
    violations = Violations()
    exposures = [
        _exposure(message, f"exposures[{index}]", now, violations)
        for index, message in enumerate(request.exposures)
    ]
    violations.raise_any()
    return exposures


def _exposure(message: pb.Exposure, path: str, now: datetime, violations: Violations) -> Exposure:
    violations.check_id(message.test_id, f"{path}.test_id")
    violations.check_id(message.user_id, f"{path}.user_id")
    violations.check(
        _SOURCE.fullmatch(message.source) is not None,
        f"{path}.source",
        "must be 1 to 64 characters of a to z, 0 to 9, _, ., -",
        "TEXT_INVALID" if message.source else "FIELD_REQUIRED",
    )
    return Exposure(
        test_id=message.test_id,
        user_id=message.user_id,
        source=message.source,
        group=message.group if message.HasField("group") else None,
        exposed_at=timestamp_to_datetime(message.exposure_time, f"{path}.exposure_time")
        if message.HasField("exposure_time")
        else now,
    )


def recorded_exposures_to_proto(recorded: RecordedExposures) -> pb.RecordExposuresResponse:
    """Return what became of a batch."""
    return pb.RecordExposuresResponse(
        accepted_count=recorded.accepted,
        duplicate_count=recorded.duplicates,
        rejections=[
            pb.ExposureRejection(
                index=rejection.index,
                field=rejection.field,
                reason=rejection.reason,
                message=rejection.message,
            )
            for rejection in recorded.rejections
        ],
    )


def exposures_to_proto(test: ABTest, sources: Sequence[SourceExposures]) -> pb.ListExposuresResponse:
    """Return who was exposed, by source."""
    return pb.ListExposuresResponse(
        test_id=test.test_id,
        sources=[
            pb.ExposureSource(
                source=source.source,
                groups=[
                    pb.GroupExposures(
                        group=group.name, users=users, assigned_users=assigned, exposure_rate=rate
                    )
                    for group, users, assigned, rate in zip(
                        test.design.groups, source.users, source.assigned, source.exposure_rates, strict=True
                    )
                ],
                sample_ratio_p_value=source.sample_ratio_p_value,
            )
            for source in sources
        ],
    )
