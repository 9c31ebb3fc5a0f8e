"""What calls of the server every service runs are answered, errors above all."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from tests.unit.common.sample_server import LIMIT_SECONDS, NAME, Running, SampleSettings, failure, running


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(SampleSettings(drain_seconds=0)) as server:
        yield server


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    trailers = dict(error.trailing_metadata() or ())
    return status_pb2.Status.FromString(bytes(trailers["grpc-status-details-bin"]))


async def test_a_domain_error_reaches_the_client_with_reason_domain_and_field(server: Running) -> None:
    error = await failure(server, b"field")
    assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "a.b: must be good")
    status = status_of(error)
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(request)
    assert (info.reason, info.domain) == ("NOT_GOOD", NAME)
    assert request.field_violations[0].field == "a.b"


@pytest.mark.parametrize("request_", [b"defect", b"constraint"])
async def test_a_defect_tells_the_client_nothing_but_the_request_id(server: Running, request_: bytes) -> None:
    error = await failure(server, request_)
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(error)
    info = error_details_pb2.ErrorInfo()
    assert status_of(error).details[0].Unpack(info)
    assert info.metadata["request_id"] == dict(error.trailing_metadata() or ())["x-request-id"]


async def test_a_method_that_is_not_built_is_unimplemented_by_name(server: Running) -> None:
    error = await failure(server, b"missing")
    assert (error.code(), error.details()) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "Unary is not offered by this version",
    )


async def test_an_unknown_method_is_unimplemented(server: Running) -> None:
    call: Any = server.channel.unary_unary(f"/{NAME}/Nothing")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"", timeout=LIMIT_SECONDS)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_an_abort_of_the_servicer_passes_as_it_is(server: Running) -> None:
    error = await failure(server, b"abort")
    assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "by hand")


@pytest.mark.parametrize(("sent", "kept"), [("abc-1", True), ("x" * 500, False), ("with space", False)])
async def test_the_callers_request_id_is_echoed_where_it_is_sane(
    server: Running, sent: str, kept: bool
) -> None:
    call: Any = server.channel.unary_unary(f"/{NAME}/Unary")
    pending = call(b"", timeout=LIMIT_SECONDS, metadata=(("x-request-id", sent),))
    assert await pending == b"answer"
    echoed = dict(await pending.trailing_metadata())["x-request-id"]
    assert (echoed == sent) is kept
    assert echoed


async def test_a_stream_ends_with_the_error_after_what_it_sent(server: Running) -> None:
    call: Any = server.channel.unary_stream(f"/{NAME}/Stream")
    received = []
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for part in call(b"field", timeout=LIMIT_SECONDS):
            received.append(part)
    assert received == [b"first"]
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [part async for part in call(b"", timeout=LIMIT_SECONDS)] == [b"first", b"second"]


async def test_client_streams_work_through_the_interceptor(server: Running) -> None:
    collect: Any = server.channel.stream_unary(f"/{NAME}/Collect")
    echo: Any = server.channel.stream_stream(f"/{NAME}/Echo")
    assert await collect(iter([b"a", b"b"]), timeout=LIMIT_SECONDS) == b"ab"
    assert [part async for part in echo(iter([b"a", b"b"]), timeout=LIMIT_SECONDS)] == [b"a", b"b"]


@pytest.mark.parametrize(("request_", "violations"), [(b"many", 10_000), (b"wordy", 30)])
async def test_an_error_of_any_size_arrives(server: Running, request_: bytes, violations: int) -> None:
    error = await failure(server, request_)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    status = status_of(error)
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(request)
    told = len(request.field_violations)
    assert request.field_violations[0].field == "a[0]"
    assert 0 < told < violations
    assert told + int(info.metadata["omitted_violations"]) == violations
    assert status.message == error.details()


@pytest.mark.parametrize("method", ["Read", "ReadAll"])
async def test_bytes_that_are_no_message_are_refused_in_words_of_ours(server: Running, method: str) -> None:
    kind: Any = server.channel.unary_unary if method == "Read" else server.channel.stream_unary
    broken = b"\x0a\x01\xff"  # field 1 of one byte that is no UTF-8
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await kind(f"/{NAME}/{method}")(broken if method == "Read" else iter([broken]), timeout=LIMIT_SECONDS)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    info = error_details_pb2.ErrorInfo()
    assert status_of(caught.value).details[0].Unpack(info)
    assert info.reason == "REQUEST_INVALID"
    assert f"no message of {method}" in (caught.value.details() or "")


async def test_headers_as_large_as_a_gateway_lets_through_are_taken(server: Running) -> None:
    assert await server.call(b"", metadata=(("cookie", "x" * 60_000),)) == b"answer"
