"""What is told of changes: small payloads, and everything where they would be too large."""

import pytest

from services.analytics.operations.changes import (
    EVERYTHING,
    MAXIMUM_PAYLOAD_BYTES,
    campaign_topic,
    decode_topics,
    encode_topics,
)


def test_topics_come_back_as_they_were_sent() -> None:
    topics = {campaign_topic('ü"\n'), campaign_topic("*"), "portfolio"}
    payload = encode_topics(topics)
    assert decode_topics(payload) == topics
    assert payload.isascii()


def test_too_many_topics_are_everything() -> None:
    few = {campaign_topic(f"c{number:03}") for number in range(100)}
    assert decode_topics(encode_topics(few)) == few
    many = {campaign_topic("ü" * 128 + str(number)) for number in range(11)}
    assert len(encode_topics(many)) <= MAXIMUM_PAYLOAD_BYTES
    assert decode_topics(encode_topics(many)) == {EVERYTHING}


@pytest.mark.parametrize("payload", ["", "c1", "{}", "[1]", '"c1"'])
def test_what_is_not_ours_stands_for_everything(payload: str) -> None:
    assert decode_topics(payload) == {EVERYTHING}
