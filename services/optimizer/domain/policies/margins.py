"""The gross margins that a policy's profit is counted with, and how sure it is where nobody knows one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from services.optimizer.domain.campaigns import MerchantTerms
from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.policies.off_policy import LoggedRewards, probability_above_zero

LIKELY_MARGINS: Final = np.linspace(0.025, 0.975, 20)
"""Middles of equal parts of 0 to 1: what a margin that nobody knows may be."""
_MOST_NAMED: Final = 5


class MarginSource(StrEnum):
    """Whence a margin is; the values are the words of the wire."""

    CAMPAIGN = "campaign"
    REQUEST = "request"
    MERCHANT = "merchant"
    ASSUMED = "assumed"


@dataclass(frozen=True, kw_only=True)
class PolicyMargin:
    """The share of a campaign's revenue that is earned; `terms` are its merchant's, for that source."""

    campaign_id: str
    rate: float
    source: MarginSource
    terms: MerchantTerms | None = None


def choose_margin(
    campaign_id: str, *, own: float | None, asked: float | None, terms: MerchantTerms
) -> PolicyMargin:
    """Return the campaign's own margin, else the one asked for, else its merchant's mean, else 1."""
    if own is not None:
        return PolicyMargin(campaign_id=campaign_id, rate=own, source=MarginSource.CAMPAIGN)
    if asked is not None:
        return PolicyMargin(campaign_id=campaign_id, rate=asked, source=MarginSource.REQUEST)
    if terms.mean_margin is not None:
        return PolicyMargin(
            campaign_id=campaign_id, rate=terms.mean_margin, source=MarginSource.MERCHANT, terms=terms
        )
    return PolicyMargin(campaign_id=campaign_id, rate=1.0, source=MarginSource.ASSUMED)


def warn_of_margins(margins: Sequence[PolicyMargin]) -> Iterator[str]:
    """Say which margins the catalog does not have."""
    for each in margins:
        if each.terms is not None:
            yield (
                f"No gross margin is known for {each.campaign_id}; the mean of the merchant's"
                f" {each.terms.campaigns_with_margin} campaigns with one is taken: {each.rate:.3f}"
                f" ({each.terms.lowest_margin:.3f} to {each.terms.highest_margin:.3f})."
            )
    assumed = [each.campaign_id for each in margins if each.source is MarginSource.ASSUMED]
    if assumed:
        more = f" and {len(assumed) - _MOST_NAMED} more" if len(assumed) > _MOST_NAMED else ""
        yield (
            f"No gross margin is known for {', '.join(assumed[:_MOST_NAMED])}{more}, nor for their merchants'"
            " campaigns, so all revenue is taken for margin: values are likely too high, those of high offers"
            " most. confidence takes every margin from 0 to 1 for as likely; gross_margin_rate says another."
        )


def confidence_over_margins(none: LoggedRewards, whole: LoggedRewards) -> float | None:
    """Return the mean probability that the policy earns more, over all margins that nobody knows.

    Args:
        none: the rewards with unknown margins taken for 0.
        whole: the same decisions with them taken for 1. Rewards are linear in the margin, and so is the
            reward model (ridge regression), so that what lies between needs no further fit.
    """
    chances = [probability_above_zero(gains, none.user) for gains in _between(none.gains, whole.gains)]
    known = [chance for chance in chances if chance is not None]
    return float(np.mean(known)) if known else None


def _between(first: FloatArray, last: FloatArray) -> Iterator[FloatArray]:
    for margin in LIKELY_MARGINS.tolist():
        yield np.asarray((1.0 - margin) * first + margin * last)
