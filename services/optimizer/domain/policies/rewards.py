"""What logged decisions brought, weighed for a proposed policy."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from services.optimizer.domain.features import MICROS_PER_UNIT, FloatArray
from services.optimizer.domain.policies.off_policy import LoggedRewards
from services.optimizer.domain.response.decision_table import NO_SEGMENTS, DecisionTable
from services.optimizer.domain.response.direct_model import cross_fit

HOURS: Final = 24
WEEKDAYS: Final = 7


def weigh(
    table: DecisionTable,
    reward: FloatArray,
    segments: Mapping[int, Sequence[str]],
    probabilities: Mapping[int, FloatArray],
) -> LoggedRewards:
    """Return decisions weighed for a policy, with what a cross-fitted model expects of them.

    Args:
        table: what was logged (n), not empty.
        reward: what each decision brought (n).
        segments: the names behind each segment set.
        probabilities: by offer, in micros, the probability that the policy makes it at each decision (n).
    """
    offers = table.offer_micros / MICROS_PER_UNIT
    model = cross_fit(reward, offers, _context(table, segments), table.user)
    weight, expected = np.zeros(len(table)), np.zeros(len(table))
    for offer, probability in probabilities.items():
        weight += np.where(table.offer_micros == offer, probability / table.propensity, 0.0)
        expected += probability * model.predict(np.full(len(table), offer / MICROS_PER_UNIT))
    return LoggedRewards(
        user=np.unique(table.user, return_inverse=True)[1],
        weight=weight,
        reward=reward,
        predicted=model.predict(offers),
        predicted_for_policy=expected,
    )


def _context(table: DecisionTable, segments: Mapping[int, Sequence[str]]) -> FloatArray:
    """Return what is known before the offer is drawn: campaign, weekday, time of day, segments (n, k)."""
    angle = 2.0 * np.pi * table.hour / HOURS
    names = sorted({name for of_set in segments.values() for name in of_set})
    has = {number: [name in of_set for name in names] for number, of_set in segments.items()}
    has[NO_SEGMENTS] = [False] * len(names)
    by_segment = np.array([has[number] for number in table.segment_set.tolist()], dtype=np.float64)
    campaigns = np.arange(1, int(table.campaign.max()) + 1)
    return np.column_stack(
        (
            np.sin(angle),
            np.cos(angle),
            table.weekday[:, np.newaxis] == np.arange(1, WEEKDAYS),
            table.campaign[:, np.newaxis] == campaigns,
            by_segment.reshape(len(table), len(names)),
        )
    ).astype(np.float64)
