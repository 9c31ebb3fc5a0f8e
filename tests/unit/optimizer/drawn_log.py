"""What SQL adds up of drawn deliveries, added up from arrays: for simulations, and to hold SQL against."""

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np

from services.optimizer.domain.features import BoolArray, FloatArray
from services.optimizer.domain.response.decision_table import DecisionTable
from services.optimizer.domain.response.drawn_offers import DrawnCell, OfferSide, find_sides
from services.optimizer.domain.segments.uplift import OfferMoments, Uplift, uplift_by_offers


def uplifts(table: DecisionTable, segments: Mapping[int, Sequence[str]]) -> dict[str, Uplift]:
    """Return the uplift by segment of a log whose days are ordinals and versions numbers."""
    return uplift_by_offers(add_up(table, segments, find_sides(group_draws(table))))


def group_draws(table: DecisionTable) -> list[DrawnCell]:
    """Return the log's draws, equal ones together."""
    columns = np.column_stack((table.version, table.day, table.offer_micros, table.propensity))
    rows, counts = np.unique(columns, axis=0, return_counts=True)
    return [
        DrawnCell(
            policy_version=f"v{version:g}",
            day=date.fromordinal(int(day) + 1),
            offer_micros=int(offer),
            propensity=float(propensity),
            deliveries=int(count),
        )
        for (version, day, offer, propensity), count in zip(rows.tolist(), counts.tolist(), strict=True)
    ]


def add_up(
    table: DecisionTable, segments: Mapping[int, Sequence[str]], sides: Sequence[OfferSide]
) -> list[OfferMoments]:
    """Return sums and products over the users of each segment."""
    ends = {(each.policy_version, each.day, each.offer_micros): each.is_high for each in sides}
    drawn = zip(table.version.tolist(), table.day.tolist(), table.offer_micros.tolist(), strict=True)
    made = [ends.get((f"v{version}", date.fromordinal(day + 1), offer)) for version, day, offer in drawn]
    high, low = (np.array([is_high is wanted for is_high in made]) for wanted in (True, False))
    found = []
    for name in sorted({name for names in segments.values() for name in names}):
        within = np.isin(table.segment_set, [key for key, names in segments.items() if name in names])
        columns = [*_by_user(table, within & high), *_by_user(table, within & low)]
        found.append(moments_of(name, np.column_stack(columns)))
    return found


def moments_of(name: str, users: FloatArray) -> OfferMoments:
    """Return the sums and products of users' x and y on the high side and on the low one (n, 4)."""
    high_x, high_y, low_x, low_y = users.sum(axis=0).tolist()
    products = (users.T @ users).tolist()
    return OfferMoments(
        segment_name=name,
        high_users=int(np.count_nonzero(users[:, 0])),
        low_users=int(np.count_nonzero(users[:, 2])),
        high_x=high_x,
        high_y=high_y,
        low_x=low_x,
        low_y=low_y,
        high_xx=products[0][0],
        high_xy=products[0][1],
        high_yy=products[1][1],
        low_xx=products[2][2],
        low_xy=products[2][3],
        low_yy=products[3][3],
        cross_xx=products[0][2],
        cross_xy=products[0][3],
        cross_yx=products[1][2],
        cross_yy=products[1][3],
    )


def _by_user(table: DecisionTable, chosen: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Return each user's deliveries, and what followed them, by 1 / propensity."""
    weight = np.where(chosen, 1.0 / table.propensity, 0.0)
    users = np.zeros((2, int(table.user.max()) + 1))
    np.add.at(users[0], table.user, weight)
    np.add.at(users[1], table.user, weight * table.conversions)
    return users[0], users[1]
