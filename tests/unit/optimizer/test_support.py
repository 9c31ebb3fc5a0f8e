"""Where the data can speak."""

from datetime import date

import numpy as np

from services.optimizer.domain.features import DailyRow, daily_table
from services.optimizer.domain.response.response import CURVE_OFFERS_MICROS
from services.optimizer.domain.response.support import TypeSupport, survey_support

DAY = date(2026, 3, 2)
UNIT = 1_000_000


def covered(*tried: int) -> list[float]:
    support = TypeSupport(tried_micros=tuple(offer * UNIT for offer in tried), varied_campaigns=1)
    places = np.flatnonzero(support.covers(CURVE_OFFERS_MICROS))
    return [CURVE_OFFERS_MICROS[place] / UNIT for place in places]


def test_offers_between_close_tried_ones_are_supported_and_others_are_not() -> None:
    assert covered(8, 12, 20) == [*np.arange(8, 12.5, 0.5), 20.0]
    assert covered(10, 15) == list(np.arange(10, 15.5, 0.5))
    assert covered(10) == [10.0]
    assert covered() == []
    assert covered(40) == []


def test_an_offer_off_the_curves_steps_supports_its_nearest_point() -> None:
    support = TypeSupport(tried_micros=(9_990_000,), varied_campaigns=1)
    assert [CURVE_OFFERS_MICROS[i] / UNIT for i in np.flatnonzero(support.covers(CURVE_OFFERS_MICROS))] == [
        10.0
    ]


def sent(campaign: str, offer: float, views: int, kind: int = 1) -> DailyRow:
    return (campaign, DAY, int(offer * UNIT), 2 * views, views, 1, kind, 1)


def test_the_survey_counts_views_by_type_and_campaigns_that_varied() -> None:
    table = daily_table(
        [
            sent("a", 10, 60),
            sent("b", 10.1, 60),  # rounds to 10: together enough
            sent("a", 15, 120),
            sent("b", 20, 99),  # too few
            sent("c", 10, 500, kind=2),
            sent("d", 12, 500, kind=2),  # two offers, never in one campaign
        ]
    )
    support = survey_support(table)
    assert support[1] == TypeSupport(tried_micros=(10 * UNIT, 15 * UNIT), varied_campaigns=1)
    assert support[2] == TypeSupport(tried_micros=(10 * UNIT, 12 * UNIT), varied_campaigns=0)
