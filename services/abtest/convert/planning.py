"""Plans on the wire."""

from typing import Final

from gen.campaigns.abtest.v1 import planning_pb2 as pb
from services.abtest.convert.violations import DEFAULT_CONFIDENCE_LEVEL, Violations
from services.abtest.domain.power import FORMULA

DEFAULT_POWER: Final = 0.8
GROUPS: Final = 2


def sample_size_from_proto(request: pb.EstimateSampleSizeRequest) -> dict[str, float]:
    """Return the arguments of `estimate_sample_size`."""
    baseline, effect = request.baseline_conversion_rate, request.minimum_detectable_effect
    level = request.confidence_level if request.HasField("confidence_level") else DEFAULT_CONFIDENCE_LEVEL
    power = request.power if request.HasField("power") else DEFAULT_POWER
    violations = Violations()
    for field in ("baseline_conversion_rate", "minimum_detectable_effect"):
        violations.check(request.HasField(field), field, "is required", "FIELD_REQUIRED")
    violations.check_confidence_level(level)
    violations.check(0.5 < power < 1.0, "power", "must be above 0.5 and below 1", "VALUE_OUT_OF_RANGE")  # noqa: PLR2004
    violations.raise_any()
    violations.check(
        0.0 < baseline < 1.0, "baseline_conversion_rate", "must be above 0 and below 1", "VALUE_OUT_OF_RANGE"
    )
    violations.check_effect(effect)
    violations.raise_any()
    violations.check(
        baseline * (1.0 + effect) < 1.0,
        "minimum_detectable_effect",
        "must leave the variant's conversion rate below 1",
        "VALUE_OUT_OF_RANGE",
    )
    violations.check(
        baseline * (1.0 + effect) not in (0.0, baseline),
        "minimum_detectable_effect",
        "changes the baseline by less than a number can hold",
        "VALUE_OUT_OF_RANGE",
    )
    violations.raise_any()
    return {
        "baseline_conversion_rate": baseline,
        "minimum_detectable_effect": effect,
        "confidence_level": level,
        "power": power,
    }


def sample_size_to_proto(per_group: int) -> pb.EstimateSampleSizeResponse:
    """Return how many users a test of two groups needs."""
    return pb.EstimateSampleSizeResponse(
        required_sample_size_per_variant=per_group,
        required_sample_size_total=GROUPS * per_group,
        formula=FORMULA,
    )
