"""A test as it is defined, on the wire."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from gen.campaigns.abtest.v1 import metrics_pb2
from gen.campaigns.abtest.v1 import tests_pb2 as pb
from services.abtest.convert.bandit import settings_to_proto
from services.abtest.convert.groups import groups_to_proto
from services.abtest.convert.metrics import metric_to_proto
from services.abtest.domain.assignment import bucket_shares, enrolled_share
from services.abtest.domain.changes import DefinedTest
from services.abtest.domain.metrics import MetricRole
from services.abtest.domain.model import ABTest, DecisionMethod, TestDesign
from services.abtest.operations.changes import TestHistory
from services.common.wire import datetime_to_timestamp


def defined_test_to_proto(defined: DefinedTest) -> pb.TestDefinition:
    """Return a test with all that was said of it."""
    test, rules, design = defined.test, defined.rules, defined.test.design
    sequential = design.decision_method is DecisionMethod.GROUP_SEQUENTIAL
    return pb.TestDefinition(
        test_id=test.test_id,
        test_name=design.test_name,
        status=test.status.label,
        is_active=test.is_active,
        groups=groups_to_proto(test, None),
        weight_epoch=test.epoch.number,
        coverage=test.epoch.coverage,
        hash_seed=design.seed,
        target_sample_size=design.target_sample_size,
        confidence_level=design.confidence_level,
        decision_method=design.decision_method.label,
        planned_looks=design.planned_looks if sequential else None,
        minimum_detectable_effect=design.minimum_detectable_effect,
        hypothesis=design.hypothesis,
        primary_metric=metric_to_proto(design.metrics[0]),
        secondary_metrics=_metrics(design, MetricRole.SECONDARY),
        guardrail_metrics=_metrics(design, MetricRole.GUARDRAIL),
        planned_duration_days=design.planned_duration_days,
        targeting=_targeting(defined),
        exclusion_group=rules.exclusion_group or "",
        exclusion_share=rules.exclusion_share,
        holdout_ids=rules.holdout_ids,
        bandit=None if defined.bandit is None else settings_to_proto(defined.bandit),
        create_time=datetime_to_timestamp(test.created_at),
        start_time=start_time(test),
        end_time=optional_time(test.ended_at or test.ends_at),
    )


def created_test_to_proto(defined: DefinedTest) -> pb.CreateTestResponse:
    """Return a test as it was created."""
    test = defined.test
    return pb.CreateTestResponse(
        test_id=test.test_id,
        is_active=test.is_active,
        test_name=test.design.test_name,
        groups=groups_to_proto(test, None),
        target_sample_size=test.design.target_sample_size,
        confidence_level=test.design.confidence_level,
        decision_method=test.design.decision_method.label,
        coverage=test.epoch.coverage,
        hash_seed=test.design.seed,
        start_time=start_time(test),
        minimum_detectable_effect=test.design.minimum_detectable_effect,
        definition=defined_test_to_proto(defined),
    )


def history_of_test_to_proto(history: TestHistory) -> pb.GetTestResponse:
    """Return a test and its weight epochs."""
    return pb.GetTestResponse(
        test=defined_test_to_proto(history.defined),
        weight_epochs=[
            pb.WeightEpoch(
                weight_epoch=epoch.number,
                traffic_weights=epoch.weights,
                coverage=epoch.coverage,
                start_time=datetime_to_timestamp(started_at),
                bucket_shares=bucket_shares(epoch.weights, epoch.coverage),
                enrolled_share=enrolled_share(epoch.weights, epoch.coverage),
            )
            for epoch, started_at in history.epochs
        ],
    )


def start_time(test: ABTest) -> Timestamp | None:
    """Return when a test started, or is to start; None for a draft without a time."""
    return optional_time(test.started_at or test.starts_at)


def optional_time(moment: datetime | None) -> Timestamp | None:
    """Return the wire form of a time, if there is one."""
    return None if moment is None else datetime_to_timestamp(moment)


def _metrics(design: TestDesign, role: MetricRole) -> list[metrics_pb2.Metric]:
    return [metric_to_proto(metric) for metric in design.metrics if metric.role is role]


def _targeting(defined: DefinedTest) -> pb.Targeting | None:
    rules = defined.rules
    if not rules.include_segments and not rules.exclude_segments:
        return None
    return pb.Targeting(include_segments=rules.include_segments, exclude_segments=rules.exclude_segments)
