"""Which segment is recommended, in words, and when none is."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from services.optimizer.domain.offers.answer import Interval
from services.optimizer.domain.recommendations.drafts import (
    draft_segment,
)
from services.optimizer.domain.segments.ranking import rank_segments
from services.optimizer.domain.segments.segments import SegmentRate, SegmentSums, claimable, rate_segments
from services.optimizer.domain.segments.uplift import Uplift, UpliftBasis, VariantOfTest
from tests.unit.optimizer.draft_outcomes import recommended, withheld


def rate(
    name: str, *, ratio: float | None = 1.2, sure: float | None = 0.99, campaigns: int = 2
) -> SegmentRate:
    interval = None if ratio is None else Interval(lower=ratio * 0.9, upper=ratio * 1.1)
    return SegmentRate(
        segment_name=name,
        users=300,
        campaigns=campaigns,
        conversion_rate=0.2,
        conversion_rate_interval=Interval(lower=0.1, upper=0.3),
        expected_rate=None if ratio is None else 0.2 / ratio,
        expected_rate_interval=None,
        ratio=ratio,
        ratio_interval=interval,
        probability_above_average=sure,
    )


def uplift(value: float, half: float = 0.02, basis: UpliftBasis = UpliftBasis.AB_TEST) -> Uplift:
    return Uplift(
        basis=basis,
        value=value,
        interval=Interval(lower=value - half, upper=value + half),
        treated_users=400,
        control_users=400,
        variants=tuple(
            VariantOfTest(
                test_id=f"t{number}",
                name="v",
                control_campaign_id="plain",
                started_at=datetime(2026, 11, 20, 9, tzinfo=UTC),
                ended_at=datetime(2026, 11, 20, 10, 30, tzinfo=UTC),
            )
            for number in (4, 3, 2, 1)
        ),
    )


def test_a_segment_is_recommended_by_its_uplift_where_there_is_one() -> None:
    rates = [rate("lapsed", ratio=0.5), rate("loyal", ratio=2.0), rate("new", ratio=None, sure=None)]
    ranking = rank_segments("c", rates, {"lapsed": uplift(0.1), "loyal": uplift(0.01)})
    assert [each.rate.segment_name for each in ranking.segments] == ["lapsed", "loyal", "new"]
    assert [each.basis for each in ranking.segments] == ["ab_test", "ab_test", "none"]
    assert any("come first" in warning for warning in ranking.warnings)
    draft = recommended(draft_segment(ranking))
    assert (draft.choice, draft.effect_metric, draft.effect) == ("lapsed", "uplift", 0.1)
    assert (draft.evidence_kind, draft.confidence) == ("randomised", 0.99)
    assert "variant adds most over its control, +0.100 (+0.080 to +0.120) converting users" in draft.text
    assert "within the segment of this campaign over the control of its A/B tests" in draft.evidence
    assert draft.evidence.count("against plain") == 3
    assert (
        "by chance: test t4 (variant v against plain, 2026-11-20 09:00 to 2026-11-20 10:30 UTC); test t3 ("
        in draft.evidence
    )
    assert "; and 1 begun before. Another campaign, or other days, may move them otherwise" in draft.evidence
    assert "in 2 campaigns of this type (counted once for each campaign)" in draft.evidence


def test_an_order_that_differs_from_the_rates_shown_says_why() -> None:
    popular = replace(rate("popular", ratio=0.9), conversion_rate=0.36, expected_rate=0.4)
    ranking = rank_segments("c", [popular, rate("loyal", ratio=1.6)], {})
    first, second = ranking.segments
    assert (first.rate.segment_name, second.rate.segment_name) == ("loyal", "popular")
    assert (
        "0.200 (0.100 to 0.300) of views converted where everybody whom the same campaigns reach, this"
        " segment included, makes 0.125 at the same offers: 1.60 (1.44 to 1.76) times as many"
        in first.evidence
    )
    assert "0.360 (0.100 to 0.300) of views converted" in second.evidence
    assert any("Ranked by relative_conversion_rate" in warning for warning in ranking.warnings)
    as_shown = rank_segments("c", [replace(popular, conversion_rate=0.1), rate("loyal", ratio=1.6)], {})
    assert not any("Ranked by" in warning for warning in as_shown.warnings)
    nobody = rank_segments("c", [rate("new", ratio=None, sure=None)], {})
    assert "without views or conversions to compare" in nobody.segments[0].evidence


def test_an_uplift_that_may_be_nothing_is_not_recommended() -> None:
    ranking = rank_segments("c", [rate("loyal"), rate("new")], {"loyal": uplift(0.01), "new": uplift(0.0)})
    outcome = withheld(draft_segment(ranking))
    assert outcome.reason == "GAIN_UNCERTAIN"
    # 0.01 at a standard error of 0.02 / 1.645 is 0.82 of one: 0.795; of two segments 0.95 makes 0.9.
    assert "segment loyal" in outcome.message
    assert (
        "probability of 0.795 by itself; as the best looking of 2 compared it needs 0.950" in outcome.message
    )
    none = rank_segments("c", [rate("loyal"), rate("new")], {"loyal": uplift(0.0), "new": uplift(0.0)})
    assert "better with a probability of 0.500 by itself" in withheld(draft_segment(none)).message
    losses = {"loyal": uplift(-0.03), "new": uplift(-0.02)}
    assert withheld(draft_segment(rank_segments("c", [rate("loyal"), rate("new")], losses))).reason == (
        "NO_BETTER_CHOICE"
    )
    without = rank_segments("c", [rate("loyal"), rate("new"), rate("third")], losses)
    assert withheld(draft_segment(without)).reason == "GAIN_UNCERTAIN"


def test_the_first_of_many_segments_pays_for_being_first() -> None:
    few = rank_segments("c", [rate("a", sure=0.97), rate("b", ratio=0.5)], {})
    many = rank_segments("c", [rate("a", sure=0.97), *(rate(name, ratio=0.5) for name in "bcdef")], {})
    assert recommended(draft_segment(few)).confidence == pytest.approx(0.94)
    assert claimable(0.5 - 3.0) == 0.01  # and not 1 - 0.99
    assert "allows for 2 segments compared" in recommended(draft_segment(few)).evidence
    # Of six 0.983 by itself makes 0.9.
    assert (
        "a probability of 0.970 by itself; as the best looking of 6 compared it needs 0.983"
        in withheld(draft_segment(many)).message
    )


@pytest.mark.parametrize(
    ("upper", "reason"), [(1.09, "NO_BETTER_CHOICE"), (1.11, "GAIN_UNCERTAIN"), (None, "GAIN_UNCERTAIN")]
)
def test_nothing_is_better_only_where_no_interval_reaches_the_gain_that_matters(
    upper: float | None, reason: str
) -> None:
    """What the first cannot tell, and what a less likely one cannot, are alike no lack of a better one."""
    first = replace(rate("a", ratio=1.03), ratio_interval=Interval(lower=1.0, upper=1.06))
    other = replace(
        rate("b", ratio=1.01),
        ratio_interval=None if upper is None else Interval(lower=0.9, upper=upper),
    )
    outcome = withheld(draft_segment(rank_segments("c", [first, other], {})))
    assert outcome.reason == reason
    assert "segment a, +3.0%" in outcome.message
    assert outcome.is_verdict


def test_many_segments_do_not_hide_one_that_is_certain() -> None:
    rates = [rate("a", sure=1.0 - 1e-6), *(rate(f"b{place}", ratio=0.5) for place in range(30))]
    assert recommended(draft_segment(rank_segments("c", rates, {}))).confidence == 0.99


def test_segments_in_which_nobody_converted_are_no_choice() -> None:
    sums = SegmentSums(
        campaign_id="c",
        segment_name="new",
        users=1,
        views=3,
        conversions=0,
        views_views=9,
        views_conversions=0,
        conversions_conversions=0,
        campaign_views=0,
        campaign_conversions=0,
    )
    (nobody,) = rate_segments([sums])
    assert (nobody.ratio, nobody.conversion_rate, nobody.conversion_rate_interval) == (None, 0.0, None)
    ranking = rank_segments("c", [nobody], {})
    outcome = withheld(draft_segment(ranking))
    assert outcome.reason == "GAIN_UNCERTAIN"
    assert outcome.message.startswith("Nobody of any segment converted")
    assert "in one campaign" in ranking.segments[0].evidence
    assert len(ranking.warnings) == 1
    (alone,) = rate_segments(
        [replace(sums, conversions=2, conversions_conversions=4, campaign_views=30, campaign_conversions=10)]
    )
    assert alone.ratio == pytest.approx(2.0)
    assert alone.ratio_interval is not None
    # The user's conversions add 1 / 2 - 1 / 10 each, and scatter by 4: 6 times as much as views which are
    # independent. So do the campaign's other 27 views, of which 8 converted: each adds 1 / 10.
    variance = 4 * 0.4**2 + 6 * 27 * (8 / 27) * (19 / 27) / 10**2
    assert alone.ratio_interval.upper == pytest.approx(2.0 * math.exp(1.6448536 * math.sqrt(variance)))
    (all_of_two,) = rate_segments(
        [
            replace(
                sums,
                users=2,
                views=2,
                conversions=2,
                views_views=2,
                views_conversions=2,
                conversions_conversions=2,
            )
        ]
    )
    assert all_of_two.conversion_rate_interval is not None
    assert all_of_two.conversion_rate_interval.upper == 1.0
    assert 0.2 < all_of_two.conversion_rate_interval.lower < 0.3


def test_a_segment_that_is_everybody_gains_nothing_for_certain() -> None:
    sums = SegmentSums(
        campaign_id="c",
        segment_name="all",
        users=50,
        views=100,
        conversions=20,
        views_views=200,
        views_conversions=40,
        conversions_conversions=20,
        campaign_views=100,
        campaign_conversions=20,
    )
    (everybody,) = rate_segments([sums])
    assert everybody.ratio_interval == Interval(lower=1.0, upper=1.0)
    assert everybody.probability_above_average == 0.5
    outcome = withheld(draft_segment(rank_segments("c", [everybody], {})))
    assert outcome.reason == "NO_BETTER_CHOICE"
    (silent,) = rate_segments([replace(sums, conversions=0, views_conversions=0, conversions_conversions=0)])
    assert (silent.ratio, silent.ratio_interval) == (0.0, None)
    assert silent.expected_rate_interval is not None


def test_uplift_by_drawn_offers_says_so() -> None:
    drawn = {
        "loyal": uplift(0.2, basis=UpliftBasis.RANDOMISED_OFFERS),
        "new": uplift(0.1, basis=UpliftBasis.RANDOMISED_OFFERS),
    }
    ranking = rank_segments("c", [rate("loyal", campaigns=1), rate("new")], drawn)
    assert len(ranking.warnings) == 1
    draft = recommended(draft_segment(ranking))
    assert draft.text.startswith("Make the higher offers to users of the segment loyal first")
    assert "highest over the lowest offer" in draft.evidence
    assert "not what sending to the segment adds" in draft.evidence


def test_one_uplift_alone_ranks_nothing() -> None:
    ranking = rank_segments("c", [rate("loyal", ratio=1.5), rate("new")], {"new": uplift(0.2)})
    assert [each.rate.segment_name for each in ranking.segments] == ["loyal", "new"]
    assert ranking.segments[1].uplift is not None
    assert "ranked by how they convert" in ranking.warnings[0]
    assert recommended(draft_segment(ranking)).effect_metric == "conversion_rate"
    alone = rank_segments("c", [rate("new", ratio=1.09)], {"new": uplift(0.2)})
    assert "Whether one gains 10% conversions per view" in withheld(draft_segment(alone)).message
