"""The gateway's routes, made from the contract: who serves an rpc, how long it may take, what is refused."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from deploy.envoy.contract import Binding, Rpc
from deploy.envoy.replies import MAXIMUM_BODY_BYTES

CLUSTERS = {
    "campaigns.analytics.v1.": "analytics",
    "campaigns.abtest.v1.": "abtest",
    "campaigns.optimizer.v1.": "optimizer",
    "inference.": "model_server",
}
"""The cluster behind each proto package, by the prefix of its services' names."""

LONG_TIMEOUTS = {
    "/campaigns.abtest.v1.ABTestService/AnalyzeTest": "60s",
    "/campaigns.abtest.v1.ABTestService/EndTest": "60s",
    "/campaigns.abtest.v1.ABTestService/SimulateTest": "60s",
    "/campaigns.analytics.v1.AnalyticsService/IngestEvents": "60s",
    "/campaigns.analytics.v1.AnalyticsService/ImportCosts": "60s",
    "/campaigns.analytics.v1.CatalogService/UpsertCampaigns": "60s",
    "/campaigns.analytics.v1.CatalogService/UpsertMerchants": "60s",
    "/campaigns.analytics.v1.CatalogService/UpsertUsers": "60s",
    "/campaigns.optimizer.v1.OptimizerService/RollbackModel": "150s",
    "/campaigns.optimizer.v1.OptimizerService/TrainModel": "3780s",
    "/inference.GRPCInferenceService/RepositoryModelLoad": "60s",
}
"""Rpcs that may take longer than others, by gRPC path."""

_UNLIMITED = "0s"
_ENCODED_NAME = r"[^?]*\?(?:.*&)?[^=&]*%[^=&]*(?:[=&].*)?"
_RETRY = {
    "retry_on": "connect-failure,refused-stream,reset-before-request,unavailable",
    "num_retries": 2,
    "retry_back_off": {"base_interval": "0.05s", "max_interval": "0.5s"},
}
_TRANSCODER = "envoy.filters.http.grpc_json_transcoder"
_NO_TRANSCODER = {
    _TRANSCODER: {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
}


def transcoded_services(rpcs: Sequence[Rpc]) -> list[str]:
    """Return the services of which REST has at least one rpc."""
    return list(dict.fromkeys(rpc.service for rpc in rpcs if rpc.bindings))


def routes(rpcs: Sequence[Rpc], *, unary_timeout_seconds: float) -> list[dict[str, Any]]:
    """Return the routes in order: refusals, REST as it comes in, each rpc, each package, the rest.

    A REST request is matched twice: as it came (where a refusal may catch it), and again by its gRPC path
    after the transcoder has rewritten it. So a route by gRPC path sets the policy of an rpc for all callers.
    """
    timeout = f"{unary_timeout_seconds:g}s"
    return [
        _refuse_encoded_names(),
        *(route for rpc in rpcs for binding in rpc.bindings for route in _refuse_overrides(binding)),
        _rest_route(),
        *(_rpc_route(rpc, timeout) for rpc in rpcs),
        *(_package_route(prefix, cluster, timeout) for prefix, cluster in CLUSTERS.items()),
        _unknown_route(),
    ]


def _refuse_encoded_names() -> dict[str, Any]:
    """Refuse percent signs in the names of query parameters: only the transcoder would decode them."""
    return {
        "name": "refuse encoded query parameter names",
        "match": {
            "prefix": "/",
            "headers": [{"name": ":path", "string_match": {"safe_regex": {"regex": _ENCODED_NAME}}}],
        },
        "direct_response": _refusal("the names of query parameters may not be percent-encoded"),
        "typed_per_filter_config": _NO_TRANSCODER,
    }


def _refuse_overrides(binding: Binding) -> Iterator[dict[str, Any]]:
    """Refuse a query parameter that names a field of the path: the transcoder would let it win."""
    for field, names in binding.path_fields.items():
        for name in names:
            yield {
                "name": f"refuse {name} in {binding.verb} {binding.path}",
                "match": {
                    "safe_regex": {"regex": path_regex(binding.path)},
                    "headers": [{"name": ":method", "string_match": {"exact": binding.verb}}],
                    "query_parameters": [{"name": name, "present_match": True}],
                },
                "direct_response": _refusal(f"{field}: is in the path and may not be in the query as well"),
                "typed_per_filter_config": _NO_TRANSCODER,
            }


def _refusal(message: str) -> dict[str, Any]:
    return {"status": 400, "body": {"inline_string": message}}


def path_regex(template: str) -> str:
    """Return the regular expression of the paths that the transcoder takes for a template.

    It takes an empty segment for a variable, and slashes at the end for none.
    """
    parts = re.split(r"\{[^}]*\}", template)
    return "[^/]*".join(re.escape(part) for part in parts) + "/*"


def _rest_route() -> dict[str, Any]:
    """Let REST through to the transcoder, which rewrites it or answers 404: this cluster is never asked.

    What is matched here gets the virtual host's CORS policy and the limit on bodies.
    """
    no_grpc = {"name": "content-type", "string_match": {"prefix": "application/grpc"}, "invert_match": True}
    return {
        "name": "rest",
        "match": {"prefix": "/api/", "headers": [no_grpc | {"treat_missing_header_as_empty": True}]},
        "route": {"cluster": next(iter(CLUSTERS.values()))},
        "typed_per_filter_config": {
            "envoy.filters.http.buffer": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute",
                "buffer": {"max_request_bytes": MAXIMUM_BODY_BYTES},
            }
        },
    }


def _rpc_route(rpc: Rpc, timeout: str) -> dict[str, Any]:
    action: dict[str, Any] = {"cluster": _cluster(rpc.service)}
    if rpc.streams:
        action |= {"timeout": _UNLIMITED, "idle_timeout": _UNLIMITED}
    elif rpc.path in LONG_TIMEOUTS:
        action |= {"timeout": LONG_TIMEOUTS[rpc.path], "idle_timeout": _UNLIMITED}
    else:
        action["timeout"] = timeout
    if rpc.only_reads:
        action["retry_policy"] = _RETRY
    return {"name": rpc.path, "match": {"path": rpc.path}, "route": action}


def _package_route(prefix: str, cluster: str, timeout: str) -> dict[str, Any]:
    """Route what this contract does not name: the service behind it says UNIMPLEMENTED, or knows better."""
    return {
        "name": f"{prefix}*",
        "match": {"prefix": f"/{prefix}", "grpc": {}},
        "route": {"cluster": cluster, "timeout": timeout},
    }


def _unknown_route() -> dict[str, Any]:
    """Answer 404; a gRPC caller gets UNIMPLEMENTED with this text.

    Health and reflection end here, because Envoy cannot merge what four services say of themselves: any one
    of them would speak for the others. `GET /healthz` is the whole system's health; each service has its own.
    """
    message = (
        "no service behind this gateway has this name; health and reflection are on the services' own ports"
    )
    return {
        "name": "unknown",
        "match": {"prefix": "/"},
        "direct_response": {"status": 404, "body": {"inline_string": message}},
    }


def _cluster(service: str) -> str:
    return next(cluster for prefix, cluster in CLUSTERS.items() if service.startswith(prefix))
