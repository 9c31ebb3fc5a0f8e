"""What an offer must keep, and which limit decided."""

import numpy as np
import pytest

from services.common.errors import FailedPreconditionError
from services.optimizer.domain.objectives import Economics
from services.optimizer.domain.offers.constraints import (
    ConstrainedChoice,
    Constraint,
    ConstraintKind,
    ConstraintSource,
    OfferLimits,
    Prospects,
    Scope,
    choose,
    gather,
    list_broken,
)

OFFERS = np.array([5.0, 10.0, 15.0, 20.0])
RATES = np.array([0.1, 0.2, 0.3, 0.35])
VALUES = np.array([1.0, 2.0, 3.0, 2.5])
EVERYTHING = np.ones(4, dtype=np.bool_)
MAXIMUM, MARGIN, BUDGET = ConstraintKind


def limit(
    kind: ConstraintKind, value: float, source: ConstraintSource = ConstraintSource.CAMPAIGN
) -> Constraint:
    return Constraint(kind=kind, source=source, limit=value)


def chosen(
    *constraints: Constraint,
    revenue: float | None = 50.0,
    margin: float | None = 0.6,
    views: float | None = 100.0,
    supported: np.ndarray = EVERYTHING,
) -> ConstrainedChoice:
    prospects = Prospects(
        offers=OFFERS,
        rates=RATES,
        economics=Economics(mean_revenue=revenue, gross_margin_rate=margin),
        views_a_day=views,
    )
    return choose(VALUES, supported, constraints, prospects)


def test_without_constraints_the_best_offer_is_the_best() -> None:
    choice = chosen()
    assert (choice.best, choice.unconstrained_best, choice.checks) == (2, 2, ())


@pytest.mark.parametrize(
    ("constraint", "kept"),
    [
        (limit(MAXIMUM, 10.0), [True, True, False, False]),
        (limit(MARGIN, 0.4), [True, True, False, False]),  # 0.6 - offer / 50: 0.5, 0.4, 0.3, 0.2
        (limit(BUDGET, 300.0), [True, True, False, False]),  # 100 * rate * offer: 50, 200, 450, 700
    ],
)
def test_each_limit_forbids_what_breaks_it(constraint: Constraint, kept: list[bool]) -> None:
    choice = chosen(constraint)
    assert choice.kept[0].tolist() == kept
    assert choice.best == 1
    assert choice.unconstrained_best == 2
    assert choice.checks[0].is_binding


def test_a_limit_that_the_best_offer_keeps_does_not_bind() -> None:
    choice = chosen(limit(MAXIMUM, 15.0), limit(BUDGET, 300.0))
    assert [check.is_binding for check in choice.checks] == [False, True]


def test_no_margin_is_held_against_one_that_nobody_said() -> None:
    with pytest.raises(FailedPreconditionError, match="no gross_margin_rate is known") as refused:
        chosen(limit(MARGIN, 0.7), margin=None)
    assert refused.value.reason == "GROSS_MARGIN_UNKNOWN"
    assert refused.value.metadata == {
        "constraint": "minimum_profit_margin",
        "source": "campaign",
        "field": "gross_margin_rate",
    }


def test_where_nothing_is_left_the_limit_is_named() -> None:
    merchant = limit(MAXIMUM, 4.0, ConstraintSource.MERCHANT)
    with pytest.raises(FailedPreconditionError, match=r"keeps maximum_offer 4 \(merchant\)$") as refused:
        chosen(merchant, limit(BUDGET, 300.0))
    assert refused.value.reason == "OFFER_CONSTRAINED"
    assert refused.value.metadata == {"constraint": "maximum_offer", "source": "merchant"}


def test_a_budget_that_leaves_nothing_is_told_what_the_least_would_cost() -> None:
    said = (
        "the cheapest one, 10, would cost 200.00 a day by what is expected of 100.0 views a day of which 0.2"
    )
    with pytest.raises(FailedPreconditionError, match=said):
        chosen(limit(BUDGET, 120.0), supported=np.array([False, True, True, True]))


def test_all_limits_that_leave_nothing_are_named() -> None:
    high = np.array([False, False, True, True])
    with pytest.raises(FailedPreconditionError, match=r"maximum_offer 10 .* and minimum_profit_margin 0\.45"):
        chosen(limit(MAXIMUM, 10.0), limit(MARGIN, 0.45), limit(BUDGET, 900.0), supported=high)


def test_what_cannot_be_checked_is_refused() -> None:
    with pytest.raises(FailedPreconditionError) as no_revenue:
        chosen(limit(MARGIN, 0.4), revenue=None)
    with pytest.raises(FailedPreconditionError, match="how many views a day") as no_views:
        chosen(limit(BUDGET, 10.0), views=None)
    assert no_revenue.value.reason == "REVENUE_UNKNOWN"
    assert no_views.value.reason == "OFFER_CONSTRAINED"


def test_what_an_offer_breaks_is_told_with_what_it_comes_to() -> None:
    today = Prospects(
        offers=np.array([25.0]),
        rates=np.array([0.3]),
        economics=Economics(mean_revenue=50.0, gross_margin_rate=0.6),
        views_a_day=40.0,
    )
    broken = list_broken(
        [limit(MAXIMUM, 20.0), limit(MAXIMUM, 25.0), limit(MARGIN, 0.2), limit(BUDGET, 200.0)], today
    )
    assert [str(each) for each in broken] == [
        "breaks maximum_offer of 20 (campaign)",
        "breaks minimum_profit_margin of 0.2 (campaign): it leaves a margin of 0.100",  # 0.6 - 25 / 50
        "breaks daily_budget of 200 (campaign): it is expected to cost 300.00 a day",  # 40 * 0.3 * 25
    ]


def test_limits_are_gathered_in_order_and_unset_ones_left_out() -> None:
    gathered = gather(
        [
            (ConstraintSource.REQUEST, OfferLimits(maximum_offer_micros=12_500_000)),
            (ConstraintSource.MERCHANT, OfferLimits(minimum_profit_margin=0.0, daily_budget_micros=7)),
        ]
    )
    assert [(each.kind, each.source, each.limit) for each in gathered] == [
        (MAXIMUM, ConstraintSource.REQUEST, 12.5),
        (MARGIN, ConstraintSource.MERCHANT, 0.0),
        (BUDGET, ConstraintSource.MERCHANT, 7e-6),
    ]


def test_a_scope_is_a_campaign_or_a_merchant() -> None:
    assert Scope.of_campaign("7") != Scope.of_merchant(7)
    assert Scope.of_merchant(7).name == "7"
