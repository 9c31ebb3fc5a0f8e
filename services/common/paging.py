"""Opaque page tokens: what a list remembers between two pages, in a form that invites nobody to build one."""

import base64
import binascii
import json
from collections.abc import Collection, Mapping

from services.common.errors import DomainError, invalid_field

DEFAULT_PAGE_SIZE = 50
MAXIMUM_PAGE_SIZE = 1000
Cursor = Mapping[str, str | int | float]


def page_size(requested: int, *, default: int = DEFAULT_PAGE_SIZE, maximum: int = MAXIMUM_PAGE_SIZE) -> int:
    """Return the rows of a page: `default` for 0, at most `maximum`; negative is refused by field."""
    if requested < 0:
        raise invalid_field("page_size", "must not be negative", "VALUE_OUT_OF_RANGE")
    return min(requested, maximum) or default


def encode_page_token(cursor: Cursor) -> str:
    """Return the token of a cursor: the keys of the last row shown, and the filters it belongs to."""
    text = json.dumps(dict(cursor), separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_page_token(token: str, field: str = "page_token") -> dict[str, str | int | float]:
    """Return the cursor of a token, empty for the empty token; another's token is refused by field."""
    if not token:
        return {}
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        cursor = json.loads(text)
        json.dumps(cursor, ensure_ascii=False).encode()  # escapes may hide what no text can hold
    except (binascii.Error, ValueError, RecursionError) as error:
        raise unusable_token(field) from error
    is_cursor = isinstance(cursor, dict) and all(isinstance(v, str | int | float) for v in cursor.values())
    if not is_cursor or not cursor:
        raise unusable_token(field)
    return dict(cursor)


def decode_own_token(
    token: str, *, keys: Collection[str], filters: Cursor | None = None
) -> dict[str, str | int | float]:
    """Return the cursor of a token, empty for the empty token.

    Args:
        token: as it was sent.
        keys: what the list's own cursor has beside its filters; another list's token is refused.
        filters: what is asked for now; the token of a page under other ones is refused.
    """
    cursor = decode_page_token(token)
    filters = filters or {}
    if cursor and (
        cursor.keys() != {*keys, *filters} or any(cursor[name] != value for name, value in filters.items())
    ):
        raise unusable_token()
    return cursor


def unusable_token(field: str = "page_token") -> DomainError:
    """Return the error for a token that does not go on with a list."""
    return invalid_field(field, "is not a token of an earlier page of this list", "PAGE_TOKEN_INVALID")
