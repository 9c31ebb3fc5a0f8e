"""Checks of what requests have in common, each by its field path."""

from datetime import date
from typing import Final

from gen.campaigns.type.v1 import campaign_pb2
from services.common.errors import invalid_field
from services.common.wire import parse_date

LONGEST_ID: Final = 128
LONGEST_COMMENT: Final = 500
FIRST_YEAR: Final = 2
LAST_YEAR: Final = 9998


def required_id(text: str, field: str) -> str:
    """Return what names a campaign, a user or a recommendation: 1 to 128 characters, no NUL."""
    if not text:
        raise invalid_field(field, "is required", "FIELD_REQUIRED")
    return optional_text(text, field, longest=LONGEST_ID)


def optional_text(text: str, field: str, *, longest: int) -> str:
    """Return a text of at most `longest` characters, without NUL; it may be empty."""
    if len(text) > longest or "\0" in text:
        raise invalid_field(field, f"must have at most {longest} characters and no NUL", "TEXT_INVALID")
    return text


def optional_share(value: float | None, field: str) -> float | None:
    """Return a share from 0 to 1, None where none is set."""
    if value is not None and not 0.0 <= value <= 1.0:
        raise invalid_field(field, "must be from 0 to 1", "VALUE_OUT_OF_RANGE")
    return value


def optional_date(text: str, field: str) -> date | None:
    """Return the calendar date of a text, None for the empty one.

    Years 1 and 9999 are refused as those of timestamps are: their days have no times in some zones.
    """
    parsed = parse_date(text, field) if text else None
    if parsed is not None and not FIRST_YEAR <= parsed.year <= LAST_YEAR:
        raise invalid_field(
            field, f"must be of a year from {FIRST_YEAR} to {LAST_YEAR}", "VALUE_OUT_OF_RANGE"
        )
    return parsed


def required_campaign_type(campaign_type: "campaign_pb2.CampaignType.ValueType", field: str) -> int:
    """Return a campaign type that must be said."""
    if campaign_type == campaign_pb2.CAMPAIGN_TYPE_UNSPECIFIED:
        raise invalid_field(field, "is required", "FIELD_REQUIRED")
    if campaign_type not in campaign_pb2.CampaignType.values():
        raise invalid_field(field, "is no known campaign type", "VALUE_UNKNOWN")
    return campaign_type


def optional_limit(limit: int | None, *, default: int, most: int) -> int:
    """Return how many to answer with at most; `limit` None where it is unset."""
    if limit is None:
        return default
    if not 1 <= limit <= most:
        raise invalid_field("limit", f"must be from 1 to {most}", "VALUE_OUT_OF_RANGE")
    return limit
