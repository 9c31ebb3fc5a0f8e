"""What a recommendation's money was counted with when it was made, so that its outcome is counted alike."""

from dataclasses import dataclass

from services.optimizer.domain.campaigns import Campaign
from services.optimizer.domain.offers.answer import OfferAnswer


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The gross margin rate (None: nobody knew one), and what an offer was predicted to earn.

    The values are of the objective profit, per view: at the offer recommended, and at the one it replaces;
    None for other types, and where the margin is.
    """

    currency_code: str
    gross_margin_rate: float | None
    predicted_profit: float | None = None
    previous_profit: float | None = None


def terms_of_campaign(campaign: Campaign) -> Terms:
    """Return the terms of what is no offer: the catalog's."""
    return Terms(currency_code=campaign.currency_code, gross_margin_rate=campaign.gross_margin_rate)


def terms_of_offer(answer: OfferAnswer) -> Terms:
    """Return the terms of an offer that was recommended by profit; the margin may be the merchant's mean."""
    recommended, case = answer.recommendation, answer.case
    margin = case.question.economics.gross_margin_rate
    if margin is None:
        return Terms(currency_code=case.currency_code, gross_margin_rate=None)
    comparison = recommended.comparison
    return Terms(
        currency_code=case.currency_code,
        gross_margin_rate=margin,
        predicted_profit=recommended.value_per_view,
        previous_profit=None if comparison is None else comparison.value_per_view,
    )
