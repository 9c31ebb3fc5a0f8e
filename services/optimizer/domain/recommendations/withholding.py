"""Why nothing is recommended, in words."""

from dataclasses import dataclass
from datetime import datetime

from services.optimizer.domain.features import MICROS_PER_UNIT
from services.optimizer.domain.offers.recommendation import Comparison, OfferRecommendation
from services.optimizer.domain.recommendations.best_of import needed_alone
from services.optimizer.domain.recommendations.channels import ChannelCosts
from services.optimizer.domain.recommendations.recommendations import (
    CAMPAIGN_ENDED,
    COST_NOT_BETTER,
    CURRENT_OFFER_CONSTRAINED,
    GAIN_UNCERTAIN,
    NO_BETTER_CHOICE,
    REVENUE_UNKNOWN,
    RecommendationType,
    Withheld,
)
from services.optimizer.domain.recommendations.timing import MINIMUM_USERS, REACHED_DAYS, ReachedUsers
from services.optimizer.domain.send_time.timing_gain import LEAST_CAMPAIGNS, LEAST_CONVERSIONS
from services.optimizer.domain.training_window import WINDOW_DAYS


def no_better(kind: RecommendationType, message: str) -> Withheld:
    """Return that the data shows nothing better than today's."""
    return Withheld(type=kind, reason=NO_BETTER_CHOICE, message=message)


def gain_uncertain(kind: RecommendationType, message: str) -> Withheld:
    """Return that the data cannot tell whether anything is better than today's."""
    return Withheld(type=kind, reason=GAIN_UNCERTAIN, message=message)


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """What other choices may gain, none of which is surely enough better.

    `said` tells of the best of them. `most` is the highest upper end of the 90 % intervals of what any of
    them gains, None where one is unknown, and `most_of` says whose that is; `smallest` is the gain that
    matters, and `gain` says of what.
    """

    said: str
    most: float | None
    smallest: float
    gain: str
    most_of: str = ""


def say_unsure(choice: str, probability: float, asked: float, *, compared: int = 1, gain: str = "") -> str:
    """Return how unsure the best other choice is, and what it falls short of, in words.

    `probability` is its own; the best looking of several needs a higher one (`best_of`). `gain` is what is
    asked for beside it.
    """
    beside = f" and {gain}" if gain else ""
    if compared == 1:
        return (
            f"The best other choice ({choice}) is better with a probability of {probability:.2f}; asked for"
            f" is {asked:.2f}{beside}"
        )
    return (
        f"The best other choice ({choice}) is better with a probability of {probability:.3f} by itself; as"
        f" the best looking of {compared} compared it needs {needed_alone(asked, compared):.3f}"
        f" (Bonferroni){beside}"
    )


def withhold_unsure(kind: RecommendationType, prospect: Prospect) -> Withheld:
    """Return that nothing is better where intervals exclude the gain that matters, else that nobody knows.

    An interval that includes none as well as that gain shows no lack of a better choice (Altman & Bland,
    "Absence of evidence is not evidence of absence", BMJ 311, 1995); excluding it does (Schuirmann, J.
    Pharmacokinetics and Biopharmaceutics 15, 1987). Each interval's end is used as it is: that all lie below
    is claimed no more often by mistake than one alone (intersection-union: Berger, Technometrics 24, 1982).
    """
    gain = f"{prospect.smallest:.0%} {prospect.gain}"
    whose = f" (that of {prospect.most_of})" if prospect.most_of else ""
    if prospect.most is not None and prospect.most < prospect.smallest:
        return no_better(
            kind,
            f"{prospect.said}. No other choice gains {gain}: the highest 90 % interval ends at"
            f" {prospect.most:+.1%}{whose}.",
        )
    most = "" if prospect.most is None else f": the highest 90 % interval ends at {prospect.most:+.0%}{whose}"
    return gain_uncertain(kind, f"{prospect.said}. Whether one gains {gain} is not known{most}.")


def withhold_constrained(recommended: OfferRecommendation, comparison: Comparison, currency: str) -> Withheld:
    """Return why an offer that gains nothing is not recommended, though today's breaks a constraint."""
    current, best = recommended.current_offer_micros or 0, money(recommended.offer_micros, currency)
    gain = "" if comparison.improvement is None else f" ({comparison.improvement.value:+.0%} profit per view)"
    return Withheld(
        type=RecommendationType.OFFER_AMOUNT,
        reason=CURRENT_OFFER_CONSTRAINED,
        message=(
            f"The current offer, {money(current, currency)},"
            f" {' and '.join(str(each) for each in recommended.broken_by_current)}. The best offer that keeps"
            f" every constraint is {best}; it is better with a probability of"
            f" {comparison.confidence:.2f}{gain}, and so not recommended for what it gains. To keep the"
            " constraint make that offer, else loosen it (SetOfferConstraints)."
        ),
    )


def withhold_without_revenue() -> Withheld:
    """Return why no offer is recommended where nobody knows what a conversion brings."""
    return Withheld(
        type=RecommendationType.OFFER_AMOUNT,
        reason=REVENUE_UNKNOWN,
        message=(
            f"No revenue of conversions is recorded in the {WINDOW_DAYS} whole days before today, so nobody"
            " knows what an offer may cost; record revenue with conversions. (OptimizeOffer by the objective"
            " conversion_rate says which offer converts most, whatever it costs.)"
        ),
    )


def withhold_ended(kind: RecommendationType, end_at: datetime) -> Withheld:
    """Return why nothing is recommended for a campaign that is over; `end_at` is in the reporting zone."""
    return Withheld(
        type=kind,
        reason=CAMPAIGN_ENDED,
        message=f"The campaign ended on {end_at:%Y-%m-%d}; upsert it with a later end_at if it goes on.",
    )


def withhold_timing(sent_users: int, reached: ReachedUsers | None) -> Withheld:
    """Return why no hour can be chosen for a campaign that was sent to so many users lately."""
    sent = f"to {sent_users}" if sent_users else "to none"
    if sent_users < MINIMUM_USERS:
        return Withheld(
            type=RecommendationType.TIMING,
            reason="TOO_FEW_REACHED",
            message=(
                f"In the {REACHED_DAYS} whole days before today this campaign was delivered {sent} of the"
                f" users whose deliveries are recorded, and {MINIMUM_USERS} are needed to tell hours apart."
            ),
        )
    known = 0 if reached is None else int(reached.known.sum())
    if known < MINIMUM_USERS:
        return Withheld(
            type=RecommendationType.TIMING,
            reason="SEND_TIMES_UNKNOWN",
            message=(
                f"Of {sent_users} users lately reached {known} have send times, and {MINIMUM_USERS} are"
                " needed; the job send_times computes them."
            ),
        )
    if reached is not None and bool(reached.is_quiet.all()):
        return Withheld(
            type=RecommendationType.TIMING,
            reason="ALL_HOURS_QUIET",
            message="Every hour is a quiet one for some of the users lately reached.",
        )
    return Withheld(
        type=RecommendationType.TIMING,
        reason="TIMING_GAIN_UNKNOWN",
        message=(
            f"What another hour gains is not known: fewer than {LEAST_CONVERSIONS} deliveries to users whose"
            f" hours are known led to a conversion, or those of fewer than {LEAST_CAMPAIGNS} campaigns did,"
            " or the job send_times has not fitted its profile since."
        ),
    )


def withhold_dear_channel(name: str, effect: float, costs: ChannelCosts) -> Withheld:
    """Return why a channel that converts more is not recommended."""
    return Withheld(
        type=RecommendationType.CHANNEL,
        reason=COST_NOT_BETTER,
        message=(
            f"{name} brings {effect:+.0%} conversions per impression, but a conversion costs no less over it."
            f" {say_costs(costs)}"
        ),
    )


def say_costs(costs: ChannelCosts | None) -> str:
    """Return what both channels cost, in words: the other one against the current one."""
    if costs is None:
        return (
            "What conversions cost is not compared: no costs are recorded for one of the channels, or their"
            " campaigns count in several currencies."
        )
    return (
        f"A conversion costs {costs.per_conversion:.2f} over the other channel against"
        f" {costs.current_per_conversion:.2f} {costs.currency_code or 'currency units'} over today's,"
        f" an impression {costs.per_impression:.4f} against {costs.current_per_impression:.4f}: as events and"
        " imported costs carry them, so that redeemed offers are in it only where those have them."
    )


def money(micros: int, currency: str) -> str:
    """Return an amount in words."""
    return f"{micros / MICROS_PER_UNIT:.2f} {currency}".rstrip()
