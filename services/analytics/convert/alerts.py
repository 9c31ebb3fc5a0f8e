"""Alert rules and alerts between the wire and the domain; in here money is in micros, out there in units."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from gen.campaigns.analytics.v1 import alert_service_pb2, alerts_pb2
from gen.campaigns.type.v1 import range_pb2
from services.analytics.convert.metrics import campaign_id_from_proto
from services.analytics.domain.alert_metrics import DEFAULT_RATE_VOLUME, METRICS, AlertMetric
from services.analytics.domain.alerts import (
    DEFAULT_DAYS,
    DEFAULT_DROP_DAYS,
    KINDS,
    MAXIMUM_DAYS,
    Alert,
    AlertKind,
    AlertRule,
)
from services.analytics.operations.alerts import Position
from services.common.errors import invalid_field
from services.common.paging import Cursor, decode_own_token, encode_page_token, unusable_token
from services.common.wire import MICROS_PER_UNIT, datetime_to_timestamp, money_to_micros

MAXIMUM_TEXT = 128
MAXIMUM_VOLUME = 2**53
_CURRENCY_LENGTH = 3
_UNKEPT = datetime(1970, 1, 1, tzinfo=UTC)


def rule_from_proto(rule: alerts_pb2.AlertRule) -> AlertRule:
    """Return the rule asked for, its defaults filled in; it has no id and no time yet."""
    metric = METRICS.get(rule.metric)
    if metric is None:
        raise invalid_field("rule.metric", f"must be one of {', '.join(METRICS)}", "VALUE_UNKNOWN")
    kind = _kind_from_proto(rule.kind)
    default_days = DEFAULT_DROP_DAYS if kind == "drop" else DEFAULT_DAYS
    days = rule.days if rule.HasField("days") else default_days
    if not 1 <= days <= MAXIMUM_DAYS:
        raise invalid_field("rule.days", f"must be from 1 to {MAXIMUM_DAYS}", "VALUE_OUT_OF_RANGE")
    default_volume = DEFAULT_RATE_VOLUME if metric.is_rate else 0
    volume = rule.minimum_volume if rule.HasField("minimum_volume") else default_volume
    if not 0 <= volume <= MAXIMUM_VOLUME:
        raise invalid_field(
            "rule.minimum_volume", f"must be from 0 to {MAXIMUM_VOLUME}", "VALUE_OUT_OF_RANGE"
        )
    return AlertRule(
        rule_id="",
        campaign_id=optional_campaign_id_from_proto(rule.campaign_id, "rule.campaign_id"),
        currency_code=_currency_from_proto(rule, metric),
        metric=metric,
        kind=kind,
        threshold=_threshold_from_proto(rule, metric, kind),
        days=days,
        minimum_volume=volume,
        requires_significance=not rule.HasField("requires_significance") or rule.requires_significance,
        created_at=_UNKEPT,
    )


def request_id_from_proto(request_id: str) -> str | None:
    """Return what makes a request sent twice one rule, None for the empty text."""
    return _text(request_id, "request_id") if request_id else None


def rule_id_from_proto(rule_id: str) -> str:
    """Return the name of a rule; refused where none can have it."""
    if not rule_id:
        raise invalid_field("rule_id", "must not be empty", "FIELD_REQUIRED")
    return _text(rule_id, "rule_id")


def optional_campaign_id_from_proto(campaign_id: str, field: str = "campaign_id") -> str | None:
    """Return the name of a campaign, None for the empty text."""
    return campaign_id_from_proto(campaign_id, field) if campaign_id else None


def position_from_proto(
    request: alert_service_pb2.ListAlertRulesRequest | alert_service_pb2.ListAlertsRequest,
) -> Position | None:
    """Return where a page begins, None for the first one; a token goes on with its own list only."""
    id_name = _id_name(request)
    cursor = decode_own_token(request.page_token, keys=["at", id_name], filters=_filters(request))
    if not cursor:
        return None
    name = str(cursor[id_name])
    try:
        moment = datetime.fromisoformat(str(cursor["at"]))
        if moment.tzinfo is None or len(name) > MAXIMUM_TEXT or "\0" in name:
            raise unusable_token()
        return moment.astimezone(UTC), name
    except (ValueError, OverflowError) as error:
        raise unusable_token() from error


def _id_name(request: alert_service_pb2.ListAlertRulesRequest | alert_service_pb2.ListAlertsRequest) -> str:
    return "rule_id" if isinstance(request, alert_service_pb2.ListAlertRulesRequest) else "alert_id"


def _filters(
    request: alert_service_pb2.ListAlertRulesRequest | alert_service_pb2.ListAlertsRequest,
) -> Cursor:
    if isinstance(request, alert_service_pb2.ListAlertRulesRequest):
        return {"campaign_id": request.campaign_id}
    return {"campaign_id": request.campaign_id, "only_open": request.only_open}


def rule_to_proto(rule: AlertRule) -> alerts_pb2.AlertRule:
    """Return a rule."""
    divisor = MICROS_PER_UNIT if rule.metric.is_money and rule.kind != "drop" else 1
    return alerts_pb2.AlertRule(
        rule_id=rule.rule_id,
        campaign_id=rule.campaign_id or "",
        currency_code=rule.currency_code or "",
        metric=rule.metric.name,
        kind=_kind_to_proto(rule.kind),
        threshold=rule.threshold / divisor,
        days=rule.days,
        minimum_volume=rule.minimum_volume,
        requires_significance=rule.requires_significance,
        created_time=datetime_to_timestamp(rule.created_at),
    )


def rules_to_proto(
    request: alert_service_pb2.ListAlertRulesRequest, rules: Sequence[AlertRule], *, has_more: bool
) -> alert_service_pb2.ListAlertRulesResponse:
    """Return a page of rules; its token goes with the request's filters."""
    token = ""
    if has_more:
        last = {"at": rules[-1].created_at.isoformat(), "rule_id": rules[-1].rule_id}
        token = encode_page_token({**_filters(request), **last})
    return alert_service_pb2.ListAlertRulesResponse(
        rules=[rule_to_proto(rule) for rule in rules], next_page_token=token
    )


def alert_to_proto(alert: Alert) -> alerts_pb2.Alert:
    """Return an alert; what is undefined stays unset."""
    divisor = MICROS_PER_UNIT if alert.rule.metric.is_money else 1
    interval, baseline = alert.value_interval, alert.baseline_value
    return alerts_pb2.Alert(
        alert_id=alert.alert_id,
        rule=rule_to_proto(alert.rule),
        opened_time=datetime_to_timestamp(alert.opened_at),
        closed_time=None if alert.closed_at is None else datetime_to_timestamp(alert.closed_at),
        value=alert.value / divisor,
        value_interval=None
        if interval is None
        else range_pb2.ConfidenceInterval(lower=interval.lower / divisor, upper=interval.upper / divisor),
        baseline_value=None if baseline is None else baseline / divisor,
        message=alert.message,
    )


def alerts_to_proto(
    request: alert_service_pb2.ListAlertsRequest, alerts: Sequence[Alert], *, has_more: bool
) -> alert_service_pb2.ListAlertsResponse:
    """Return a page of alerts; its token goes with the request's filters."""
    token = ""
    if has_more:
        last = {"at": alerts[-1].opened_at.isoformat(), "alert_id": alerts[-1].alert_id}
        token = encode_page_token({**_filters(request), **last})
    return alert_service_pb2.ListAlertsResponse(
        alerts=[alert_to_proto(alert) for alert in alerts], next_page_token=token
    )


def _kind_from_proto(kind: int) -> AlertKind:
    if not 1 <= kind <= len(KINDS):
        raise invalid_field(
            "rule.kind",
            "must be ALERT_KIND_ABOVE, ALERT_KIND_BELOW or ALERT_KIND_DROP",
            "VALUE_UNKNOWN" if kind else "FIELD_REQUIRED",
        )
    return KINDS[kind - 1]


def _kind_to_proto(kind: AlertKind) -> alerts_pb2.AlertKind.ValueType:
    return alerts_pb2.AlertKind.Value(f"ALERT_KIND_{kind.upper()}")


def _currency_from_proto(rule: alerts_pb2.AlertRule, metric: AlertMetric) -> str | None:
    is_needed = not rule.campaign_id and metric.mixes_money
    if is_needed and not rule.currency_code:
        raise invalid_field(
            "rule.currency_code", "is required for money of the whole portfolio", "CURRENCY_REQUIRED"
        )
    if rule.currency_code and not is_needed:
        raise invalid_field(
            "rule.currency_code", "is for money of the whole portfolio only", "FIELDS_CONFLICT"
        )
    code = rule.currency_code
    if code and not (len(code) == _CURRENCY_LENGTH and code.isascii() and code.isalpha() and code.isupper()):
        raise invalid_field(
            "rule.currency_code", "must be three capital letters, such as USD", "TEXT_INVALID"
        )
    return code or None


def _threshold_from_proto(rule: alerts_pb2.AlertRule, metric: AlertMetric, kind: AlertKind) -> float:
    if not rule.HasField("threshold"):
        raise invalid_field("rule.threshold", "must be set", "FIELD_REQUIRED")
    if not math.isfinite(rule.threshold):
        raise invalid_field("rule.threshold", "must be a finite number", "VALUE_OUT_OF_RANGE")
    if kind == "drop":
        if not 0 < rule.threshold < 1:
            raise invalid_field(
                "rule.threshold", "must be above 0 and below 1 for a drop", "VALUE_OUT_OF_RANGE"
            )
        return rule.threshold
    return float(money_to_micros(rule.threshold, "rule.threshold")) if metric.is_money else rule.threshold


def _text(text: str, field: str) -> str:
    if len(text) > MAXIMUM_TEXT or "\0" in text:
        raise invalid_field(field, f"must have at most {MAXIMUM_TEXT} characters and no NUL", "TEXT_INVALID")
    return text
