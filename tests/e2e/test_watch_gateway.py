"""A campaign watched as JSON through the gateway, from the real service and its database."""

import http.client
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.local.bootstrap import DatabaseAddresses
from tests.e2e.analytics_gateway import AnalyticsGateway, analytics_gateway
from tests.e2e.real_gateway import LIMIT_SECONDS


def post(gateway: AnalyticsGateway, path: str, body: object) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=LIMIT_SECONDS)
    try:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
        assert response.status == http.client.OK, answer
        return answer
    finally:
        connection.close()


def delivered(event_id: str) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "event_type": "EVENT_TYPE_DELIVERED",
        "campaign_id": "c1",
        "user_id": "u1",
        "event_time": "2026-03-01T10:00:00Z",
    }


def test_each_commit_is_a_line_of_json(
    database: DatabaseAddresses, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with analytics_gateway(database, tmp_path, free_port, time_zone="UTC") as gateway:
        post(gateway, "/api/catalog/campaigns", {"campaigns": [{"campaign_id": "c1", "campaign_type": 1}]})
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=LIMIT_SECONDS)
        try:
            connection.request("GET", "/api/analytics/campaign/c1/watch")
            stream = connection.getresponse()
            assert stream.status == http.client.OK
            for count in range(3):
                message = json.loads(stream.readline())
                assert int(message["metrics"]["impressions"]) == count
                assert message["as_of"].endswith("Z")
                answer = post(gateway, "/api/analytics/events", {"events": [delivered(f"e{count}")]})
                assert answer["accepted_count"] == "1"
        finally:
            connection.close()
