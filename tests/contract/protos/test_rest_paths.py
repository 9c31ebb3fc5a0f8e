"""The contract has the rpcs, paths and names that callers already use; the tables here are the design's."""

from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor

from deploy.envoy.contract import load_rpcs
from gen.campaigns.abtest.v1 import assignments_pb2, progress_pb2, results_pb2, tests_pb2
from gen.campaigns.analytics.v1 import (
    analytics_service_pb2,
    analytics_service_pb2_grpc,
    audience_pb2,
    catalog_service_pb2,
    events_pb2,
    metrics_pb2,
    ranking_pb2,
    trends_pb2,
)
from gen.campaigns.optimizer.v1 import affinity_pb2, offers_pb2, send_time_pb2, training_pb2
from gen.campaigns.type.v1 import campaign_pb2, error_reason_pb2, range_pb2

ROOT = Path(__file__).resolve().parents[3]
RPCS = {rpc.path: rpc for rpc in load_rpcs(ROOT / "gen/descriptors/api.binpb")}

ANALYTICS = {
    "GetCampaignMetrics": [
        ("GET", "/api/analytics/campaign/{campaign_id}/metrics"),
        ("POST", "/api/analytics/campaign/{campaign_id}/metrics"),
    ],
    "GetCampaignSegments": [("GET", "/api/analytics/campaign/{campaign_id}/segments")],
    "GetCampaignTrend": [("GET", "/api/analytics/campaign/{campaign_id}/trends")],
    "GetCampaignChannels": [("GET", "/api/analytics/campaign/{campaign_id}/channels")],
    "GetCampaignRoi": [("GET", "/api/analytics/campaign/{campaign_id}/roi")],
    "GetPortfolioPerformance": [("GET", "/api/analytics/portfolio")],
    "ListTopCampaigns": [("GET", "/api/analytics/top-campaigns")],
    "GetCohortPerformance": [("GET", "/api/analytics/cohorts/{cohort_date}")],
    "ListCohorts": [("GET", "/api/analytics/cohorts")],
    "ListRfmSegments": [("GET", "/api/analytics/segments/rfm")],
    "CompareCampaigns": [("GET", "/api/analytics/compare")],
    "GetMerchantPerformance": [("GET", "/api/analytics/merchants/{merchant_id}/performance")],
    "GetCampaignForecast": [("GET", "/api/analytics/campaign/{campaign_id}/forecast")],
    "GetPortfolioForecast": [("GET", "/api/analytics/portfolio/forecast")],
    "GetAttribution": [("GET", "/api/analytics/campaign/{campaign_id}/attribution")],
    "GetPortfolioAttribution": [("GET", "/api/analytics/attribution")],
    "IngestEvents": [("POST", "/api/analytics/events")],
    "IngestEventStream": [],
    "ImportCosts": [("POST", "/api/analytics/costs")],
    "ListCosts": [("GET", "/api/analytics/costs")],
    "WatchCampaign": [("GET", "/api/analytics/campaign/{campaign_id}/watch")],
    "WatchPortfolio": [("GET", "/api/analytics/portfolio/watch")],
}
ALERTS = {
    "CreateAlertRule": [("POST", "/api/analytics/alert-rules")],
    "ListAlertRules": [("GET", "/api/analytics/alert-rules")],
    "DeleteAlertRule": [("DELETE", "/api/analytics/alert-rules/{rule_id}")],
    "ListAlerts": [("GET", "/api/analytics/alerts")],
    "WatchAlerts": [("GET", "/api/analytics/alerts/watch")],
}
OPERATIONS = {
    "ListJobs": [("GET", "/api/analytics/jobs")],
    "RunJob": [("POST", "/api/analytics/jobs/{job_name}/run")],
    "Reconcile": [("POST", "/api/analytics/reconcile")],
}
EXPORTED = (
    *("campaign/{metrics.campaign_id}/metrics", "campaign/{segments.campaign_id}/segments"),
    *("campaign/{channels.campaign_id}/channels", "campaign/{trend.campaign_id}/trends"),
    *("cohorts/{cohort.cohort_date}", "merchants/{merchant.merchant_id}/performance"),
    "campaign/{campaign_forecast.campaign_id}/forecast",
    "campaign/{campaign_attribution.campaign_id}/attribution",
    "{question_name}",
)
EXPORT = {
    "Export": [
        ("POST", "/api/analytics/export"),
        *(("GET", f"/api/analytics/export/{question}") for question in EXPORTED),
    ]
}
CATALOG = {
    "UpsertCampaigns": [("POST", "/api/catalog/campaigns")],
    "ListCampaigns": [("GET", "/api/catalog/campaigns")],
    "UpsertMerchants": [("POST", "/api/catalog/merchants")],
    "ListMerchants": [("GET", "/api/catalog/merchants")],
    "UpsertUsers": [("POST", "/api/catalog/users")],
    "ListUsers": [("GET", "/api/catalog/users")],
}
ABTEST = {
    "CreateTest": [("POST", "/api/ab-tests/create")],
    "GetTest": [("GET", "/api/ab-tests/{test_id}/definition")],
    "UpdateTest": [("POST", "/api/ab-tests/{test_id}/update")],
    "StartTest": [("POST", "/api/ab-tests/{test_id}/start")],
    "PauseTest": [("POST", "/api/ab-tests/{test_id}/pause")],
    "ResumeTest": [("POST", "/api/ab-tests/{test_id}/resume")],
    "ArchiveTest": [("POST", "/api/ab-tests/{test_id}/archive")],
    "ListTestChanges": [("GET", "/api/ab-tests/{test_id}/changes")],
    "GetTestStatus": [("GET", "/api/ab-tests/{test_id}/status")],
    "AnalyzeTest": [("POST", "/api/ab-tests/{test_id}/analyze")],
    "EndTest": [("POST", "/api/ab-tests/{test_id}/end")],
    "ListTestResults": [("GET", "/api/ab-tests/{test_id}/results")],
    "AssignUser": [("GET", "/api/ab-tests/assign-user/{test_id}/{user_id}")],
    "AssignUsers": [("POST", "/api/ab-tests/{test_id}/assign-users")],
    "GetUserTestGroup": [("GET", "/api/ab-tests/{test_id}/user-group/{user_id}")],
    "RecordExposures": [("POST", "/api/ab-tests/exposures")],
    "ListExposures": [("GET", "/api/ab-tests/{test_id}/exposures")],
    "CreateHoldout": [("POST", "/api/ab-tests/holdouts")],
    "EndHoldout": [("POST", "/api/ab-tests/holdouts/{holdout_id}/end")],
    "ListHoldouts": [("GET", "/api/ab-tests/holdouts")],
    "ListExclusionGroups": [("GET", "/api/ab-tests/exclusion-groups")],
    "ListTestHistory": [("GET", "/api/ab-tests/history")],
    "EstimateSampleSize": [("GET", "/api/ab-tests/sample-size")],
    "EstimateMinimumDetectableEffect": [("GET", "/api/ab-tests/minimum-detectable-effect")],
    "EstimatePower": [("GET", "/api/ab-tests/power")],
    "EstimateTestDuration": [("GET", "/api/ab-tests/duration")],
    "SimulateTest": [("POST", "/api/ab-tests/simulate")],
    "ListOverlappingTests": [("GET", "/api/ab-tests/overlaps")],
    "GetBandit": [("GET", "/api/ab-tests/{test_id}/bandit")],
    "ListBanditSteps": [("GET", "/api/ab-tests/{test_id}/bandit/steps")],
}
ABTEST_EXPORT = {"ExportTestResults": [("GET", "/api/ab-tests/{test_id}/export")]}
ABTEST_OPERATIONS = {
    "ListJobs": [("GET", "/api/ab-tests/jobs")],
    "RunJob": [("POST", "/api/ab-tests/jobs/{job_name}/run")],
}
OPTIMIZER = {
    "TrainModel": [("POST", "/api/optimize/train-model")],
    "TrainModelWithProgress": [],
    "CancelTraining": [("POST", "/api/optimize/trainings/{training_id}/cancel")],
    "ListTrainings": [("GET", "/api/optimize/trainings")],
    "ListModels": [("GET", "/api/optimize/models")],
    "ListModelChanges": [("GET", "/api/optimize/models/changes")],
    "GetModel": [("GET", "/api/optimize/models/{version}")],
    "RollbackModel": [("POST", "/api/optimize/models/rollback")],
    "GetModelDrift": [("GET", "/api/optimize/drift")],
    "OptimizeOffer": [("GET", "/api/optimize/offer/{campaign_id}"), ("GET", "/api/optimize/offer")],
    "SetOfferConstraints": [("POST", "/api/optimize/offer-constraints")],
    "GetOfferConstraints": [("GET", "/api/optimize/offer-constraints")],
    "PredictCampaign": [("GET", "/api/optimize/predict")],
    "OptimizeSendTime": [("GET", "/api/optimize/send-time/{user_id}")],
    "GetMerchantAffinity": [("GET", "/api/optimize/affinity/{user_id}")],
    "RecommendCampaigns": [("GET", "/api/optimize/campaigns-for-user/{user_id}")],
    "GetOptimizationRecommendations": [("GET", "/api/optimize/recommendations/{campaign_id}")],
    "AcceptRecommendation": [("POST", "/api/optimize/recommendations/{recommendation_id}/accept")],
    "DismissRecommendation": [("POST", "/api/optimize/recommendations/{recommendation_id}/dismiss")],
    "MarkRecommendationApplied": [("POST", "/api/optimize/recommendations/{recommendation_id}/apply")],
    "ListOfferOutcomes": [("GET", "/api/optimize/outcomes")],
    "EvaluateOfferPolicy": [("POST", "/api/optimize/policies/evaluate")],
    "GetSegmentRecommendations": [("GET", "/api/optimize/segments/{campaign_id}")],
}
OPTIMIZER_OPERATIONS = {
    "ListJobs": [("GET", "/api/optimize/jobs")],
    "RunJob": [("POST", "/api/optimize/jobs/{job_name}/run")],
}
INFERENCE = [
    *("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"),
    *("ModelConfig", "ModelStatistics", "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"),
]
SERVICES: dict[str, dict[str, list[tuple[str, str]]]] = {
    "campaigns.analytics.v1.AlertService": ALERTS,
    "campaigns.analytics.v1.AnalyticsService": ANALYTICS,
    "campaigns.analytics.v1.ExportService": EXPORT,
    "campaigns.analytics.v1.OperationsService": OPERATIONS,
    "campaigns.analytics.v1.CatalogService": CATALOG,
    "campaigns.abtest.v1.ABTestService": ABTEST,
    "campaigns.abtest.v1.ABTestExportService": ABTEST_EXPORT,
    "campaigns.abtest.v1.ABTestOperationsService": ABTEST_OPERATIONS,
    "campaigns.optimizer.v1.OptimizerService": OPTIMIZER,
    "campaigns.optimizer.v1.OptimizerOperationsService": OPTIMIZER_OPERATIONS,
    "inference.GRPCInferenceService": {name: [] for name in INFERENCE},
}
DESIGNED = {
    f"/{service}/{name}": bindings
    for service, methods in SERVICES.items()
    for name, bindings in methods.items()
}
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


def test_the_rpcs_and_their_rest_paths_are_the_designed_ones() -> None:
    declared = {
        path: [(binding.verb, binding.path) for binding in rpc.bindings] for path, rpc in RPCS.items()
    }

    assert declared == DESIGNED


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


@pytest.mark.parametrize("rpc", RPCS.values(), ids=lambda rpc: rpc.path)
def test_only_rpcs_that_rest_has_as_get_may_be_sent_twice(rpc: object) -> None:
    once = (
        *("Ingest", "Import", "Upsert", "Create", "Delete", "Run", "Analyze", "End", "Train", "Update"),
        *("Start", "Pause", "Resume", "Archive", "AssignUsers", "Record", "Simulate"),
        *("Accept", "Dismiss", "Mark", "Evaluate", "Cancel", "Rollback", "Set"),
    )
    streams = ("Watch", "Reconcile", "Export")
    path = getattr(rpc, "path", "")
    expected = path.startswith("/campaigns.") and not path.rsplit("/", 1)[1].startswith(once + streams)

    assert RPCS[path].only_reads == expected


def test_reasons_are_told_once_each() -> None:
    names = [
        name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name
    ]

    assert len(names) == len(set(names)) > 40
    assert {"CAMPAIGN_UNKNOWN", "EVENT_ID_CONFLICT", "INVALID_FIELD"} <= set(names)


def test_servicers_can_be_imported_from_gen() -> None:
    assert analytics_service_pb2_grpc.AnalyticsServiceServicer.__module__.startswith("gen.")
