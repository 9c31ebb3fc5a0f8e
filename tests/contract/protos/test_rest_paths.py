"""The contract has the rpcs and REST paths that callers already use; the tables here are the design's."""

from pathlib import Path

import pytest

from deploy.envoy.contract import load_rpcs
from gen.campaigns.analytics.v1 import analytics_service_pb2_grpc

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


def test_the_rpcs_and_their_rest_paths_are_the_designed_ones() -> None:
    declared = {
        path: [(binding.verb, binding.path) for binding in rpc.bindings] for path, rpc in RPCS.items()
    }

    assert declared == DESIGNED


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


def test_servicers_can_be_imported_from_gen() -> None:
    assert analytics_service_pb2_grpc.AnalyticsServiceServicer.__module__.startswith("gen.")
