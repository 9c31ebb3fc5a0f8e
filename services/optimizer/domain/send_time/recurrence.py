"""How much more conversions vary over campaigns because the same users meet many of them.

Sums over the users of one campaign say how users differ within it, and not who comes back in the next. A
sample of users says that: e_uc is what a user converted in a campaign beyond what the views would have had at
the campaign's rate, as readily as users of the same set of segments are. Over all campaigns the variance is
sum_u (sum_c e_uc)^2 (users are the clusters: Liang & Zeger, Biometrika 73, 1986), and that of different users
in every campaign sum_u sum_c e_uc^2. The quotient is the inflation, as design effects are told.

A campaign's rate is of the sample's few users there, so that each is held against a rate that is partly the
user's own (h_uc of its views). A square is too small by 1 - h_uc then, and a product of two campaigns by that
of both: each is divided by it (HC2 and the jackknife: MacKinnon & White, Journal of Econometrics 29, 1985).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.send_time.counts import TYPES, IntArray, Sendings

LEAST_USERS: Final = 200
"""Users with views of a type's campaigns, below which the inflation is not told: of so many the relative
standard error of a sum of squares is about sqrt(2 / 200), a tenth."""
LEAST_CONVERSIONS: Final = 50


def measure_recurrence(sendings: Sendings, segment_set_ids: Sequence[int | None]) -> tuple[float | None, ...]:
    """Return the inflation (at least 1) by campaign type; None where the sample says too little."""
    sets = np.unique([-1 if each is None else each for each in segment_set_ids], return_inverse=True)[1]
    return tuple(_inflation(sendings, sets, kind) for kind in range(TYPES))


def _inflation(sendings: Sendings, sets: IntArray, kind: int) -> float | None:
    rows = (sendings.campaign_type == kind) & (sendings.views > 0)
    views, conversions = sendings.views[rows], sendings.conversions[rows]
    user, campaign = sendings.user[rows], sendings.campaign[rows]
    if len(np.unique(user)) < LEAST_USERS or conversions.sum() < LEAST_CONVERSIONS:
        return None
    rate = _ratio(campaign, conversions, views)
    expected = rate[campaign] * views
    readiness = _ratio(sets[user], conversions, expected)
    beyond = conversions - readiness[sets[user]] * expected
    pairs, pair = np.unique(np.stack([user, campaign]), axis=1, return_inverse=True)
    left = 1.0 - np.bincount(pair.ravel(), views) / np.bincount(campaign, views)[pairs[1]]
    others = left > 0.0
    by_pair = np.bincount(pair.ravel(), beyond)[others]
    apart = float(np.sum(by_pair**2 / left[others]))
    freed = by_pair / left[others]
    by_user = np.bincount(pairs[0][others], freed)
    recurring = float(by_user @ by_user - freed @ freed)
    return max(1.0 + recurring / apart, 1.0) if apart > 0.0 else None


def _ratio(of: IntArray, seen: FloatArray, expected: FloatArray) -> FloatArray:
    """Return what was seen over what was expected, by the number in `of`; 0 where nothing was."""
    total = np.bincount(of, expected).astype(np.float64)
    return np.divide(np.bincount(of, seen), total, out=np.zeros(len(total)), where=total > 0.0)
