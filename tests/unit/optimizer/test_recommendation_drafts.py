"""What is recommended, in words, and when nothing is."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from services.common.errors import FailedPreconditionError
from services.optimizer.domain.offers.answer import Interval
from services.optimizer.domain.recommendations.channels import (
    ChannelChoice,
    ChannelCosts,
    ChannelSums,
    choose_channel,
)
from services.optimizer.domain.recommendations.drafts import (
    draft_channel,
    draft_segment,
    draft_timing,
)
from services.optimizer.domain.recommendations.outcomes import EffectMetric, expect_effect, measured_by
from services.optimizer.domain.recommendations.recommendations import (
    Action,
    Draft,
    Recommendation,
    RecommendationType,
    Status,
    Withheld,
    withhold_repeated,
)
from services.optimizer.domain.recommendations.timing import ReachedUsers, TimingChoice
from services.optimizer.domain.recommendations.withholding import withhold_timing
from services.optimizer.domain.segments.ranking import rank_segments
from services.optimizer.domain.segments.segments import SegmentRate, SegmentSums, claimable, rate_segments
from services.optimizer.domain.segments.uplift import Uplift, UpliftBasis

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


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
    )


def recommended(outcome: Draft | Withheld) -> Draft:
    assert isinstance(outcome, Draft)
    return outcome


def withheld(outcome: Draft | Withheld) -> Withheld:
    assert isinstance(outcome, Withheld)
    return outcome


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
    assert "within the segment of the variant over the control of A/B tests" in draft.evidence
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
    # 0.01 at a standard error of 0.02 / 1.645 is 0.82 of one: 0.795, and of two segments 0.59.
    assert "segment loyal" in outcome.message
    assert "0.59" in outcome.message
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
    assert "0.82" in withheld(draft_segment(many)).message


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


def timing(
    *, hour: int = 0, confidence: float = 0.97, effect: float = 0.3, upper: float = 0.5
) -> TimingChoice:
    return TimingChoice(
        hour=hour,
        best_single_hour=0,
        effect=effect,
        measured_effect=effect + 0.05,
        confidence=confidence,
        interval=Interval(lower=0.1, upper=upper),
        own_hour_effect=0.32,
        users=50,
        conversions=600,
    )


def test_hours_are_told_as_people_say_them() -> None:
    assert "12:00 AM" in recommended(draft_timing(timing())).text
    assert "12:00 PM" in recommended(draft_timing(timing(hour=12))).text
    assert "7:00 PM" in recommended(draft_timing(timing(hour=19))).text
    assert "+32%" in recommended(draft_timing(timing(hour=19))).evidence
    unsure = withheld(draft_timing(timing(confidence=0.89)))
    assert unsure.reason == "GAIN_UNCERTAIN"
    assert "10% or more with a probability of 0.89" in unsure.message
    nothing = withheld(draft_timing(timing(effect=0.03, confidence=0.2, upper=0.09)))
    assert nothing.reason == "NO_BETTER_CHOICE"
    assert "+3%" in nothing.message
    assert recommended(draft_timing(timing())).interval == Interval(lower=0.1, upper=0.5)
    assert "600 conversions" in recommended(draft_timing(timing())).evidence
    assert "measured as +35%" in recommended(draft_timing(timing())).evidence


def test_why_no_hour_is_chosen() -> None:
    values = np.ones((40, 24))
    reached = ReachedUsers(hour_values=values, sent=values, is_quiet=np.ones(24, dtype=np.bool_))
    few = replace(reached, sent=np.where(np.arange(40) < 12, 1.0, 0.0)[:, np.newaxis] * values)
    awake = replace(reached, is_quiet=np.zeros(24, dtype=np.bool_))
    told = {
        (sent, kept is None): withhold_timing(sent, kept)
        for sent, kept in ((0, None), (29, few), (40, None), (41, few), (42, reached), (43, awake))
    }
    assert [each.reason for each in told.values()] == [
        "TOO_FEW_REACHED",
        "TOO_FEW_REACHED",
        "SEND_TIMES_UNKNOWN",
        "SEND_TIMES_UNKNOWN",
        "ALL_HOURS_QUIET",
        "TIMING_GAIN_UNKNOWN",
    ]
    assert "delivered to none" in told[0, True].message
    assert "Of 40 users lately reached 0 have" in told[40, True].message
    assert "Of 41 users lately reached 12 have" in told[41, False].message


def test_no_channel_is_no_recommendation() -> None:
    assert withheld(draft_channel(None)).reason == "CHANNELS_UNKNOWN"
    unsure = ChannelChoice(
        channel=2,
        current_channel=1,
        effect=0.1,
        interval=Interval(lower=-0.1, upper=0.3),
        confidence=0.8,
        campaigns=5,
        current_campaigns=6,
        most_effect=0.28,
        costs=None,
    )
    outcome = withheld(draft_channel(unsure))
    assert "CHANNEL_EMAIL" in outcome.message
    assert (outcome.reason, "+28%" in outcome.message) == ("GAIN_UNCERTAIN", True)
    assert withheld(draft_channel(replace(unsure, most_effect=0.09))).reason == "NO_BETTER_CHOICE"
    assert withheld(draft_channel(replace(unsure, most_effect=None))).reason == "GAIN_UNCERTAIN"
    sure = replace(unsure, effect=0.73, confidence=0.99)
    assert "What conversions cost is not compared" in recommended(draft_channel(sure)).evidence
    # 73 % more conversions of an impression at 2.31 times its cost: each costs a third more.
    dear = ChannelCosts(
        per_impression=0.0462,
        current_per_impression=0.02,
        per_conversion=0.534,
        current_per_conversion=0.4,
        currency_code="USD",
    )
    refused = withheld(draft_channel(replace(sure, costs=dear)))
    assert refused.reason == "COST_NOT_BETTER"
    assert "+73% conversions per impression" in refused.message
    assert "costs 0.53 against 0.40 USD" in refused.message
    assert "redeemed offers are in it only where" in refused.message
    cheap = replace(dear, per_conversion=0.39, currency_code="")
    said = recommended(draft_channel(replace(sure, costs=cheap))).evidence
    assert "costs 0.39 against 0.40 currency units" in said
    assert "best of several (Bonferroni)" in said


@pytest.mark.parametrize(
    ("campaigns", "reason"), [(80, "NO_BETTER_CHOICE"), (3, "GAIN_UNCERTAIN")], ids=["many", "few"]
)
def test_channels_are_alike_only_where_many_campaigns_say_so(campaigns: int, reason: str) -> None:
    """Rates of 3 to 7 % on either channel: the standard error of a mean of 80 is 3 %, of 3 it is a sixth."""
    sums = [
        ChannelSums(
            campaign_id=f"{channel}-{number}",
            channel=channel,
            impressions=10_000,
            conversions=round(500 + 200 * math.sin(number)) + 2 * (channel - 1),
            cost_micros=0,
        )
        for channel in (1, 2)
        for number in range(campaigns)
    ]
    choice = choose_channel(sums, 1)
    assert choice is not None
    assert choice.most_effect == pytest.approx(choice.interval.upper)  # there is one other
    outcome = withheld(draft_channel(choice))
    assert outcome.reason == reason
    third = [replace(each, channel=3, conversions=0) for each in sums[:campaigns]]
    with_silent = choose_channel([*sums, *third], 1)
    assert with_silent is not None
    assert with_silent.most_effect is None


def kept(status: Status, choice: str = "10") -> Recommendation:
    draft = Draft(
        type=RecommendationType.OFFER_AMOUNT,
        choice=choice,
        text="",
        effect=None,
        interval=None,
        effect_metric="",
        confidence=None,
        confidence_method="",
        evidence="",
        evidence_kind="observational",
    )
    return Recommendation(
        recommendation_id="r",
        campaign_id="c",
        status=status,
        draft=draft,
        inputs_key="k",
        created_at=NOW,
        expires_at=NOW + timedelta(days=14),
    )


def test_what_is_expected_is_of_the_metric_that_is_measured() -> None:
    offer = replace(kept(Status.OPEN).draft, effect=5.4, effect_metric="profit_per_view")
    assert expect_effect(offer) is None
    assert expect_effect(replace(offer, predicted_rate=0.3)) is None
    assert expect_effect(replace(offer, predicted_rate=0.3, previous_rate=0.2)) == pytest.approx(0.5)
    hours = replace(offer, type=RecommendationType.TIMING, effect=0.2)
    assert expect_effect(hours) == 0.2
    assert measured_by(hours.type) is EffectMetric.CONVERSIONS_PER_IMPRESSION
    assert expect_effect(replace(offer, type=RecommendationType.SEGMENT, effect=0.2)) is None
    assert measured_by(RecommendationType.SEGMENT) is EffectMetric.CONVERSION_RATE


ALLOWED = {
    Action.ACCEPT: {Status.OPEN},
    Action.DISMISS: {Status.OPEN, Status.ACCEPTED},
    Action.APPLY: {Status.OPEN, Status.ACCEPTED},
}
DONE = {Action.ACCEPT: Status.ACCEPTED, Action.DISMISS: Status.DISMISSED, Action.APPLY: Status.APPLIED}


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("action", list(ALLOWED))
def test_every_decision_from_every_status(action: Action, status: Status) -> None:
    recommendation = kept(status)
    if status is DONE[action]:
        assert recommendation.decided(action, NOW) is None
    elif status in ALLOWED[action]:
        decided = recommendation.decided(action, NOW)
        assert decided is not None
        assert (decided.status, decided.decided_at) == (DONE[action], NOW)
    else:
        with pytest.raises(FailedPreconditionError) as refused:
            recommendation.decided(action, NOW)
        assert refused.value.reason == "RECOMMENDATION_CLOSED"
        assert refused.value.metadata["status"] == status.value


def test_what_is_over_is_expired_before_the_job_says_so() -> None:
    with pytest.raises(FailedPreconditionError) as refused:
        kept(Status.ACCEPTED).decided(Action.APPLY, NOW + timedelta(days=14))
    assert refused.value.metadata["status"] == "expired"


def test_another_choice_may_follow_a_dismissed_one() -> None:
    dismissed = kept(Status.DISMISSED)
    assert withhold_repeated(kept(Status.OPEN, "12").draft, [dismissed]) is None
    assert withhold_repeated(dismissed.draft, []) is None
    repeated = withhold_repeated(dismissed.draft, [kept(Status.APPLIED, "12"), dismissed])
    assert repeated is not None
    assert (repeated.reason, "2026-12-04" in repeated.message) == ("DISMISSED", True)
