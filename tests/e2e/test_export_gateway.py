"""Answers downloaded as files through the gateway, from the real service and its database."""

import csv
import http.client
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deploy.local.bootstrap import DatabaseAddresses
from tests.e2e.analytics_gateway import AnalyticsGateway, analytics_gateway
from tests.e2e.real_gateway import LIMIT_SECONDS

TREND = "/api/analytics/export/campaign/c1/trends"
USERS = 2_345


def call(
    gateway: AnalyticsGateway, verb: str, path: str, body: object = None
) -> tuple[int, Mapping[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=LIMIT_SECONDS)
    try:
        sent = None if body is None else json.dumps(body)
        connection.request(verb, path, sent, {"content-type": "application/json"})
        response = connection.getresponse()
        return (
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read(),
        )
    finally:
        connection.close()


def send_world(gateway: AnalyticsGateway) -> None:
    events = [
        {
            "event_id": f"e{day}",
            "event_type": "EVENT_TYPE_DELIVERED",
            "campaign_id": "c1",
            "user_id": "u1",
            "event_time": f"2026-03-{day:02}T10:00:00Z",
            "cost": day / 4,
        }
        for day in range(1, 21)
    ]
    users = [{"user_id": f"u{number:05}", "segments": ["=1+1"]} for number in range(USERS)]
    for path, body in (
        ("/api/catalog/campaigns", {"campaigns": [{"campaign_id": "c1", "campaign_type": 1}]}),
        ("/api/catalog/users", {"users": users}),
        ("/api/analytics/events", {"events": events}),
    ):
        status, _, answer = call(gateway, "POST", path, body)
        assert status == http.client.OK, answer


def read_csv(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def read_parquet(data: bytes) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(data), use_threads=False).to_pylist()
    return rows


def test_answers_are_downloaded_as_files(
    database: DatabaseAddresses, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with analytics_gateway(database, tmp_path, free_port, time_zone="UTC") as gateway:
        send_world(gateway)
        points = gateway.get("/api/analytics/campaign/c1/trends?interval=daily")["points"]
        expected = [(point["period"], int(point["impressions"]), point["cost"]) for point in points]
        assert len(expected) == 20

        status, headers, data = call(gateway, "GET", f"{TREND}?trend.interval=daily")
        assert status == http.client.OK
        assert headers["content-type"] == "text/csv; charset=utf-8; header=present"
        assert headers["content-disposition"] == 'attachment; filename="trend-c1-points.csv"'
        rows = read_csv(data)
        assert [(r["period"], int(r["impressions"]), float(r["cost"])) for r in rows] == expected

        body = {"format": "parquet", "trend": {"campaign_id": "c1", "interval": "daily"}}
        for verb, path, sent in (
            ("POST", "/api/analytics/export", body),
            ("GET", f"{TREND}?trend.interval=daily&format=parquet", None),
        ):
            status, headers, data = call(gateway, verb, path, sent)
            assert status == http.client.OK
            assert headers["content-type"] == "application/vnd.apache.parquet"
            assert headers["content-disposition"] == 'attachment; filename="trend-c1-points.parquet"'
            table = read_parquet(data)
            assert [(r["period"], r["impressions"], r["cost"]) for r in table] == expected

        # All pages of a list, in pieces: how long it is nobody knows at the beginning.
        _, headers, data = call(gateway, "GET", "/api/analytics/export/users")
        assert headers["transfer-encoding"] == "chunked"
        names = [f"u{number:05}" for number in range(USERS)]
        assert [row["user_id"] for row in read_csv(data)] == names
        _, _, data = call(gateway, "GET", "/api/analytics/export/users?format=parquet")
        assert [(row["user_id"], row["segments"]) for row in read_parquet(data)] == [
            (name, ["=1+1"]) for name in names
        ]

        status, headers, data = call(gateway, "GET", "/api/analytics/export/campaign/c9/metrics")
        assert (status, headers["content-type"]) == (http.client.NOT_FOUND, "application/json")
        assert "CAMPAIGN_UNKNOWN" in data.decode()
