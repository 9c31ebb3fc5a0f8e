"""A test that is asked for."""

from collections.abc import Sequence
from typing import Final

from gen.campaigns.abtest.v1 import tests_pb2 as pb
from services.abtest.convert.bandit import bandit_from_proto
from services.abtest.convert.changes import check_duration
from services.abtest.convert.enrolment import enrolment_rules_from_proto
from services.abtest.convert.metrics import metrics_from_proto
from services.abtest.convert.shares import MOST_GROUPS, check_coverage, check_target, check_weights
from services.abtest.convert.violations import (
    DEFAULT_CONFIDENCE_LEVEL,
    LONGEST_HYPOTHESIS,
    LONGEST_ID,
    LONGEST_NAME,
    Violations,
)
from services.abtest.domain.assignment import check_reachable
from services.abtest.domain.bandit import BanditDesign
from services.abtest.domain.changes import ChangeNote
from services.abtest.domain.model import (
    CONTROL,
    DEFAULT_PLANNED_LOOKS,
    VARIANT,
    DecisionMethod,
    Group,
    TestDesign,
)
from services.abtest.operations.creation import NewTest
from services.common.wire import timestamp_to_datetime

MOST_LOOKS: Final = 100


def new_test_from_proto(request: pb.CreateTestRequest) -> NewTest:
    """Return the test that is asked for.

    Raises:
        InvalidArgumentError: naming every field that is wrong.
    """
    violations = Violations()
    groups, campaign_fields = _groups(request, violations)
    weights = tuple(request.traffic_weights) or (1.0 / len(groups),) * len(groups)
    coverage = request.coverage if request.HasField("coverage") else 1.0
    check_weights(weights, len(groups), violations)
    check_coverage(coverage, violations)
    design = _design(request, groups, violations)
    rules = enrolment_rules_from_proto(request, violations)
    bandit = _bandit(request, len(groups), coverage, violations)
    violations.check_text(request.request_id, "request_id", longest=LONGEST_ID, required=False)
    violations.check_text(request.actor, "actor", longest=LONGEST_ID, required=False)
    violations.raise_any()
    check_reachable(weights, coverage, field="traffic_weights")
    return NewTest(
        design=design,
        weights=weights,
        coverage=coverage,
        request_id=request.request_id or None,
        campaign_fields=campaign_fields,
        rules=rules,
        bandit=bandit,
        starts_at=timestamp_to_datetime(request.start_time, "start_time")
        if request.HasField("start_time")
        else None,
        ends_at=timestamp_to_datetime(request.end_time, "end_time") if request.HasField("end_time") else None,
        is_draft=request.is_draft,
        note=ChangeNote(actor=request.actor),
    )


def _design(request: pb.CreateTestRequest, groups: tuple[Group, ...], violations: Violations) -> TestDesign:
    level = request.confidence_level if request.HasField("confidence_level") else DEFAULT_CONFIDENCE_LEVEL
    effect = request.minimum_detectable_effect if request.HasField("minimum_detectable_effect") else None
    days = request.planned_duration_days if request.HasField("planned_duration_days") else None
    violations.check_text(request.test_name, "test_name", longest=LONGEST_NAME)
    violations.check_text(request.hypothesis, "hypothesis", longest=LONGEST_HYPOTHESIS, required=False)
    violations.check_text(request.hash_seed, "hash_seed", longest=LONGEST_ID, required=False)
    violations.check_confidence_level(level)
    check_target(request.target_sample_size, violations)
    if effect is not None:
        violations.check_effect(effect)
    if days is not None:
        check_duration(days, violations)
    method = _decision_method(request.decision_method, violations)
    return TestDesign(
        test_name=request.test_name,
        groups=groups,
        target_sample_size=request.target_sample_size,
        confidence_level=level,
        decision_method=method,
        minimum_detectable_effect=effect,
        seed=request.hash_seed,
        planned_looks=_planned_looks(request, method, violations),
        metrics=metrics_from_proto(request, violations),
        hypothesis=request.hypothesis,
        planned_duration_days=days,
    )


def _groups(
    request: pb.CreateTestRequest, violations: Violations
) -> tuple[tuple[Group, ...], tuple[str, ...]]:
    """Return the groups, control first, and the fields that name their campaigns."""
    listed = list(request.variant_campaign_ids)
    violations.check(
        len(listed) < MOST_GROUPS,
        "variant_campaign_ids",
        f"must be at most {MOST_GROUPS - 1}",
        "VALUE_OUT_OF_RANGE",
    )
    violations.check(
        not (listed and request.variant_campaign_id),
        "variant_campaign_ids",
        "excludes variant_campaign_id",
        "FIELDS_CONFLICT",
    )
    variants = listed or [request.variant_campaign_id]
    campaigns = [request.control_campaign_id, *variants]
    fields = [
        "control_campaign_id",
        *(
            [f"variant_campaign_ids[{index}]" for index in range(len(listed))]
            if listed
            else ["variant_campaign_id"]
        ),
    ]
    _check_campaigns(campaigns, fields, violations)
    names = [VARIANT] if len(variants) == 1 else [f"{VARIANT}_{n}" for n in range(1, len(variants) + 1)]
    groups = tuple(
        Group(name=name, campaign_id=campaign_id)
        for name, campaign_id in zip([CONTROL, *names], campaigns, strict=True)
    )
    return groups, tuple(fields)


def _check_campaigns(campaigns: Sequence[str], fields: Sequence[str], violations: Violations) -> None:
    first: dict[str, str] = {}
    for campaign_id, field in zip(campaigns, fields, strict=True):
        violations.check_id(campaign_id, field)
        other = first.setdefault(campaign_id, field)
        violations.check(
            not campaign_id or other == field,
            field,
            f"must be another campaign than {other}",
            "DUPLICATE_ENTRY",
        )


def _decision_method(name: str, violations: Violations) -> DecisionMethod:
    methods = {method.label: method for method in DecisionMethod}
    violations.check(
        not name or name in methods,
        "decision_method",
        "must be anytime, group_sequential or fixed_horizon",
        "VALUE_UNKNOWN",
    )
    return methods.get(name, DecisionMethod.ANYTIME)


def _planned_looks(request: pb.CreateTestRequest, method: DecisionMethod, violations: Violations) -> int:
    if not request.HasField("planned_looks"):
        return DEFAULT_PLANNED_LOOKS
    violations.check(
        method is DecisionMethod.GROUP_SEQUENTIAL,
        "planned_looks",
        "belongs to the decision method group_sequential",
        "FIELDS_CONFLICT",
    )
    violations.check(
        1 <= request.planned_looks <= MOST_LOOKS,
        "planned_looks",
        f"must lie between 1 and {MOST_LOOKS}",
        "VALUE_OUT_OF_RANGE",
    )
    return request.planned_looks


def _bandit(
    request: pb.CreateTestRequest, groups: int, coverage: float, violations: Violations
) -> BanditDesign | None:
    if not request.HasField("bandit"):
        return None
    violations.check(
        coverage == 1.0,
        "coverage",
        "must be 1 with a bandit: whom it keeps out would not come back by the weights of then",
        "VALUE_OUT_OF_RANGE",
    )
    return bandit_from_proto(request.bandit, groups, coverage, violations)
