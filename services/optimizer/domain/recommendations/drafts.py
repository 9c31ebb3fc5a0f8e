"""From what the estimates of hours, segments and channels say to what is recommended, in words."""

from collections.abc import Mapping
from typing import Final

from scipy.special import ndtr

from services.optimizer.domain.offers.answer import Interval
from services.optimizer.domain.recommendations.best_of import at_least, say_allowance
from services.optimizer.domain.recommendations.channels import CHANNEL_METHOD, ChannelChoice
from services.optimizer.domain.recommendations.recommendations import (
    MINIMUM_CONFIDENCE,
    Draft,
    RecommendationType,
    Withheld,
)
from services.optimizer.domain.recommendations.timing import (
    SMALLEST_GAIN,
    TIMING_METHOD,
    TimingChoice,
)
from services.optimizer.domain.recommendations.withholding import (
    Prospect,
    gain_uncertain,
    no_better,
    say_costs,
    say_unsure,
    withhold_dear_channel,
    withhold_unsure,
)
from services.optimizer.domain.segments.ranking import RankedSegment, SegmentRanking
from services.optimizer.domain.segments.segments import QUANTILE, SegmentRate, claimable
from services.optimizer.domain.segments.uplift import Uplift, UpliftBasis

CHANNEL_NAMES: Final[Mapping[int, str]] = {
    1: "CHANNEL_PUSH",
    2: "CHANNEL_EMAIL",
    3: "CHANNEL_SMS",
    4: "CHANNEL_IN_APP",
}
"""The wire's names of channels, by number."""
OWN_HOUR: Final = "own_best_hour"
SMALLEST_SEGMENT_GAIN: Final = 0.1
"""What a segment must convert more than everybody, to be worth leaving others out for."""
SMALLEST_CHANNEL_GAIN: Final = 0.1
"""What a channel must gain to matter: expected of what is recommended, and nothing is better only below."""
OBSERVATIONAL: Final = "observational"
RANDOMISED: Final = "randomised"
RATIO_METHOD: Final = "log_ratio_users_bonferroni"
UPLIFT_METHOD: Final = "uplift_normal_bonferroni"
_SEGMENTS: Final = "segments"
_NOON: Final = 12


def draft_timing(choice: TimingChoice) -> Draft | Withheld:
    """Return when to send, where it is likely enough better than when it is sent today."""
    wording = _say_hour(choice.hour)
    if choice.effect < SMALLEST_GAIN or choice.confidence < MINIMUM_CONFIDENCE:
        return withhold_unsure(
            RecommendationType.TIMING,
            Prospect(
                said=(
                    f"The best other choice ({wording}, {choice.effect:+.0%}) gains {SMALLEST_GAIN:.0%} or"
                    f" more with a probability of {choice.confidence:.2f}, and {MINIMUM_CONFIDENCE:.2f} is"
                    " asked for"
                ),
                most=choice.most_effect,
                most_of=_say_hour(choice.most_hour),
                smallest=SMALLEST_GAIN,
                gain="conversions per impression",
            ),
        )
    own = f"Each user's own best hour would gain {choice.own_hour_effect:+.0%} (OptimizeSendTime has it)."
    best = f"Whoever wants one hour for all would best send at {_hour(choice.best_single_hour)}."
    return Draft(
        type=RecommendationType.TIMING,
        choice=OWN_HOUR if choice.hour is None else str(choice.hour),
        text=f"Send at {wording}, in the user's own time zone.",
        effect=choice.effect,
        interval=choice.interval,
        effect_metric="conversions_per_impression",
        confidence=choice.confidence,
        confidence_method=TIMING_METHOD,
        evidence=(
            f"The gain is of {choice.users} users lately reached: conversions expected of their deliveries at"
            " the hours recommended, over those expected at the hours this campaign was sent at. What an hour"
            f" is worth was checked on {choice.conversions} conversions of deliveries that it was not"
            f" fitted to.{_say_luck(choice)} The confidence is that the gain is {SMALLEST_GAIN:.0%} or more."
            f" {best if choice.hour is None else own} Hours were not drawn by chance: interval and confidence"
            " cover noise, and no other reason for which hours do well."
        ),
        evidence_kind=OBSERVATIONAL,
    )


def _say_luck(choice: TimingChoice) -> str:
    """Return what of the gain is taken for luck, in words; nothing where that does not show."""
    told, measured = f"{choice.effect:+.0%}", f"{choice.measured_effect:+.0%}"
    if told == measured:
        return ""
    return (
        f" The gain of what is recommended was measured as {measured}. Only what looks large is recommended,"
        f" and some of it looks larger than it is by luck, so {told} is told, and the interval reaches lower."
    )


def draft_segment(ranking: SegmentRanking) -> Draft | Withheld:
    """Return the first segment, where what it gains is likely enough above nothing."""
    first, others = ranking.segments[0], len(ranking.segments)
    if ranking.is_by_uplift and first.uplift is not None:
        return _draft_uplift(ranking, first, first.uplift)
    rate = first.rate
    if rate.ratio is None or rate.ratio_interval is None or rate.probability_above_average is None:
        return gain_uncertain(
            RecommendationType.SEGMENT, "Nobody of any segment converted, so nothing is known of any."
        )
    confidence = at_least(rate.probability_above_average, others)
    if rate.ratio < 1.0 + SMALLEST_SEGMENT_GAIN or confidence < MINIMUM_CONFIDENCE:
        return _withhold_segments(ranking, rate.ratio, rate.probability_above_average)
    return _segment_draft(
        rate,
        text=f"Send to users of the segment {rate.segment_name} first.",
        effect=rate.ratio - 1.0,
        interval=Interval(lower=rate.ratio_interval.lower - 1.0, upper=rate.ratio_interval.upper - 1.0),
        metric="conversion_rate",
        confidence=confidence,
        method=RATIO_METHOD,
        evidence=f"{first.evidence}{say_allowance(others, _SEGMENTS)}",
        kind=OBSERVATIONAL,
    )


def _withhold_segments(ranking: SegmentRanking, ratio: float, probability: float) -> Withheld:
    """Return why no segment is recommended for how it converts."""
    ends = {each.rate.segment_name: each.rate.ratio_interval for each in ranking.segments}
    uppers = {name: end.upper - 1.0 for name, end in ends.items() if end is not None}
    widest, best = max(uppers, key=uppers.__getitem__, default=""), ranking.segments[0].rate.segment_name
    return withhold_unsure(
        RecommendationType.SEGMENT,
        Prospect(
            said=say_unsure(
                f"segment {best}, {ratio - 1.0:+.1%}",
                probability,
                MINIMUM_CONFIDENCE,
                compared=len(ranking.segments),
                gain=f"{SMALLEST_SEGMENT_GAIN:.0%}",
            ),
            most=uppers[widest] if len(uppers) == len(ends) else None,
            most_of=widest,
            smallest=SMALLEST_SEGMENT_GAIN,
            gain="conversions per view over everybody whom its campaigns reach",
        ),
    )


def draft_channel(choice: ChannelChoice | None) -> Draft | Withheld:
    """Return the channel to send over, where it is likely enough better than today's."""
    if choice is None:
        return Withheld(
            type=RecommendationType.CHANNEL,
            reason="CHANNELS_UNKNOWN",
            message=(
                "Too few campaigns of this type on this campaign's channel and on another to compare them, or"
                " conversions of one of them at most, or the catalog has no channel for it."
            ),
        )
    name, current = CHANNEL_NAMES.get(choice.channel, ""), CHANNEL_NAMES.get(choice.current_channel, "")
    if choice.confidence < MINIMUM_CONFIDENCE or choice.effect < SMALLEST_CHANNEL_GAIN:
        return withhold_unsure(
            RecommendationType.CHANNEL,
            Prospect(
                said=say_unsure(
                    f"{name}, {choice.effect:+.0%}",
                    claimable(choice.probability),
                    MINIMUM_CONFIDENCE,
                    compared=choice.compared,
                    gain=f"{SMALLEST_CHANNEL_GAIN:.0%}",
                ),
                most=choice.most_effect,
                most_of=_say_widest_channel(choice, name),
                smallest=SMALLEST_CHANNEL_GAIN,
                gain="conversions per impression",
            ),
        )
    if choice.costs is not None and not choice.costs.gains:
        return withhold_dear_channel(name, choice.effect, choice.costs)
    return Draft(
        type=RecommendationType.CHANNEL,
        choice=name,
        text=f"Send over {name} instead of {current}.",
        effect=choice.effect,
        interval=choice.interval,
        effect_metric="conversions_per_impression",
        confidence=choice.confidence,
        confidence_method=CHANNEL_METHOD,
        evidence=(
            f"{choice.campaigns} campaigns of this type over {name} against {choice.current_campaigns} over"
            f" {current}. {say_costs(choice.costs)} Other campaigns chose their channels, so they may differ"
            " in more than these."
            f"{say_allowance(choice.compared, 'other channels', 'As the interval does, the confidence')}"
        ),
        evidence_kind=OBSERVATIONAL,
    )


def _say_widest_channel(choice: ChannelChoice, best: str) -> str:
    """Return whose interval ends highest: another's mean is no higher than the best's, so it is wider."""
    name = CHANNEL_NAMES.get(choice.most_channel or choice.channel, "")
    return name if name == best else f"{name}, of which less is known than of {best}"


def _draft_uplift(ranking: SegmentRanking, segment: RankedSegment, uplift: Uplift) -> Draft | Withheld:
    error = (uplift.interval.upper - uplift.interval.lower) / 2.0 / QUANTILE
    probability = float(ndtr(uplift.value / error)) if error > 0.0 else float(uplift.value > 0.0)
    compared = len(ranking.segments)
    confidence = at_least(probability, compared)
    if confidence < MINIMUM_CONFIDENCE:
        return _withhold_uplifts(ranking, claimable(probability))
    is_of_test, name = uplift.basis is UpliftBasis.AB_TEST, segment.rate.segment_name
    size = f"{uplift.value:+.3f} ({uplift.interval.lower:+.3f} to {uplift.interval.upper:+.3f})"
    return _segment_draft(
        segment.rate,
        text=(
            f"Send to users of the segment {name} first: there the tested variant adds most over its control,"
            f" {size} converting users per user."
            if is_of_test
            else f"Make the higher offers to users of the segment {name} first: there the highest offer drawn"
            f" adds most over the lowest, {size} conversions per delivery."
        ),
        effect=uplift.value,
        interval=uplift.interval,
        metric="uplift",
        confidence=confidence,
        method=UPLIFT_METHOD,
        evidence=f"{segment.evidence}{say_allowance(compared, _SEGMENTS)}",
        kind=RANDOMISED,
    )


def _withhold_uplifts(ranking: SegmentRanking, probability: float) -> Withheld:
    """Return why no segment is recommended for its uplift: any above nothing would matter."""
    name = ranking.segments[0].rate.segment_name
    uplifts = [each.uplift for each in ranking.segments]
    if all(each is not None and each.interval.upper <= 0.0 for each in uplifts):
        return no_better(
            RecommendationType.SEGMENT,
            f"Nothing is added in any segment: the 90 % interval of each uplift, as of {name}, ends at 0 or"
            " below.",
        )
    return gain_uncertain(
        RecommendationType.SEGMENT,
        f"{say_unsure(f'segment {name}', probability, MINIMUM_CONFIDENCE, compared=len(ranking.segments))};"
        " better is an uplift above nothing. Whether anything is added in any segment is not known.",
    )


def _segment_draft(
    rate: SegmentRate,
    *,
    text: str,
    effect: float,
    interval: Interval,
    metric: str,
    confidence: float,
    method: str,
    evidence: str,
    kind: str,
) -> Draft:
    return Draft(
        type=RecommendationType.SEGMENT,
        choice=rate.segment_name,
        text=text,
        effect=effect,
        interval=interval,
        effect_metric=metric,
        confidence=confidence,
        confidence_method=method,
        evidence=evidence,
        evidence_kind=kind,
    )


def _say_hour(hour: int | None) -> str:
    return "each user's own best hour" if hour is None else _hour(hour)


def _hour(hour: int) -> str:
    return f"{hour % _NOON or _NOON}:00 {'AM' if hour < _NOON else 'PM'}"
