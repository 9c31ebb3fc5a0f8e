"""Errors over REST through a real Envoy: the services' own and the gateway's, in one shape."""

import json

import pytest

from deploy.envoy.replies import MAXIMUM_BODY_BYTES
from tests.e2e.gateway_errors import METRICS, error_of
from tests.e2e.gateway_stand import Gateway


class TestErrorsOfServices:
    def test_the_fields_at_fault_are_named(self, gateway: Gateway) -> None:
        answer = gateway.get("/api/analytics/campaign/invalid/metrics")

        assert answer.status == 400
        assert answer.json == {
            "code": 3,
            "message": "start_date: is no date; events[3].revenue: is negative",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "INVALID_FIELD",
                    "domain": "test.analytics",
                    "metadata": {},
                },
                {
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "field_violations": [
                        {"field": "start_date", "description": "is no date", "reason": "DATE_INVALID"},
                        {
                            "field": "events[3].revenue",
                            "description": "is negative",
                            "reason": "INVALID_FIELD",
                        },
                    ],
                },
            ],
        }

    @pytest.mark.parametrize(
        ("campaign_id", "expected"),
        [
            ("missing", (404, 5, "no campaign 'missing'", "CAMPAIGN_UNKNOWN")),
            ("exhausted", (429, 8, "too many", "TOO_MANY_WAITING")),
            ("aborted", (409, 10, "again", "CONCURRENT_UPDATE")),
            ("early", (400, 9, "train first", "MODEL_NOT_TRAINED")),
            ("late", (504, 4, "too slow", "DATABASE_DEADLINE_EXCEEDED")),
            ("broken", (500, 13, "something is broken here", "INTERNAL")),
        ],
    )
    def test_codes_become_statuses(
        self, gateway: Gateway, campaign_id: str, expected: tuple[int, int, str, str]
    ) -> None:
        assert error_of(gateway.get(f"/api/analytics/campaign/{campaign_id}/metrics")) == expected

    def test_metadata_of_the_reason_is_kept(self, gateway: Gateway) -> None:
        details = gateway.get("/api/analytics/campaign/missing/metrics").json["details"]

        assert details[0]["metadata"] == {"campaign_id": "missing"}

    def test_a_stream_that_fails_at_once_fails_as_a_call_does(self, gateway: Gateway) -> None:
        answer = gateway.get("/api/analytics/campaign/missing/watch")

        assert error_of(answer) == (404, 5, "no campaign 'missing'", "CAMPAIGN_UNKNOWN")

    def test_what_is_not_offered_says_so(self, gateway: Gateway) -> None:
        status, code, _, reason = error_of(gateway.get("/api/analytics/top-campaigns"))

        assert (status, code, reason) == (501, 12, "METHOD_NOT_OFFERED")


class TestErrorsOfTheGateway:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/"),
            ("GET", "/api/analytics"),
            ("GET", "/api/analytics/nothing"),
            ("DELETE", "/api/analytics/portfolio"),
            ("POST", "/api/analytics/portfolio"),
            ("GET", "/api/optimize/offer/c1/more"),
            ("POST", "/campaigns.analytics.v1.AnalyticsService/GetCampaignMetrics"),
        ],
    )
    def test_unknown_paths_and_methods(self, gateway: Gateway, method: str, path: str) -> None:
        assert error_of(gateway.call(method, path)) == (
            404,
            5,
            "no rpc has this path and method",
            "PATH_UNKNOWN",
        )

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            (f"{METRICS}?colour=red", 'Could not find field "colour"'),
            ("/api/analytics/portfolio?days=many", 'days: invalid value "many"'),
            ("/api/analytics/portfolio?as_of=2026-01-31T00:00:00", "as_of: invalid value"),
            ("/api/optimize/predict?campaign_type=PARTY", 'campaign_type: invalid value "PARTY"'),
            ("/api/analytics/merchants/first/performance", 'merchant_id: invalid value "first"'),
        ],
    )
    def test_queries_that_do_not_parse(self, gateway: Gateway, path: str, message: str) -> None:
        status, code, said, reason = error_of(gateway.get(path))

        assert (status, code, reason) == (400, 3, "REQUEST_INVALID")
        assert message in said

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("{", "Expected an object key or }"),
            ("[1, 2", ""),
            ("nonsense", "Unexpected token"),
            ('{"events": 7}', "events"),
            ('{"events": [{"event_time": "2026-01-31T12:00:00"}]}', "events[0].event_time: invalid value"),
            (
                '{"events": [{}, {"event_type": "EVENT_TYPE_SEEN"}]}',
                'events[1].event_type: invalid value "EVENT_TYPE_SEEN"',
            ),
            ('{"events": [{"revenue": "much"}]}', 'events[0].revenue: invalid value "much"'),
            ('{"events": [{"merchant_id": 1e12}]}', "events[0].merchant_id: invalid value"),
        ],
    )
    def test_bodies_that_do_not_parse(self, gateway: Gateway, body: str, message: str) -> None:
        status, code, said, reason = error_of(gateway.post("/api/analytics/events", body))

        assert (status, code, reason) == (400, 3, "REQUEST_INVALID")
        assert message in said

    def test_a_body_over_the_limit(self, gateway: Gateway) -> None:
        body = json.dumps({"events": [{"event_id": "x" * 1024}] * (MAXIMUM_BODY_BYTES // 1024)})

        status, code, message, reason = error_of(gateway.post("/api/analytics/events", body))

        assert (status, code, reason) == (413, 8, "BODY_TOO_LARGE")
        assert str(MAXIMUM_BODY_BYTES) in message

    def test_a_body_below_the_limit_arrives_whole(self, gateway: Gateway) -> None:
        answer = gateway.post("/api/analytics/events", {"events": [{"event_id": "x" * 1024}] * 10_000})

        assert answer.json["accepted_count"] == "10000"

    @pytest.mark.parametrize("name", ["a%00b", "a#b"])
    def test_a_path_that_envoy_refuses_without_words(self, gateway: Gateway, name: str) -> None:
        status, code, message, reason = error_of(gateway.get(f"/api/analytics/campaign/{name}/metrics"))

        assert (status, code, reason) == (400, 3, "REQUEST_INVALID")
        assert message == "the path may not hold an encoded NUL or a fragment"

    def test_headers_over_the_limit(self, gateway: Gateway) -> None:
        status, code, _, reason = error_of(gateway.get(METRICS, **{"x-long": "x" * 70_000}))

        assert (status, code, reason) == (431, 3, "REQUEST_INVALID")

    def test_a_service_that_takes_too_long(self, hasty_gateway: Gateway) -> None:
        answer = hasty_gateway.get("/api/analytics/campaign/slow/metrics")

        assert error_of(answer) == (504, 4, "the service behind this path took too long", "SERVICE_TIMED_OUT")

    @pytest.mark.parametrize("path", [METRICS, "/api/optimize/offer/c1", "/api/ab-tests/t1/status"])
    def test_a_service_that_is_down(self, lonely_gateway: Gateway, path: str) -> None:
        expected = (503, 14, "the service behind this path does not answer; try again", "SERVICE_UNAVAILABLE")

        assert error_of(lonely_gateway.get(path)) == expected
