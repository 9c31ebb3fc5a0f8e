"""The contract has the names and fields that callers already use; the tables here are the design's."""

import pytest
from google.protobuf.descriptor import Descriptor

from gen.campaigns.abtest.v1 import assignments_pb2, progress_pb2, results_pb2, tests_pb2
from gen.campaigns.analytics.v1 import (
    analytics_service_pb2,
    audience_pb2,
    catalog_service_pb2,
    events_pb2,
    metrics_pb2,
    ranking_pb2,
    trends_pb2,
)
from gen.campaigns.optimizer.v1 import affinity_pb2, offers_pb2, send_time_pb2, training_pb2
from gen.campaigns.type.v1 import campaign_pb2, error_reason_pb2, range_pb2

METRIC_RATES = (
    *("view_rate", "ctr", "conversion_rate", "revenue_per_impression", "cost_per_conversion", "roas", "roi"),
    *("profit_margin", "breakeven_conversions", "user_conversion_rate"),
)
RESULT_FIELDS = (
    *("test_id", "groups", "p_value", "log10_p_value", "anytime_p_value", "statistic", "power"),
    *("absolute_lift", "relative_lift", "relative_lift_interval", "improvement_percent", "winner", "verdict"),
    *("recommendation", "method", "decision_method", "warnings"),
)
FIELDS: dict[Descriptor, tuple[str, ...]] = {
    analytics_service_pb2.GetCampaignMetricsResponse.DESCRIPTOR: (
        *("campaign_id", "impressions", "views", "clicks", "conversions", "revenue", "cost", "profit"),
        *("reached_users", "converting_users", *METRIC_RATES),
    ),
    analytics_service_pb2.GetCampaignMetricsRequest.DESCRIPTOR: ("campaign_id", "start_date", "end_date"),
    audience_pb2.SegmentPerformance.DESCRIPTOR: ("segment_name", "conversion_rate", "avg_revenue"),
    analytics_service_pb2.GetCampaignTrendRequest.DESCRIPTOR: ("interval", "start_date", "end_date"),
    trends_pb2.TrendPoint.DESCRIPTOR: (
        *("period", "impressions", "views", "clicks", "conversions", "revenue", "cost"),
    ),
    metrics_pb2.GetCampaignRoiResponse.DESCRIPTOR: (
        *("campaign_id", "total_cost", "total_revenue", "profit", "roas", "cost_per_conversion"),
        *("profit_margin_percent", "breakeven"),
    ),
    analytics_service_pb2.GetPortfolioPerformanceRequest.DESCRIPTOR: (
        "days",
        "as_of",
        "start_date",
        "end_date",
    ),
    analytics_service_pb2.GetPortfolioPerformanceResponse.DESCRIPTOR: (
        *("total_campaigns", "totals", "average_roas", "change"),
    ),
    ranking_pb2.ListTopCampaignsRequest.DESCRIPTOR: ("metric", "limit", "days", "as_of"),
    events_pb2.Event.DESCRIPTOR: (
        *("event_id", "event_type", "campaign_id", "user_id", "merchant_id", "event_time", "revenue", "cost"),
        *("offer_amount", "channel", "original_event_id", "custom_event_name", "is_machine_open"),
        *("propensity", "policy_version"),
    ),
    analytics_service_pb2.IngestEventsResponse.DESCRIPTOR: (
        "accepted_count",
        "duplicate_count",
        "rejections",
    ),
    events_pb2.EventRejection.DESCRIPTOR: ("index", "field", "reason", "message"),
    catalog_service_pb2.Campaign.DESCRIPTOR: (
        *("campaign_id", "campaign_name", "campaign_type", "merchant_id", "channel", "offer_amount"),
        *("gross_margin_rate", "currency_code", "start_time", "end_time"),
    ),
    catalog_service_pb2.Merchant.DESCRIPTOR: (
        *("merchant_id", "merchant_name", "category", "latitude", "longitude", "currency_code"),
    ),
    catalog_service_pb2.User.DESCRIPTOR: ("user_id", "sign_up_time", "time_zone", "segments"),
    tests_pb2.CreateTestRequest.DESCRIPTOR: (
        *("test_name", "control_campaign_id", "variant_campaign_id", "target_sample_size"),
        *("confidence_level", "decision_method", "request_id"),
    ),
    tests_pb2.CreateTestResponse.DESCRIPTOR: ("test_id", "is_active"),
    progress_pb2.GetTestStatusResponse.DESCRIPTOR: ("progress", "groups", "can_end"),
    results_pb2.AnalyzeTestResponse.DESCRIPTOR: RESULT_FIELDS,
    results_pb2.EndTestResponse.DESCRIPTOR: RESULT_FIELDS,
    results_pb2.GroupResult.DESCRIPTOR: ("group", "users", "conversions", "conversion_rate"),
    assignments_pb2.AssignUserResponse.DESCRIPTOR: ("assigned_group",),
    assignments_pb2.GetUserTestGroupResponse.DESCRIPTOR: ("assigned_group",),
    training_pb2.TrainModelRequest.DESCRIPTOR: ("as_of",),
    training_pb2.TrainModelResponse.DESCRIPTOR: ("status", "r2_score", "mae", "samples", "version"),
    offers_pb2.OptimizeOfferRequest.DESCRIPTOR: (
        *(
            "campaign_id",
            "campaign_type",
            "merchant_id",
            "current_offer",
            "current_conversion_rate",
            "objective",
        ),
    ),
    offers_pb2.OptimizeOfferResponse.DESCRIPTOR: (
        *("offer_amount", "predicted_conversion_rate", "expected_improvement_percent", "confidence"),
        "response_curve",
    ),
    send_time_pb2.OptimizeSendTimeResponse.DESCRIPTOR: (
        *("optimal_hour", "optimal_day", "optimal_window", "top_hours", "expected_conversion_rate"),
        *("confidence", "time_zone"),
    ),
    affinity_pb2.MerchantAffinity.DESCRIPTOR: (
        *("merchant_id", "merchant_name", "affinity_score", "reasons"),
    ),
}


@pytest.mark.parametrize("descriptor", FIELDS, ids=lambda descriptor: descriptor.name)
def test_messages_have_the_names_that_callers_use(descriptor: Descriptor) -> None:
    assert [name for name in FIELDS[descriptor] if name not in descriptor.fields_by_name] == []


@pytest.mark.parametrize("name", METRIC_RATES)
def test_what_can_be_undefined_can_be_unset(name: str) -> None:
    assert analytics_service_pb2.GetCampaignMetricsResponse.DESCRIPTOR.fields_by_name[name].has_presence


@pytest.mark.parametrize(
    "rate", [name for name in METRIC_RATES if name.endswith("_rate") or name in {"ctr", "roas"}]
)
def test_every_rate_has_an_interval(rate: str) -> None:
    field = analytics_service_pb2.GetCampaignMetricsResponse.DESCRIPTOR.fields_by_name[f"{rate}_interval"]

    assert field.message_type == range_pb2.ConfidenceInterval.DESCRIPTOR


def test_enum_values_keep_their_numbers() -> None:
    assert campaign_pb2.CampaignType.items()[1:] == [
        ("CAMPAIGN_TYPE_LOCATION_DEAL", 1),
        ("CAMPAIGN_TYPE_FLASH_SALE", 2),
        ("CAMPAIGN_TYPE_LOYALTY_REWARD", 3),
        ("CAMPAIGN_TYPE_WIN_BACK", 4),
        ("CAMPAIGN_TYPE_NEW_MERCHANT", 5),
        ("CAMPAIGN_TYPE_BIRTHDAY", 6),
        ("CAMPAIGN_TYPE_CROSS_SELL", 7),
    ]
    assert campaign_pb2.Channel.keys()[1:] == [
        "CHANNEL_PUSH",
        "CHANNEL_EMAIL",
        "CHANNEL_SMS",
        "CHANNEL_IN_APP",
    ]
    assert [name.removeprefix("EVENT_TYPE_") for name in events_pb2.EventType.keys()[1:]] == [
        *("DELIVERED", "VIEWED", "CLICKED", "CONVERTED", "REFUNDED", "UNSUBSCRIBED", "GEOFENCE_ENTERED"),
        *("NOTIFICATION_DELIVERED", "NOTIFICATION_OPENED", "CUSTOM"),
    ]


@pytest.mark.parametrize(
    ("flat", "shared"),
    [
        (analytics_service_pb2.GetCampaignMetricsResponse.DESCRIPTOR, metrics_pb2.CampaignMetrics.DESCRIPTOR),
        (results_pb2.AnalyzeTestResponse.DESCRIPTOR, results_pb2.TestResult.DESCRIPTOR),
        (results_pb2.EndTestResponse.DESCRIPTOR, results_pb2.TestResult.DESCRIPTOR),
        (
            analytics_service_pb2.IngestEventStreamResponse.DESCRIPTOR,
            analytics_service_pb2.IngestEventsResponse.DESCRIPTOR,
        ),
    ],
    ids=lambda descriptor: descriptor.name,
)
def test_twins_have_the_same_fields_under_the_same_numbers(flat: Descriptor, shared: Descriptor) -> None:
    numbers = {field.name: (field.number, field.type) for field in flat.fields}

    assert {field.name: (field.number, field.type) for field in shared.fields}.items() <= numbers.items()


def test_reasons_are_told_once_each() -> None:
    names = [
        name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name
    ]

    assert len(names) == len(set(names)) > 40
    assert {"CAMPAIGN_UNKNOWN", "EVENT_ID_CONFLICT", "INVALID_FIELD"} <= set(names)
