"""The forest that the benchmarks of inference share: the training's own, over rows of known equations.

A row is a day of a campaign: its rate is a logistic function of the offer (saturating), the day of the week,
the campaign type and the merchant, and is observed through a binomial draw of its views. So a forest explains
most of it, no forest all, and how much there is to explain is known.
"""

from dataclasses import dataclass

import numpy as np

from services.optimizer.domain.features import Float32Array, FloatArray

TYPES, MERCHANTS = 7, 200
_LEVEL, _SPREAD = -2.4, 0.35


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Features (rows, 7) in the training's order, observed rates and views (rows,)."""

    features: Float32Array
    rates: FloatArray
    views: FloatArray


def draw_rows(count: int, *, seed: int) -> Rows:
    """Return rows of one and the same world (whatever the seed), drawn anew."""
    world, draws = np.random.default_rng(0), np.random.default_rng(seed)
    type_level, type_gain = world.normal(0, _SPREAD, TYPES), world.uniform(0.4, 1.6, TYPES)
    weekday_level, merchant_level = world.normal(0, 0.15, 7), np.sort(world.normal(0, _SPREAD, MERCHANTS))
    offer = draws.choice(np.arange(5.0, 25.5, 0.5), count)
    weekday, month = draws.integers(0, 7, count), draws.integers(1, 13, count)
    kind, merchant = draws.integers(0, TYPES, count), draws.integers(0, MERCHANTS, count)
    views = draws.integers(50, 500, count).astype(np.float64)
    logit = (
        _LEVEL
        + type_level[kind]
        + type_gain[kind] * (1 - np.exp(-(offer - 5) / 8))
        + weekday_level[weekday]
        + merchant_level[merchant]
    )
    rate = 1 / (1 + np.exp(-logit))
    impressions = draws.poisson(views * 60)
    columns = (offer, weekday, month, kind + 1, merchant + 1, impressions, draws.binomial(impressions, rate))
    return Rows(
        features=np.column_stack(columns).astype(np.float32),
        rates=draws.binomial(views.astype(np.int64), rate) / views,
        views=views,
    )
