"""The effect by days since exposure under weights that changed: a drift of all rates does not fade."""

from services.abtest.domain.exposure_days import count_days, view_days
from services.abtest.domain.metrics import CONVERSION_RATE
from tests.abtest_factories import design

LONG_AGO, LATELY = 14, 7


def seen(*, effect_on_first_day: float = 1.0) -> dict[tuple[int, int, int, int | None], int]:
    """Users of two weeks: at 90/10 1 % of those left convert each day, at 50/50 3 % in the week after."""
    users: dict[tuple[int, int, int, int | None], int] = {}
    for epoch, observed, rate, sizes in (
        (1, LONG_AGO, 0.01, (90_000, 10_000)),
        (2, LATELY, 0.03, (50_000, 50_000)),
    ):
        for group, size in enumerate(sizes):
            left = size
            for day in range(observed):
                lift = effect_on_first_day if group and not day else 1.0
                converted = round(left * rate * lift)
                users[epoch, group, observed, day] = converted
                left -= converted
            users[epoch, group, observed, None] = left
    return users


def test_groups_that_are_alike_in_every_epoch_show_no_trend() -> None:
    view = view_days(design(), CONVERSION_RATE, count_days(seen(), 2))
    assert [day.day for day in view.days] == list(range(LONG_AGO))
    assert view.pattern == "stable"
    assert view.trend_p_value is not None
    assert view.trend_p_value > 0.9
    for day in view.days:
        (comparison,) = day.comparisons
        assert comparison.test is not None
        assert comparison.test.p_value > 0.9
        assert day.groups[0].users == sum(
            users
            for (_, group, observed, first), users in seen().items()
            if group == 0 and observed > day.day and (first is None or first >= day.day)
        )


def test_an_effect_of_the_first_day_fades_in_every_epoch() -> None:
    view = view_days(design(), CONVERSION_RATE, count_days(seen(effect_on_first_day=1.5), 2))
    assert view.pattern == "novelty"
    assert any("fades" in warning for warning in view.warnings)
