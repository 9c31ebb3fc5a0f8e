"""What an error says over REST."""

from tests.e2e.gateway_stand import Answer

METRICS = "/api/analytics/campaign/c1/metrics"


def error_of(answer: Answer) -> tuple[int, int, str, str]:
    """Return status, code, message and reason of an error, which must have the one shape."""
    assert answer.headers["content-type"] == "application/json"
    body = answer.json
    assert set(body) == {"code", "message", "details"}
    info = next(detail for detail in body["details"] if detail["@type"].endswith("google.rpc.ErrorInfo"))
    assert set(info) == {"@type", "reason", "domain", "metadata"}
    return answer.status, body["code"], body["message"], info["reason"]
