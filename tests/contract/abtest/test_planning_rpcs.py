"""Plans over the wire: figures, names of formulas, and what is refused."""

from typing import Any

import pytest

from gen.campaigns.abtest.v1 import planning_pb2 as pb
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub

RATE: dict[str, Any] = {"baseline_conversion_rate": 0.10, "minimum_detectable_effect": 0.2}


async def test_the_guides_claim_gets_the_true_power(abtest: ABTestServiceStub) -> None:
    answer = await abtest.EstimatePower(pb.EstimatePowerRequest(**RATE, sample_size_per_variant=1000))
    assert round(100 * answer.power, 1) == 29.8
    assert answer.formula == "two_proportion_pooled_z"
    assert answer.citation.startswith("J. L. Fleiss")
    assert answer.significance_level_per_comparison == pytest.approx(0.05)


async def test_sample_sizes_of_unequal_weights_are_given_per_group(abtest: ABTestServiceStub) -> None:
    even = await abtest.EstimateSampleSize(pb.EstimateSampleSizeRequest(**RATE))
    assert list(even.required_sample_sizes) == [3841, 3841]
    assert (even.inflation_factor, list(even.warnings)) == (1.0, [])
    answer = await abtest.EstimateSampleSize(
        pb.EstimateSampleSizeRequest(**RATE, variants=2, traffic_weights=[0.5, 0.3, 0.2])
    )
    sizes = list(answer.required_sample_sizes)
    assert sizes == sorted(sizes, reverse=True)
    assert (answer.required_sample_size_per_variant, answer.required_sample_size_total) == (
        sizes[2],
        sum(sizes),
    )
    assert answer.significance_level_per_comparison == pytest.approx(0.025)


async def test_freedom_to_look_is_priced(abtest: ABTestServiceStub) -> None:
    needed = {
        method: await abtest.EstimateSampleSize(pb.EstimateSampleSizeRequest(**RATE, decision_method=method))
        for method in ("fixed_horizon", "group_sequential", "anytime")
    }
    sizes = [answer.required_sample_size_per_variant for answer in needed.values()]
    assert sizes == sorted(sizes)
    assert needed["anytime"].inflation_factor == pytest.approx(sizes[2] / sizes[0], rel=1e-3)
    assert any("28 equally spaced looks" in warning for warning in needed["anytime"].warnings)


async def test_means_ratios_and_unpooled_rates_name_their_formulas(abtest: ABTestServiceStub) -> None:
    mean: dict[str, Any] = {
        "baseline_mean": 8.0,
        "standard_deviation": 20.0,
        "minimum_detectable_effect": 0.1,
    }
    for metric_type, formula in (("mean", "two_mean_z"), ("ratio", "two_ratio_delta_method_z")):
        answer = await abtest.EstimateSampleSize(
            pb.EstimateSampleSizeRequest(**mean, metric_type=metric_type)
        )
        assert answer.formula == formula
        # statsmodels' NormalIndPower().solve_power(0.04, alpha=0.05, power=0.8) is 9811.1.
        assert answer.required_sample_size_per_variant == 9812
    unpooled = await abtest.EstimateSampleSize(pb.EstimateSampleSizeRequest(**RATE, variance="unpooled"))
    assert unpooled.formula == "two_proportion_unpooled_z"


async def test_the_effect_that_is_found_turns_the_sample_size_around(abtest: ABTestServiceStub) -> None:
    answer = await abtest.EstimateMinimumDetectableEffect(
        pb.EstimateMinimumDetectableEffectRequest(baseline_conversion_rate=0.10, sample_size_per_variant=3841)
    )
    assert answer.minimum_detectable_effect == pytest.approx(0.2, abs=1e-4)
    assert answer.absolute_minimum_detectable_effect == pytest.approx(0.02, abs=1e-5)
    none = await abtest.EstimateMinimumDetectableEffect(
        pb.EstimateMinimumDetectableEffectRequest(baseline_conversion_rate=0.9, sample_size_per_variant=20)
    )
    assert not none.HasField("minimum_detectable_effect")
    assert not none.HasField("absolute_minimum_detectable_effect")
