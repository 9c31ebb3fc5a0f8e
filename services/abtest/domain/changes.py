"""What a test is at a time, as values, and how two such states differ: what the audit log keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from services.abtest.domain.bandit import BanditDesign
from services.abtest.domain.enrolment import EnrolmentRules
from services.abtest.domain.lifecycle import Action
from services.abtest.domain.metrics import Measure, Metric
from services.abtest.domain.model import ABTest, DecisionMethod

Value = str | int | float | bool | None | Sequence["Value"] | Mapping[str, "Value"]
"""What JSON can hold."""
SCHEDULE_ACTOR = "schedule"
"""Who starts and ends a test whose time has come."""


@dataclass(frozen=True, kw_only=True)
class DefinedTest:
    """A test with all that was said of it: whom it is for, and the bandit that moves its weights, if any."""

    test: ABTest
    rules: EnrolmentRules
    bandit: BanditDesign | None


@dataclass(frozen=True, kw_only=True)
class ChangeNote:
    """Who changes a test, and why, in the caller's own words; empty where nothing was said."""

    actor: str = ""
    comment: str = ""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A field of a test before and after a change; None where it has no value."""

    field: str
    before: Value
    after: Value


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change of a test, numbered from 1."""

    number: int
    changed_at: datetime
    note: ChangeNote
    action: Action
    differences: tuple[Difference, ...]


def describe_test(defined: DefinedTest) -> dict[str, Value]:
    """Return a test's fields by the names of the wire; what is unset is None or empty."""
    test, rules, design = defined.test, defined.rules, defined.test.design
    return {
        "test_name": design.test_name,
        "hypothesis": design.hypothesis,
        "status": test.status.label,
        "groups": [{"group": group.name, "campaign_id": group.campaign_id} for group in design.groups],
        "traffic_weights": list(test.epoch.weights),
        "coverage": test.epoch.coverage,
        "hash_seed": design.seed,
        "target_sample_size": design.target_sample_size,
        "confidence_level": design.confidence_level,
        "decision_method": design.decision_method.label,
        "planned_looks": _planned_looks(test),
        "minimum_detectable_effect": design.minimum_detectable_effect,
        "metrics": [_describe_metric(metric) for metric in design.metrics],
        "planned_duration_days": design.planned_duration_days,
        "include_segments": list(rules.include_segments),
        "exclude_segments": list(rules.exclude_segments),
        "exclusion_group": rules.exclusion_group,
        "exclusion_share": rules.exclusion_share,
        "holdout_ids": list(rules.holdout_ids),
        "bandit": None if defined.bandit is None else asdict(defined.bandit),
        "start_time": _describe_time(test.started_at or test.starts_at),
        "end_time": _describe_time(test.ended_at or test.ends_at),
    }


def compare_states(before: Mapping[str, Value], after: Mapping[str, Value]) -> tuple[Difference, ...]:
    """Return the fields that two states do not share, in the order of `after`.

    >>> compare_states({"coverage": 0.5, "status": "draft"}, {"coverage": 1.0, "status": "draft"})
    (Difference(field='coverage', before=0.5, after=1.0),)
    """
    return tuple(
        Difference(field=field, before=before.get(field), after=value)
        for field, value in after.items()
        if before.get(field) != value
    )


def compare_with_nothing(state: Mapping[str, Value]) -> tuple[Difference, ...]:
    """Return a creation's differences: every field that has a value."""
    return tuple(
        Difference(field=field, before=None, after=value)
        for field, value in state.items()
        if value is not None and value not in ("", [])
    )


def _planned_looks(test: ABTest) -> int | None:
    sequential = test.design.decision_method is DecisionMethod.GROUP_SEQUENTIAL
    return test.design.planned_looks if sequential else None


def _describe_metric(metric: Metric) -> dict[str, Value]:
    return {
        "metric_name": metric.name,
        "role": metric.role.label,
        "kind": metric.kind.name.lower(),
        "numerator": _describe_measure(metric.numerator),
        "denominator": None if metric.denominator is None else _describe_measure(metric.denominator),
        "window_hours": None if metric.window is None else metric.window.total_seconds() / 3600,
        "winsorize_quantile": metric.winsorize_quantile,
        "covariate_days": metric.covariate_days,
        "non_inferiority_margin": metric.non_inferiority_margin,
        "higher_is_better": metric.higher_is_better,
    }


def _describe_measure(measure: Measure) -> str:
    name = measure.source.name.lower()
    return name if measure.custom_event_name is None else f"{name}:{measure.custom_event_name}"


def _describe_time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
