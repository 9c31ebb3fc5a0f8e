import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidArgumentError
from services.common.paging import decode_own_token, decode_page_token, encode_page_token, page_size


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.integers()), min_size=1))
def test_a_token_gives_its_cursor_back(cursor: dict[str, str | int]) -> None:
    token = encode_page_token(cursor)
    assert "=" not in token
    assert decode_page_token(token) == cursor


def test_the_empty_token_is_the_first_page() -> None:
    assert decode_page_token("") == {}


def token_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    [
        *("%%%", "abc", "W10", "bnVsbA", "eyJhIjpbMV19", "\u20ac", "Ww", "e30"),
        token_of("[" * 100_000),
        token_of('{"campaign_id": "\\ud800"}'),
        token_of('{"merchant_id": ' + "9" * 5000 + "}"),
    ],
)
def test_a_foreign_token_is_refused_by_field(token: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        decode_page_token(token)
    assert caught.value.violations[0].field == "page_token"


def test_a_token_goes_on_with_its_own_list_and_filters() -> None:
    token = encode_page_token({"after": "a", "colour": "red"})
    cursor = decode_own_token(token, keys=["after"], filters={"colour": "red"})
    assert cursor["after"] == "a"
    assert decode_own_token("", keys=["after"]) == {}
    for keys, filters in ((["after"], {"colour": "blue"}), (["after"], {}), (["before"], {"colour": "red"})):
        with pytest.raises(InvalidArgumentError, match="page_token"):
            decode_own_token(token, keys=keys, filters=filters)


@pytest.mark.parametrize(("requested", "rows"), [(0, 50), (7, 7), (5000, 1000)])
def test_the_page_size_has_a_default_and_a_maximum(requested: int, rows: int) -> None:
    assert page_size(requested) == rows


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="page_size"):
        page_size(-1)
