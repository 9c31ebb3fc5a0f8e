"""What the interval of a credited share covers, in a simulated world whose true shares are known (seeded).

Users differ in how eager they are: an eager one is touched more often, converts more often, and several
times, so that one user's conversions are not independent. The truth is the share in a population of 60,000
users.
"""

import numpy as np
import pytest

from services.analytics.domain.attribution import MICRO
from services.analytics.domain.credits import GROUPS, MonthCredits, MonthLedger
from services.analytics.domain.intervals import ConfidenceInterval
from services.analytics.domain.journeys import Moments
from services.analytics.domain.shares import estimate_share_interval

DAY = 24 * 3600 * MICRO
CAMPAIGNS = 5
POPULARITY = np.array([0.4, 0.25, 0.2, 0.1, 0.05])
APPEAL = np.array([0.05, 0.1, 0.05, 0.2, 0.1])
"""How often a touch of each campaign is followed by its conversion."""


def count_world(random: np.random.Generator, users: int) -> MonthCredits:
    touches = random.poisson(random.gamma(1.0, 4.0, users))
    user = np.repeat(np.arange(users), touches)
    eager = np.repeat(random.gamma(0.8, 1.25, users), touches)
    campaign = random.choice(CAMPAIGNS, size=user.size, p=POPULARITY)
    micros = random.integers(0, 30 * DAY, user.size)
    converts = random.random(user.size) < np.minimum(APPEAL[campaign] * eager, 0.9)
    columns = {
        "users": np.concatenate([user, user[converts]]),
        "campaigns": np.concatenate([campaign, campaign[converts]]) + 1,
        "micros": np.concatenate([micros, micros[converts] + DAY // 8]),
        "is_conversion": np.repeat([False, True], [user.size, int(converts.sum())]),
    }
    order = np.lexsort((columns["is_conversion"], columns["micros"], columns["users"]))
    moments = Moments(
        **{name: values[order] for name, values in columns.items()},
        groups=random.permutation(np.arange(users) % GROUPS)[columns["users"][order]],
        days=columns["micros"][order] // DAY,
        revenue=np.zeros(order.size, dtype=np.int64),
    )
    ledger = MonthLedger(campaigns=CAMPAIGNS, first_day=0, last_day=30, lookback_micros=30 * DAY)
    ledger.add(moments)
    return ledger.close()


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    month = count_world(np.random.default_rng(0), 60_000)
    return {
        model: credit.microconversions.sum(axis=0) / MICRO / month.conversions.sum()
        for model, credit in month.models.items()
    }


@pytest.mark.parametrize(("users", "least"), [(200, 0.92), (1000, 0.93)])
def test_the_interval_of_a_share_covers_what_it_says(
    truth: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]], users: int, least: float
) -> None:
    """95 % intervals of five campaigns' shares in 120 worlds: covered at least so often, by every model."""
    random = np.random.default_rng(users)
    models = ("last_touch", "linear", "markov")
    covered: dict[str, list[bool]] = {model: [] for model in models}
    for _ in range(120):
        month = count_world(random, users)
        total = int(month.conversions.sum())
        for model in models:
            credit = month.models[model]
            assert credit.without_group is not None
            for campaign in range(CAMPAIGNS):
                interval = estimate_share_interval(
                    credit=float(credit.microconversions[:, campaign].sum()) / MICRO,
                    total=total,
                    credit_without_group=(credit.without_group[:, campaign].sum(axis=0) / MICRO).tolist(),
                    total_without_group=month.conversions_without_group.sum(axis=0).tolist(),
                )
                if interval is not None:
                    covered[model].append(interval.lower <= truth[model][campaign] <= interval.upper)
    for model in models:
        assert len(covered[model]) > 550, model
        assert np.mean(covered[model]) >= least, (model, float(np.mean(covered[model])))


def estimate(
    credit: float = 4.0,
    total: float = 10.0,
    credit_without: tuple[float, ...] = (3.0, 4.0) * 10,
    total_without: tuple[float, ...] = (9.0,) * GROUPS,
) -> ConfidenceInterval | None:
    return estimate_share_interval(
        credit=credit,
        total=total,
        credit_without_group=credit_without,
        total_without_group=total_without,
    )


def test_no_interval_where_it_would_be_a_pretence() -> None:
    assert estimate() is not None
    assert estimate(total_without=(9.0,) * 9 + (10.0,) * 11) is None, "nine groups have conversions"
    assert estimate(total_without=(0.0, *(9.0,) * 19)) is None, "one group has them all"
    assert estimate(credit=0.0) is None
    assert estimate(credit=10.0) is None
    assert estimate(total=0.0) is None
    assert estimate(credit_without=(3.6,) * 20) is None, "no group differs"
    assert estimate(credit_without=()) is None
