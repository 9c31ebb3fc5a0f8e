"""REST through a real Envoy: what is asked arrives, and what is answered is proto JSON."""

import http.client
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from deploy.envoy.contract import Binding, load_rpcs
from gen.campaigns.analytics.v1 import events_pb2
from gen.campaigns.type.v1 import campaign_pb2
from tests.e2e.gateway_backends import LIMIT_SECONDS
from tests.e2e.gateway_errors import METRICS, error_of
from tests.e2e.gateway_stand import DESCRIPTORS, Gateway

PATH_FIELDS = [
    pytest.param(binding, name, id=f"{binding.verb} {binding.path} {name}")
    for rpc in load_rpcs(Path(DESCRIPTORS))
    for binding in rpc.bindings
    for names in binding.path_fields.values()
    for name in names
]


class TestAnswers:
    def test_zeros_are_shown_and_what_is_undefined_is_left_out(self, gateway: Gateway) -> None:
        answer = gateway.get(METRICS)

        assert answer.status == 200
        assert answer.json == {
            "campaign_id": "c1",
            "currency_code": "",
            "impressions": "9007199254740993",
            "views": "0",
            "clicks": "0",
            "conversions": "0",
            "revenue": 12.5,
            "cost": 0,
            "profit": 0,
            "roas": 0,
            "notification_deliveries": "0",
            "notification_opens": "0",
            "geofence_entries": "0",
            "unsubscribes": "0",
            "interval_method": "",
        }

    def test_post_answers_as_get_does(self, gateway: Gateway) -> None:
        assert gateway.post(METRICS, {}).json == gateway.get(METRICS).json

    def test_a_body_may_be_left_out(self, gateway: Gateway) -> None:
        assert gateway.call("POST", METRICS).json["campaign_id"] == "c1"

    def test_a_body_may_repeat_what_the_path_says(self, gateway: Gateway) -> None:
        assert gateway.post(METRICS, {"campaign_id": "c1"}).json["campaign_id"] == "c1"

    def test_empty_lists_are_shown(self, gateway: Gateway) -> None:
        answer = gateway.post("/api/analytics/events", {"events": []})

        assert answer.json == {"accepted_count": "0", "duplicate_count": "0", "rejections": []}

    def test_a_stream_is_one_object_a_line_as_it_comes(self, gateway: Gateway) -> None:
        gateway.recorder.release.clear()
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=LIMIT_SECONDS)
        connection.request("GET", "/api/analytics/campaign/c1/watch")
        response = connection.getresponse()

        first = json.loads(response.readline())
        gateway.recorder.release.set()
        second = json.loads(response.readline())
        connection.close()

        assert [line["metrics"]["views"] for line in (first, second)] == ["0", "1"]

    def test_a_stream_may_last_longer_than_a_call(self, hasty_gateway: Gateway) -> None:
        hasty_gateway.recorder.release.clear()

        lines = hasty_gateway.get("/api/analytics/campaign/c1/watch").body.splitlines()

        assert [json.loads(line)["metrics"]["views"] for line in lines if line] == ["0", "1"]

    def test_training_may_last_longer_than_other_calls(self, hasty_gateway: Gateway) -> None:
        assert hasty_gateway.post("/api/optimize/train-model", {}).json["status"] == "success"


class TestRequests:
    def test_query_parameters_fill_the_request(self, gateway: Gateway) -> None:
        gateway.get("/api/analytics/portfolio?days=7&as_of=2026-01-31T00:00:00%2B01:00")

        assert gateway.last_request.days == 7
        assert gateway.last_request.as_of == Timestamp(seconds=1_769_814_000)
        assert gateway.last_request.start_date == ""

    def test_a_parameter_may_come_several_times(self, gateway: Gateway) -> None:
        gateway.get("/api/analytics/compare?campaign_ids=a&campaign_ids=b")

        assert gateway.last_request.campaign_ids == ["a", "b"]

    def test_enums_in_a_query_go_by_name(self, gateway: Gateway) -> None:
        gateway.get(
            "/api/optimize/offer?campaign_type=CAMPAIGN_TYPE_BIRTHDAY&merchant_id=0&current_offer=7.5"
        )

        assert gateway.last_request.campaign_type == campaign_pb2.CAMPAIGN_TYPE_BIRTHDAY
        assert gateway.last_request.HasField("merchant_id")
        assert not gateway.last_request.HasField("current_conversion_rate")

    @pytest.mark.parametrize("name", ["a b", "a/b", "ä", "50%", "a+b", "a?b", "{a}"])
    def test_names_in_a_path_may_hold_anything(self, gateway: Gateway, name: str) -> None:
        encoded = "".join(f"%{byte:02X}" for byte in name.encode())

        assert gateway.get(f"/api/optimize/offer/{encoded}").status == 200
        assert gateway.last_request.campaign_id == name

    def test_a_body_keeps_what_is_set_apart_from_what_is_not(self, gateway: Gateway) -> None:
        event = {
            "event_id": "e1",
            "event_type": "EVENT_TYPE_CONVERTED",
            "campaign_id": "",
            "event_time": "2026-01-31T12:00:00.123456Z",
            "revenue": 0,
            "channel": "CHANNEL_IN_APP",
        }
        gateway.post("/api/analytics/events", {"events": [event]})
        arrived = gateway.last_request.events[0]

        assert arrived.event_type == events_pb2.EVENT_TYPE_CONVERTED
        assert arrived.channel == campaign_pb2.CHANNEL_IN_APP
        assert arrived.event_time == Timestamp(seconds=1_769_860_800, nanos=123_456_000)
        assert arrived.HasField("campaign_id")
        assert arrived.HasField("revenue")
        assert not arrived.HasField("cost")
        assert not arrived.HasField("merchant_id")

    def test_int64_may_be_sent_as_number_or_string(self, gateway: Gateway) -> None:
        for size in (1000, "1000"):
            answer = gateway.post("/api/ab-tests/create", {"target_sample_size": size})
            assert answer.status == 501

    def test_the_request_id_goes_in_and_comes_back(self, gateway: Gateway) -> None:
        answer = gateway.get(METRICS, **{"x-request-id": "my-id"})

        assert answer.headers["x-request-id"] == "my-id"
        assert gateway.recorder.metadata[-1]["x-request-id"] == "my-id"

    def test_a_request_id_is_made_where_none_comes(self, gateway: Gateway) -> None:
        answer = gateway.get(METRICS)

        assert answer.headers["x-request-id"] == gateway.recorder.metadata[-1]["x-request-id"]


class TestOverrides:
    @pytest.mark.parametrize(("binding", "name"), PATH_FIELDS)
    def test_a_query_parameter_never_takes_the_place_of_a_path_field(
        self, gateway: Gateway, binding: Binding, name: str
    ) -> None:
        path = "/".join("1" if part.startswith("{") else part for part in binding.path.split("/"))

        status, code, message, _ = error_of(gateway.call(binding.verb, f"{path}?{name}=zzz"))

        assert (status, code) == (400, 3)
        assert message.endswith("is in the path and may not be in the query as well")

    @pytest.mark.parametrize(
        "query",
        ["campaign%5Fid=zzz", "%63ampaign_id=zzz", "start_date=2026-01-01&campaign%5fid=zzz", "campaign%49d"],
    )
    def test_nor_one_whose_name_is_encoded(self, gateway: Gateway, query: str) -> None:
        before = len(gateway.recorder.requests)

        status, code, message, _ = error_of(gateway.get(f"{METRICS}?{query}"))

        assert (status, code) == (400, 3)
        assert message == "the names of query parameters may not be percent-encoded"
        assert len(gateway.recorder.requests) == before

    @pytest.mark.parametrize(
        "query", ["start_date=%32026-01-01", "end_date=2026-01-01&start_date=a%26campaign_id=z"]
    )
    def test_values_may_be_encoded(self, gateway: Gateway, query: str) -> None:
        assert gateway.get(f"{METRICS}?{query}").json["campaign_id"] == "c1"

    @pytest.mark.parametrize(
        "path",
        [
            f"{METRICS}/",
            f"{METRICS}//",
            "/api/analytics/campaign//metrics",
            f"/x/..{METRICS}",
            "/%61pi" + METRICS[4:],
        ],
    )
    def test_nor_by_another_spelling_of_the_path(self, gateway: Gateway, path: str) -> None:
        status, code, _, _ = error_of(gateway.get(f"{path}?campaign_id=zzz"))

        assert (status, code) in {(400, 3), (404, 5)}

    @pytest.mark.parametrize("name", ["campaign_id", "campaignId"])
    def test_nor_does_a_field_of_the_body(self, gateway: Gateway, name: str) -> None:
        answer = gateway.post(METRICS, {name: "zzz"})

        assert answer.status == 400 or answer.json["campaign_id"] == "c1"


class TestRetries:
    def test_a_read_is_tried_again(self, gateway: Gateway) -> None:
        answer = gateway.get("/api/analytics/campaign/flaky-read/metrics")

        asked = [getattr(request, "campaign_id", "") for request in gateway.recorder.requests]
        assert answer.status == 200
        assert asked.count("flaky-read") == 2

    def test_a_caller_cannot_ask_for_retries(self, gateway: Gateway) -> None:
        before = len(gateway.recorder.requests)
        headers = {
            "x-envoy-retry-on": "5xx",
            "x-envoy-retry-grpc-on": "unavailable",
            "x-envoy-max-retries": "3",
        }
        body = json.dumps({"events": [{"event_id": "unavailable"}]})

        answer = gateway.call("POST", "/api/analytics/events", body=body, headers=headers)

        assert answer.status == 503
        assert len(gateway.recorder.requests) == before + 1

    def test_a_caller_cannot_ask_for_more_time(self, hasty_gateway: Gateway) -> None:
        answer = hasty_gateway.get(
            "/api/analytics/campaign/slow/metrics", **{"x-envoy-upstream-rq-timeout-ms": "60000"}
        )

        assert error_of(answer)[3] == "SERVICE_TIMED_OUT"

    def test_a_write_is_not(self, gateway: Gateway) -> None:
        before = len(gateway.recorder.requests)

        answer = gateway.post("/api/analytics/events", {"events": [{"event_id": "unavailable"}]})

        assert error_of(answer) == (503, 14, "not now", "DATABASE_UNAVAILABLE")
        assert len(gateway.recorder.requests) == before + 1


class TestPagesOfOtherOrigins:
    @pytest.mark.parametrize(
        "origin", ["http://localhost:5173", "https://localhost", "http://127.0.0.1:3000"]
    )
    @pytest.mark.parametrize(
        "path", ["/api/analytics/portfolio", "/campaigns.analytics.v1.AnalyticsService/IngestEvents"]
    )
    def test_pages_on_this_machine_may_call(self, gateway: Gateway, origin: str, path: str) -> None:
        asked = {
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "x-grpc-web",
        }

        answer = gateway.call("OPTIONS", path, headers=asked)

        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == origin
        assert "x-grpc-web" in answer.headers["access-control-allow-headers"]
        assert "POST" in answer.headers["access-control-allow-methods"]

    @pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost.evil.example", "null"])
    def test_other_pages_may_not(self, gateway: Gateway, origin: str) -> None:
        answer = gateway.get("/api/analytics/portfolio", origin=origin)

        assert "access-control-allow-origin" not in answer.headers

    def test_they_may_read_answers(self, gateway: Gateway) -> None:
        answer = gateway.get("/api/analytics/portfolio", origin="http://localhost:5173")

        assert answer.headers["access-control-allow-origin"] == "http://localhost:5173"
        assert "grpc-status" in answer.headers["access-control-expose-headers"]


def test_calls_at_once_do_not_mix(gateway: Gateway) -> None:
    answers: dict[str, Any] = {}

    def ask(name: str) -> None:
        answers[name] = gateway.get(f"/api/analytics/campaign/{name}/metrics").json["campaign_id"]

    threads = [threading.Thread(target=ask, args=(f"c{number}",)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == {f"c{number}": f"c{number}" for number in range(16)}
