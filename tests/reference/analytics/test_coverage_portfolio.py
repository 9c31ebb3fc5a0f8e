"""What the intervals of the portfolio cover where the same users are in many campaigns.

300 users with a habit of their own are each in some of ten campaigns, with 1 to 8 views in each. The life is
everything, the window a third of the events by lot: as a portfolio of some days is.
"""

from dataclasses import replace

import numpy as np
import pytest

from services.analytics.domain.intervals import estimate_wilson_interval
from services.analytics.domain.metrics import CampaignTotals, Counts, UserMoments
from services.analytics.domain.portfolio import PortfolioRates, estimate_portfolio_rates

USERS, RUNS, RATE, SIGMA = 300, 2000, 0.1, 0.8


def simulate(share: float, *, is_spread: bool) -> list[tuple[CampaignTotals, CampaignTotals]]:
    """Window and life of each run; where users are not spread, each is in one campaign only."""
    rng = np.random.default_rng(31)
    campaigns = 1 + rng.binomial(9, 0.4, (RUNS, USERS)) if is_spread else np.ones((RUNS, USERS), dtype=int)
    views = rng.binomial(7 * campaigns, 0.5) + campaigns
    habit = rng.beta(3 * RATE, 3 * (1 - RATE), (RUNS, USERS))
    seen = [rng.binomial(views, share)]
    seen.append(views - seen[0])
    bought = [rng.binomial(part, habit) for part in seen]
    spent = []
    for part in bought:
        amounts = rng.lognormal(-SIGMA * SIGMA / 2, SIGMA, int(part.sum()))
        owners = np.repeat(np.arange(part.size), part.ravel())
        money = np.bincount(owners, weights=amounts, minlength=part.size).reshape(part.shape)
        spent.append(np.rint(1000 * money))
    v, c, r = seen[0] + seen[1], bought[0] + bought[1], spent[0] + spent[1]
    k = 20.0 * v
    return [
        (
            CampaignTotals(
                counts=Counts(
                    views=int(seen[0][run].sum()),
                    conversions=int(bought[0][run].sum()),
                    revenue_micros=int(spent[0][run].sum()),
                    cost_micros=int(20 * seen[0][run].sum()),
                )
            ),
            CampaignTotals(
                counts=Counts(
                    views=int(v[run].sum()),
                    conversions=int(c[run].sum()),
                    revenue_micros=int(r[run].sum()),
                    cost_micros=int(k[run].sum()),
                ),
                moments=UserMoments(
                    users=USERS,
                    paying_users=int((r[run] > 0).sum()),
                    views_views=int(v[run] @ v[run]),
                    views_conversions=int(v[run] @ c[run]),
                    conversions_conversions=int(c[run] @ c[run]),
                    revenue_revenue=int(r[run] @ r[run]),
                    revenue_cost=int(r[run] @ k[run]),
                    cost_cost=int(k[run] @ k[run]),
                    revenue_revenue_revenue=int((r[run] ** 3).sum()),
                ),
            ),
        )
        for run in range(RUNS)
    ]


def cover(rates: list[PortfolioRates], name: str, truth: float) -> float:
    intervals = [getattr(rate, name).interval for rate in rates]
    return float(np.mean([i is not None and i.lower <= truth <= i.upper for i in intervals]))


@pytest.mark.parametrize("is_spread", [True, False])
@pytest.mark.parametrize("share", [1.0, 1 / 3])
def test_the_portfolio_covers_whatever_campaigns_its_users_are_in(share: float, is_spread: bool) -> None:
    drawn = simulate(share, is_spread=is_spread)
    rates = [estimate_portfolio_rates(window, life, is_money_defined=True) for window, life in drawn]
    assert cover(rates, "conversion_rate", RATE) >= 0.94
    assert cover(rates, "roas", RATE * 1000 / 20) >= 0.93


def test_users_taken_anew_in_every_campaign_would_cover_too_little() -> None:
    """Why users are added up over campaigns: intervals of events, and of users counted per campaign."""
    drawn = simulate(1.0, is_spread=True)
    wilson = [estimate_wilson_interval(life.counts.conversions, life.counts.views) for _, life in drawn]
    assert np.mean([i is not None and i.lower <= RATE <= i.upper for i in wilson]) < 0.75
    rates = []
    for _, life in drawn:
        m = life.moments
        # As though each user's sums were spread over five strangers: products shrink to a fifth.
        strangers = replace(
            m,
            users=5 * m.users,
            views_views=m.views_views // 5,
            views_conversions=m.views_conversions // 5,
            conversions_conversions=m.conversions_conversions // 5,
        )
        rates.append(estimate_portfolio_rates(life, replace(life, moments=strangers), is_money_defined=True))
    assert cover(rates, "conversion_rate", RATE) < 0.75
