"""What tests of simulations build."""

from services.abtest.domain.metrics import CONVERSION_RATE
from services.abtest.domain.model import CONTROL, VARIANT, DecisionMethod, Group, TestDesign
from services.abtest.domain.simulated_amounts import RevenueModel
from services.abtest.domain.simulation import REVENUE_PER_USER, SimulationDesign


def a_design(
    *,
    method: DecisionMethod = DecisionMethod.ANYTIME,
    target: int = 1000,
    baseline: float = 0.10,
    lifts: tuple[float, ...] = (0.2,),
    weights: tuple[float, ...] = (),
    looks: int = 10,
    planned_looks: int = 5,
    simulations: int = 200,
    confidence_level: float = 0.95,
    seed: int = 1,
    users_per_day: float | None = None,
    revenue: RevenueModel | None = None,
) -> SimulationDesign:
    names = [VARIANT] if len(lifts) == 1 else [f"{VARIANT}_{n}" for n in range(1, len(lifts) + 1)]
    return SimulationDesign(
        test=TestDesign(
            test_name="simulated",
            groups=tuple(Group(name=name, campaign_id=name) for name in (CONTROL, *names)),
            target_sample_size=target,
            confidence_level=confidence_level,
            decision_method=method,
            minimum_detectable_effect=None,
            seed="seed",
            planned_looks=planned_looks,
            metrics=(CONVERSION_RATE if revenue is None else REVENUE_PER_USER,),
        ),
        weights=weights or (1.0 / (len(lifts) + 1),) * (len(lifts) + 1),
        baseline_conversion_rate=baseline,
        relative_lifts=lifts,
        looks=looks,
        simulations=simulations,
        seed=seed,
        users_per_day=users_per_day,
        revenue=revenue,
    )
