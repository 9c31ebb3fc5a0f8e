"""Which hours and which channel are recommended, in words, and when none is."""

import math
from dataclasses import replace

import numpy as np
import pytest

from services.optimizer.domain.offers.answer import Interval
from services.optimizer.domain.recommendations.channels import (
    ChannelChoice,
    ChannelCosts,
    ChannelSums,
    choose_channel,
)
from services.optimizer.domain.recommendations.drafts import (
    draft_channel,
    draft_timing,
)
from services.optimizer.domain.recommendations.timing import ReachedUsers, TimingChoice
from services.optimizer.domain.recommendations.withholding import withhold_timing
from tests.unit.optimizer.draft_outcomes import recommended, withheld


def timing(
    *, hour: int = 0, confidence: float = 0.97, effect: float = 0.3, upper: float = 0.5, most: float = 0.5
) -> TimingChoice:
    return TimingChoice(
        hour=hour,
        best_single_hour=0,
        effect=effect,
        measured_effect=effect + 0.05,
        confidence=confidence,
        interval=Interval(lower=0.1, upper=upper),
        most_effect=most,
        most_hour=13,
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
    nothing = withheld(draft_timing(timing(effect=0.03, confidence=0.2, upper=0.09, most=0.09)))
    assert nothing.reason == "NO_BETTER_CHOICE"
    others = withheld(draft_timing(timing(effect=0.03, confidence=0.2, upper=0.09, most=0.2)))
    assert others.reason == "GAIN_UNCERTAIN"
    assert "ends at +20% (that of 1:00 PM)" in others.message
    own = withheld(draft_timing(replace(timing(confidence=0.5), most_hour=None)))
    assert "ends at +50% (that of each user's own best hour)" in own.message
    assert "+3%" in nothing.message
    assert recommended(draft_timing(timing())).interval == Interval(lower=0.1, upper=0.5)
    assert "600 conversions" in recommended(draft_timing(timing())).evidence
    told = recommended(draft_timing(timing())).evidence
    assert "The gain of what is recommended was measured as +35%." in told
    assert "so +30% is told" in told
    assert "luck" not in recommended(draft_timing(replace(timing(), measured_effect=0.301))).evidence


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
        probability=0.9,
        compared=2,
        campaigns=5,
        current_campaigns=6,
        most_effect=0.28,
        most_channel=3,
        costs=None,
    )
    outcome = withheld(draft_channel(unsure))
    # 1 - 2 (1 - 0.9) = 0.8 is a bound and no probability; 0.95 by itself makes it 0.9.
    assert unsure.confidence == pytest.approx(0.8)
    assert (
        "(CHANNEL_EMAIL, +10%) is better with a probability of 0.900 by itself; as the best looking of 2"
        " compared it needs 0.950 (Bonferroni) and 10%"
    ) in outcome.message
    alone = withheld(draft_channel(replace(unsure, probability=0.5, compared=1)))
    assert "a probability of 0.50; asked for is 0.90 and 10%" in alone.message
    assert outcome.reason == "GAIN_UNCERTAIN"
    assert "+28% (that of CHANNEL_SMS, of which less is known than of CHANNEL_EMAIL)." in outcome.message
    same = withheld(draft_channel(replace(unsure, most_channel=2)))
    assert "the highest 90 % interval ends at +28% (that of CHANNEL_EMAIL)." in same.message
    assert withheld(draft_channel(replace(unsure, most_effect=0.09))).reason == "NO_BETTER_CHOICE"
    unknown = withheld(draft_channel(replace(unsure, most_effect=None, most_channel=None)))
    assert (unknown.reason, "that of" in unknown.message) == ("GAIN_UNCERTAIN", False)
    sure = replace(unsure, effect=0.73, probability=0.999)
    slight = withheld(draft_channel(replace(sure, effect=0.09, most_effect=0.11)))
    assert slight.reason == "GAIN_UNCERTAIN"
    assert withheld(draft_channel(replace(sure, effect=0.09, most_effect=0.098))).reason == "NO_BETTER_CHOICE"
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
    assert "costs 0.53 over the other channel against 0.40 USD over today's" in refused.message
    assert "redeemed offers are in it only where" in refused.message
    cheap = replace(dear, per_conversion=0.39, currency_code="")
    said = recommended(draft_channel(replace(sure, costs=cheap))).evidence
    assert "costs 0.39 over the other channel against 0.40 currency units" in said
    assert "allows for 2 other channels compared (Bonferroni): the probability is at least that" in said
    assert "Bonferroni" not in recommended(draft_channel(replace(sure, compared=1))).evidence


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
