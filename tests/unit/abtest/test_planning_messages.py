"""Requests of plans that make none are refused by field."""

from collections.abc import Callable
from typing import Any

import pytest

from gen.campaigns.abtest.v1 import planning_pb2 as pb
from services.abtest.convert.planning import (
    detectable_effect_from_proto,
    power_from_proto,
    sample_size_from_proto,
)
from services.common.errors import InvalidArgumentError

NAN = float("nan")
RATE: dict[str, Any] = {"baseline_conversion_rate": 0.10, "minimum_detectable_effect": 0.2}


def violated_fields(convert: Callable[[], object]) -> set[str]:
    with pytest.raises(InvalidArgumentError) as caught:
        convert()
    return {violation.field for violation in caught.value.violations}


SIZE: dict[str, Any] = {**RATE}
MEAN: dict[str, Any] = {
    "metric_type": "mean",
    "baseline_mean": 1.0,
    "standard_deviation": 2.0,
    "minimum_detectable_effect": 0.1,
}


@pytest.mark.parametrize(
    ("fields", "violated"),
    [
        ({**SIZE, "metric_type": "median"}, {"metric_type"}),
        ({**SIZE, "baseline_mean": 1.0}, {"baseline_mean"}),
        ({**SIZE, "standard_deviation": 1.0}, {"standard_deviation"}),
        ({**MEAN, "baseline_mean": 0.0}, {"baseline_mean"}),
        ({**MEAN, "baseline_mean": NAN}, {"baseline_mean"}),
        ({**MEAN, "standard_deviation": 0.0}, {"standard_deviation"}),
        ({**MEAN, "baseline_conversion_rate": 0.1}, {"baseline_conversion_rate"}),
        ({**MEAN, "variance": "unpooled"}, {"variance"}),
        ({"metric_type": "ratio"}, {"baseline_mean", "standard_deviation", "minimum_detectable_effect"}),
        ({**SIZE, "variance": "both"}, {"variance"}),
        ({**SIZE, "variants": 0}, {"variants"}),
        ({**SIZE, "variants": 10, "traffic_weights": [0.5, 0.5]}, {"variants"}),
        ({**SIZE, "traffic_weights": [0.5, 0.4]}, {"traffic_weights"}),
        ({**SIZE, "variants": 2, "traffic_weights": [0.5, 0.5]}, {"traffic_weights"}),
        ({**SIZE, "decision_method": "hunch"}, {"decision_method"}),
        ({**SIZE, "planned_looks": 5}, {"planned_looks"}),
        ({**SIZE, "planned_looks": 0, "decision_method": "group_sequential"}, {"planned_looks"}),
        ({**SIZE, "planned_looks": 101, "decision_method": "group_sequential"}, {"planned_looks"}),
    ],
)
def test_what_makes_no_plan_is_refused_by_field(fields: dict[str, Any], violated: set[str]) -> None:
    request = pb.EstimateSampleSizeRequest(**fields)
    assert violated_fields(lambda: sample_size_from_proto(request)) == violated


@pytest.mark.parametrize("users", [0, 1, 1_000_000_001])
def test_users_out_of_range_are_refused(users: int) -> None:
    power = pb.EstimatePowerRequest(**RATE, sample_size_per_variant=users)
    effect = pb.EstimateMinimumDetectableEffectRequest(
        baseline_conversion_rate=0.1, sample_size_per_variant=users
    )
    assert violated_fields(lambda: power_from_proto(power)) == {"sample_size_per_variant"}
    assert violated_fields(lambda: detectable_effect_from_proto(effect)) == {"sample_size_per_variant"}
