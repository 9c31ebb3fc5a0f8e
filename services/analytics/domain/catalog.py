"""What campaigns, merchants and users are; None is what the source does not know."""

from dataclasses import dataclass
from datetime import datetime

DEFAULT_CURRENCY_CODE = "USD"


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """A campaign as its source describes it; `campaign_type` and `channel` are the contract's numbers."""

    campaign_id: str
    campaign_name: str | None = None
    campaign_type: int | None = None
    merchant_id: int | None = None
    channel: int | None = None
    offer_amount_micros: int | None = None
    gross_margin_rate: float | None = None
    currency_code: str | None = None
    start_at: datetime | None = None
    end_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Merchant:
    """A merchant as its source describes it; a place is both coordinates, in degrees, or neither."""

    merchant_id: int
    merchant_name: str | None = None
    category: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    currency_code: str | None = None


@dataclass(frozen=True, kw_only=True)
class User:
    """A user as their source describes them; `segments` are sorted and distinct."""

    user_id: str
    sign_up_at: datetime | None = None
    time_zone: str | None = None
    segments: tuple[str, ...] = ()


def resolve_currency(campaign_currency: str | None, merchant_currency: str | None) -> str:
    """Return the currency of a campaign whose first event is still to come."""
    return campaign_currency or merchant_currency or DEFAULT_CURRENCY_CODE
