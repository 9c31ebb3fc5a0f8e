import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from services.common.errors import DomainError
from services.common.grpc_client import translate_rpc_error


def rpc_error(code: grpc.StatusCode) -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(), details="secret inside")


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_code_of_a_peer_becomes_an_error_that_names_the_peer_and_hides_its_text(
    code: grpc.StatusCode,
) -> None:
    error = translate_rpc_error(rpc_error(code), peer="model server")
    assert isinstance(error, DomainError)
    assert "model server" in error.message
    assert "secret" not in error.message
    assert error.metadata == {"peer": "model server"}


@pytest.mark.parametrize(
    ("code", "translated"),
    [
        (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
        (grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED"),
        (grpc.StatusCode.FAILED_PRECONDITION, "FAILED_PRECONDITION"),
        (grpc.StatusCode.INVALID_ARGUMENT, "INTERNAL"),
    ],
)
def test_codes_keep_their_meaning(code: grpc.StatusCode, translated: str) -> None:
    assert translate_rpc_error(rpc_error(code), peer="model server").code == translated
