"""GET /healthz is 200 only while every service behind the gateway says that it serves."""

import pytest

from tests.e2e.gateway_backends import SERVICES
from tests.e2e.gateway_stand import Gateway


@pytest.mark.parametrize("name", SERVICES)
def test_one_service_that_does_not_serve_is_enough(gateway: Gateway, name: str) -> None:
    assert gateway.until_health_is(200).status == 200
    try:
        gateway.backends.set_serving(name, serving=False)
        answer = gateway.until_health_is(503)
    finally:
        gateway.backends.set_serving(name, serving=True)

    assert answer.json["code"] == 14
    assert gateway.until_health_is(200).status == 200


def test_a_service_that_does_not_serve_is_not_asked(gateway: Gateway) -> None:
    try:
        gateway.backends.set_serving("optimizer", serving=False)
        gateway.until_health_is(503)
        refused = gateway.until("/api/optimize/offer/c1", 503).status
        others = gateway.get("/api/analytics/portfolio").status
    finally:
        gateway.backends.set_serving("optimizer", serving=True)
        gateway.until_health_is(200)

    assert (refused, others) == (503, 200)
    assert gateway.until("/api/optimize/offer/c1", 200).json["offer_amount"] == 12.5


def test_nothing_is_healthy_where_nobody_serves(lonely_gateway: Gateway) -> None:
    assert lonely_gateway.get("/healthz").status == 503
