"""The gateway's REST side, as the run itself asks it."""

import asyncio
import http.client
import json
from dataclasses import dataclass
from typing import Any

from deploy.local.errors import RunError
from deploy.local.settings import HOST

_ANSWER_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A REST answer: HTTP status and decoded JSON (None where the body is none)."""

    status: int
    body: Any


async def call(port: int, method: str, path: str, *, seconds: float = _ANSWER_SECONDS) -> Answer:
    """Send one request, a POST with an empty JSON object, to the gateway.

    Raises:
        RunError: no answer came.
    """
    try:
        return await asyncio.to_thread(_call, port, method, path, seconds)
    except (OSError, http.client.HTTPException) as error:
        raise RunError(f"{method} {path} got no answer from the gateway: {error}") from error


def _call(port: int, method: str, path: str, seconds: float) -> Answer:
    connection = http.client.HTTPConnection(HOST, port, timeout=seconds)
    try:
        body = "{}" if method == "POST" else None
        connection.request(method, path, body=body, headers={"content-type": "application/json"})
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    try:
        return Answer(status=response.status, body=json.loads(content))
    except ValueError:
        return Answer(status=response.status, body=None)
