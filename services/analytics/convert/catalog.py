"""The catalog between the wire and the domain; everything wrong with a request is named at once."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import TypeVar
from zoneinfo import available_timezones

from google.protobuf.timestamp_pb2 import Timestamp

from gen.campaigns.analytics.v1 import catalog_service_pb2 as pb
from gen.campaigns.type.v1.campaign_pb2 import CampaignType, Channel
from services.analytics.domain.catalog import Campaign, Merchant, User
from services.common.errors import (
    DomainError,
    FieldViolation,
    ResourceExhaustedError,
    invalid_field,
    invalid_fields,
)
from services.common.paging import decode_own_token, encode_page_token, unusable_token
from services.common.wire import (
    datetime_to_timestamp,
    micros_to_money,
    money_to_micros,
    timestamp_to_datetime,
)

MAXIMUM_ENTRIES = 10_000
MAXIMUM_ID_LENGTH = 128
MAXIMUM_NAME_LENGTH = 256
MAXIMUM_SEGMENTS = 64
_CURRENCY_LENGTH = 3
_MAXIMUM_LATITUDE, _MAXIMUM_LONGITUDE = 90, 180

Proto = TypeVar("Proto")
Entry = TypeVar("Entry")


class _Found:
    """What is wrong with a request, collected."""

    def __init__(self) -> None:
        self.violations: list[FieldViolation] = []

    def add(self, field: str, description: str, reason: str) -> None:
        self.violations.append(FieldViolation(field=field, description=description, reason=reason))

    def take(self, error: DomainError) -> None:
        self.violations += error.violations

    def check_text(self, field: str, text: str, *, maximum: int, required: bool = False) -> None:
        if required and not text:
            self.add(field, "must not be empty", "FIELD_REQUIRED")
        if len(text) > maximum:
            self.add(field, f"must have at most {maximum} characters", "TEXT_INVALID")
        if "\0" in text:
            self.add(field, "must not hold a NUL character", "TEXT_INVALID")

    def check_currency(self, field: str, code: str) -> None:
        if code and not (
            len(code) == _CURRENCY_LENGTH and code.isascii() and code.isalpha() and code.isupper()
        ):
            self.add(field, "must be three capital letters, such as USD", "TEXT_INVALID")

    def check_bounds(self, field: str, value: float, lower: float, upper: float) -> None:
        if not lower <= value <= upper:
            self.add(field, f"must be from {lower} to {upper}", "VALUE_OUT_OF_RANGE")


def campaigns_from_proto(request: pb.UpsertCampaignsRequest) -> Sequence[Campaign]:
    """Return the campaigns of a request; raises INVALID_ARGUMENT naming every field that breaks its rule."""
    return _read_all(
        "campaigns", request.campaigns, _campaign_from_proto, lambda c: c.campaign_id, "campaign_id"
    )


def merchants_from_proto(request: pb.UpsertMerchantsRequest) -> Sequence[Merchant]:
    """Return the merchants of a request; raises INVALID_ARGUMENT naming every field that breaks its rule."""
    return _read_all(
        "merchants", request.merchants, _merchant_from_proto, lambda m: m.merchant_id, "merchant_id"
    )


def users_from_proto(request: pb.UpsertUsersRequest) -> Sequence[User]:
    """Return the users of a request; raises INVALID_ARGUMENT naming every field that breaks its rule."""
    return _read_all("users", request.users, _user_from_proto, lambda u: u.user_id, "user_id")


def _read_all(
    name: str,
    protos: Sequence[Proto],
    read: Callable[[Proto, str, "_Found"], Entry],
    key: Callable[[Entry], Hashable],
    key_name: str,
) -> list[Entry]:
    if not protos:
        raise invalid_field(name, "must hold at least one entry", "FIELD_REQUIRED")
    if len(protos) > MAXIMUM_ENTRIES:
        raise ResourceExhaustedError(
            f"a request holds at most {MAXIMUM_ENTRIES} {name}, this one has {len(protos)}",
            reason="BATCH_TOO_LARGE",
            metadata={"limit": str(MAXIMUM_ENTRIES)},
        )
    found = _Found()
    entries = [read(proto, f"{name}[{index}]", found) for index, proto in enumerate(protos)]
    for index in _repeated(key(entry) for entry in entries):
        found.add(f"{name}[{index}].{key_name}", "stands earlier in this request", "DUPLICATE_ENTRY")
    if found.violations:
        raise invalid_fields(found.violations)
    return entries


def _repeated(keys: Iterable[Hashable]) -> Iterator[int]:
    seen = set()
    for index, key in enumerate(keys):
        if key in seen:
            yield index
        seen.add(key)


def _campaign_from_proto(proto: pb.Campaign, path: str, found: _Found) -> Campaign:
    found.check_text(f"{path}.campaign_id", proto.campaign_id, maximum=MAXIMUM_ID_LENGTH, required=True)
    found.check_text(f"{path}.campaign_name", proto.campaign_name, maximum=MAXIMUM_NAME_LENGTH)
    found.check_currency(f"{path}.currency_code", proto.currency_code)
    if proto.campaign_type not in CampaignType.values():
        found.add(f"{path}.campaign_type", "must be a campaign type of the contract", "VALUE_UNKNOWN")
    if proto.channel not in Channel.values():
        found.add(f"{path}.channel", "must be a channel of the contract", "VALUE_UNKNOWN")
    merchant_id = proto.merchant_id if proto.HasField("merchant_id") else None
    if merchant_id is not None and merchant_id < 0:
        found.add(f"{path}.merchant_id", "must not be negative", "VALUE_OUT_OF_RANGE")
    margin = proto.gross_margin_rate if proto.HasField("gross_margin_rate") else None
    if margin is not None:
        found.check_bounds(f"{path}.gross_margin_rate", margin, 0, 1)
    start_at = (
        _read_time(proto.start_time, f"{path}.start_time", found) if proto.HasField("start_time") else None
    )
    end_at = _read_time(proto.end_time, f"{path}.end_time", found) if proto.HasField("end_time") else None
    if start_at is not None and end_at is not None and end_at <= start_at:
        found.add(f"{path}.end_time", "must be after start_time", "RANGE_REVERSED")
    return Campaign(
        campaign_id=proto.campaign_id,
        campaign_name=proto.campaign_name or None,
        campaign_type=proto.campaign_type or None,
        merchant_id=merchant_id,
        channel=proto.channel or None,
        offer_amount_micros=_read_offer(proto, path, found),
        gross_margin_rate=margin,
        currency_code=proto.currency_code or None,
        start_at=start_at,
        end_at=end_at,
    )


def _read_offer(proto: pb.Campaign, path: str, found: _Found) -> int | None:
    if not proto.HasField("offer_amount"):
        return None
    try:
        micros = money_to_micros(proto.offer_amount, f"{path}.offer_amount")
    except DomainError as error:
        found.take(error)
        return None
    if micros < 0:
        found.add(f"{path}.offer_amount", "must not be negative", "MONEY_OUT_OF_RANGE")
    return micros


def _read_time(time: Timestamp, field: str, found: _Found) -> datetime | None:
    try:
        return timestamp_to_datetime(time, field)
    except DomainError as error:
        found.take(error)
        return None


def _merchant_from_proto(proto: pb.Merchant, path: str, found: _Found) -> Merchant:
    if not proto.HasField("merchant_id"):
        found.add(f"{path}.merchant_id", "must be set", "FIELD_REQUIRED")
    elif proto.merchant_id < 0:
        found.add(f"{path}.merchant_id", "must not be negative", "VALUE_OUT_OF_RANGE")
    found.check_text(f"{path}.merchant_name", proto.merchant_name, maximum=MAXIMUM_NAME_LENGTH)
    found.check_text(f"{path}.category", proto.category, maximum=MAXIMUM_ID_LENGTH)
    found.check_currency(f"{path}.currency_code", proto.currency_code)
    has_place = proto.HasField("latitude"), proto.HasField("longitude")
    if any(has_place) and not all(has_place):
        missing = "longitude" if has_place[0] else "latitude"
        found.add(f"{path}.{missing}", "is required where the other coordinate is given", "FIELD_REQUIRED")
    found.check_bounds(f"{path}.latitude", proto.latitude, -_MAXIMUM_LATITUDE, _MAXIMUM_LATITUDE)
    found.check_bounds(f"{path}.longitude", proto.longitude, -_MAXIMUM_LONGITUDE, _MAXIMUM_LONGITUDE)
    return Merchant(
        merchant_id=proto.merchant_id,
        merchant_name=proto.merchant_name or None,
        category=proto.category or None,
        latitude=proto.latitude if has_place[0] else None,
        longitude=proto.longitude if has_place[1] else None,
        currency_code=proto.currency_code or None,
    )


def _user_from_proto(proto: pb.User, path: str, found: _Found) -> User:
    found.check_text(f"{path}.user_id", proto.user_id, maximum=MAXIMUM_ID_LENGTH, required=True)
    if proto.time_zone and proto.time_zone not in available_zones():
        found.add(f"{path}.time_zone", "must be an IANA name such as America/New_York", "TIME_ZONE_UNKNOWN")
    if len(proto.segments) > MAXIMUM_SEGMENTS:
        found.add(f"{path}.segments", f"must be at most {MAXIMUM_SEGMENTS}", "VALUE_OUT_OF_RANGE")
    for index, segment in enumerate(proto.segments):
        found.check_text(f"{path}.segments[{index}]", segment, maximum=MAXIMUM_ID_LENGTH, required=True)
    for index in _repeated(proto.segments):
        found.add(f"{path}.segments[{index}]", "stands earlier in this list", "DUPLICATE_ENTRY")
    sign_up = proto.sign_up_time
    return User(
        user_id=proto.user_id,
        sign_up_at=_read_time(sign_up, f"{path}.sign_up_time", found)
        if proto.HasField("sign_up_time")
        else None,
        time_zone=proto.time_zone or None,
        segments=tuple(sorted(proto.segments)),
    )


@cache
def available_zones() -> frozenset[str]:
    """Return the names of all IANA time zones; read from disk once."""
    return frozenset(available_timezones())


def campaigns_to_proto(campaigns: Sequence[Campaign], *, has_more: bool) -> pb.ListCampaignsResponse:
    """Return a page of campaigns."""
    token = encode_page_token({"campaign_id": campaigns[-1].campaign_id}) if has_more else ""
    return pb.ListCampaignsResponse(
        campaigns=[_campaign_to_proto(campaign) for campaign in campaigns], next_page_token=token
    )


def _campaign_to_proto(campaign: Campaign) -> pb.Campaign:
    offer = campaign.offer_amount_micros
    return pb.Campaign(
        campaign_id=campaign.campaign_id,
        campaign_name=campaign.campaign_name or "",
        campaign_type=CampaignType.ValueType(campaign.campaign_type or 0),
        merchant_id=campaign.merchant_id,
        channel=Channel.ValueType(campaign.channel or 0),
        offer_amount=None if offer is None else micros_to_money(offer),
        gross_margin_rate=campaign.gross_margin_rate,
        currency_code=campaign.currency_code or "",
        start_time=_time_to_proto(campaign.start_at),
        end_time=_time_to_proto(campaign.end_at),
    )


def _time_to_proto(time: datetime | None) -> Timestamp | None:
    return None if time is None else datetime_to_timestamp(time)


def merchants_to_proto(merchants: Sequence[Merchant], *, has_more: bool) -> pb.ListMerchantsResponse:
    """Return a page of merchants."""
    token = encode_page_token({"merchant_id": merchants[-1].merchant_id}) if has_more else ""
    return pb.ListMerchantsResponse(
        merchants=[
            pb.Merchant(
                merchant_id=merchant.merchant_id,
                merchant_name=merchant.merchant_name or "",
                category=merchant.category or "",
                latitude=merchant.latitude,
                longitude=merchant.longitude,
                currency_code=merchant.currency_code or "",
            )
            for merchant in merchants
        ],
        next_page_token=token,
    )


def users_to_proto(users: Sequence[User], *, has_more: bool) -> pb.ListUsersResponse:
    """Return a page of users."""
    token = encode_page_token({"user_id": users[-1].user_id}) if has_more else ""
    return pb.ListUsersResponse(
        users=[
            pb.User(
                user_id=user.user_id,
                sign_up_time=_time_to_proto(user.sign_up_at),
                time_zone=user.time_zone or "",
                segments=user.segments,
            )
            for user in users
        ],
        next_page_token=token,
    )


def text_cursor_from_proto(page_token: str, key: str) -> str:
    """Return the text after which a page begins, "" for the first page."""
    cursor = decode_own_token(page_token, keys=[key]).get(key, "")
    if not isinstance(cursor, str) or "\0" in cursor:
        raise unusable_token()
    return cursor


def number_cursor_from_proto(page_token: str, key: str) -> int:
    """Return the number after which a page begins, -1 for the first page."""
    cursor = decode_own_token(page_token, keys=[key]).get(key, -1)
    if not isinstance(cursor, int) or not -1 <= cursor < 2**31:
        raise unusable_token()
    return cursor
