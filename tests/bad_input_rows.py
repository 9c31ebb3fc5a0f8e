"""What each rpc of analytics is asked in tests of bad input: one fit request, and what it refuses."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from gen.campaigns.analytics.v1 import (
    alert_service_pb2,
    alerts_pb2,
    attribution_pb2,
    audience_pb2,
    catalog_service_pb2,
    comparison_pb2,
    costs_pb2,
    events_pb2,
    export_service_pb2,
    forecasts_pb2,
    merchants_pb2,
    operations_service_pb2,
    ranking_pb2,
)
from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from tests.bad_requests import (
    Row,
    bad,
    bad_campaigns,
    bad_choices,
    bad_currencies,
    bad_days,
    bad_list,
    bad_numbers,
    bad_pages,
    bad_rule,
    bad_texts,
    unknown,
)

HUGE = 2**31 - 1
YEAR_1, YEAR_9999 = Timestamp(seconds=-62_135_596_800), Timestamp(seconds=253_402_300_799)
EVENT: dict[str, Any] = {
    "event_id": "e9",
    "event_type": events_pb2.EVENT_TYPE_CONVERTED,
    "campaign_id": "c1",
    "user_id": "u1",
    "event_time": Timestamp(seconds=1_772_359_200),
    "revenue": 1.0,
}
COST: dict[str, Any] = {"campaign_id": "c1", "cost_date": "2026-03-01", "cost": 1.0}
USER: Any = catalog_service_pb2.User
MERCHANT: Any = catalog_service_pb2.Merchant
CAMPAIGN: Any = catalog_service_pb2.Campaign
NAN = float("nan")

ROWS: Mapping[str, Row] = {
    "AnalyticsService.GetCampaignMetrics": Row(
        fit=pb.GetCampaignMetricsRequest(campaign_id="c1"), refused=[*bad_campaigns(), *bad_days()]
    ),
    "AnalyticsService.GetCampaignSegments": Row(
        fit=audience_pb2.GetCampaignSegmentsRequest(campaign_id="c1"),
        refused=[*bad_campaigns(), *bad_choices("segmentation"), *bad_choices("metric")],
    ),
    "AnalyticsService.GetCampaignTrend": Row(
        fit=pb.GetCampaignTrendRequest(campaign_id="c1", start_date="2026-03-01", end_date="2026-03-31"),
        refused=[
            *bad_campaigns(),
            *bad_days(),
            *bad_choices("interval"),
            bad("end_date", "VALUE_OUT_OF_RANGE", start_date="2024-03-01", interval="hourly"),
        ],
    ),
    "AnalyticsService.GetCampaignChannels": Row(
        fit=pb.GetCampaignChannelsRequest(campaign_id="c1"), refused=[*bad_campaigns(), *bad_days()]
    ),
    "AnalyticsService.GetCampaignRoi": Row(
        fit=pb.GetCampaignRoiRequest(campaign_id="c1"), refused=bad_campaigns()
    ),
    "AnalyticsService.GetPortfolioPerformance": Row(
        fit=pb.GetPortfolioPerformanceRequest(),
        refused=[
            *bad_numbers("days", 0, -1, 3661, HUGE, -(2**31)),
            *bad_days(),
            *(bad("as_of", "TIME_OUT_OF_RANGE", as_of=time) for time in (YEAR_1, YEAR_9999)),
            bad("as_of", "TIME_OUT_OF_RANGE", as_of=Timestamp(seconds=2**63 - 1)),
            bad("start_date", "FIELDS_CONFLICT", days=7, start_date="2026-03-01", end_date="2026-03-02"),
            bad("end_date", "FIELD_REQUIRED", start_date="2026-03-01"),
        ],
    ),
    "AnalyticsService.ListTopCampaigns": Row(
        fit=ranking_pb2.ListTopCampaignsRequest(),
        refused=[
            *bad_choices("metric"),
            *bad_numbers("limit", 0, -1, 1001, HUGE),
            *bad_numbers("days", 0, -1, 3661, HUGE),
            *bad_numbers("minimum_volume", -1, -(2**63)),
            *bad_currencies(),
            *(bad("as_of", "TIME_OUT_OF_RANGE", as_of=time) for time in (YEAR_1, YEAR_9999)),
        ],
    ),
    "AnalyticsService.GetCohortPerformance": Row(
        fit=audience_pb2.GetCohortPerformanceRequest(cohort_date="2026-03-01"),
        refused=[
            bad("cohort_date", "FIELD_REQUIRED", cohort_date=""),
            *bad_choices("cohort_date", "DATE_INVALID"),
            *(
                bad("cohort_date", "VALUE_OUT_OF_RANGE", cohort_date=day)
                for day in ("0001-01-01", "9999-12-31")
            ),
            *bad_choices("interval"),
            *bad_currencies(),
        ],
    ),
    "AnalyticsService.ListCohorts": Row(
        fit=audience_pb2.ListCohortsRequest(),
        refused=[
            *bad_days(),
            *bad_choices("interval"),
            *bad_currencies(),
            *bad_pages(),
            *bad_numbers("max_periods", -1, HUGE),
        ],
    ),
    "AnalyticsService.ListRfmSegments": Row(
        fit=audience_pb2.ListRfmSegmentsRequest(), refused=bad_currencies()
    ),
    "AnalyticsService.CompareCampaigns": Row(
        fit=comparison_pb2.CompareCampaignsRequest(campaign_ids=["c1", "c2"]),
        refused=[
            bad("campaign_ids", "FIELD_REQUIRED", campaign_ids=[]),
            bad("campaign_ids", "VALUE_OUT_OF_RANGE", campaign_ids=["c1"]),
            bad("campaign_ids", "VALUE_OUT_OF_RANGE", campaign_ids=[str(n) for n in range(21)]),
            bad("campaign_ids", "VALUE_OUT_OF_RANGE", campaign_ids=["c1"] * 100_000),
            bad("campaign_ids[1]", "DUPLICATE_ENTRY", campaign_ids=["c1", "c1"]),
            bad("campaign_ids[1]", "FIELD_REQUIRED", campaign_ids=["c1", ""]),
            bad("campaign_ids[1]", "TEXT_INVALID", campaign_ids=["c1", "c\0"]),
            bad("campaign_ids[1]", "TEXT_INVALID", campaign_ids=["c1", "c" * 10_000_000]),
            unknown("CAMPAIGN_UNKNOWN", campaign_ids=["c1", "nobody"]),
            bad("metrics[0]", "VALUE_UNKNOWN", metrics=["luck"]),
            bad("metrics[1]", "DUPLICATE_ENTRY", metrics=["ctr", "ctr"]),
        ],
    ),
    "AnalyticsService.GetMerchantPerformance": Row(
        fit=merchants_pb2.GetMerchantPerformanceRequest(merchant_id=1),
        refused=[
            *bad_numbers("merchant_id", -1, -(2**31)),
            unknown("MERCHANT_UNKNOWN", merchant_id=HUGE),
            *bad_days(),
            *bad_pages(),
        ],
    ),
    "AnalyticsService.GetCampaignForecast": Row(
        fit=forecasts_pb2.GetCampaignForecastRequest(campaign_id="c1"),
        missing="FORECAST_NOT_MADE",
        refused=[*bad_campaigns(), *bad_numbers("days", 0, -1, 29, HUGE)],
    ),
    "AnalyticsService.GetPortfolioForecast": Row(
        fit=forecasts_pb2.GetPortfolioForecastRequest(),
        missing="FORECAST_NOT_MADE",
        refused=[*bad_currencies(), *bad_numbers("days", 0, -1, 29, HUGE)],
    ),
    "AnalyticsService.GetAttribution": Row(
        fit=attribution_pb2.GetAttributionRequest(campaign_id="c1"), refused=[*bad_campaigns(), *bad_days()]
    ),
    "AnalyticsService.GetPortfolioAttribution": Row(
        fit=attribution_pb2.GetPortfolioAttributionRequest(),
        refused=[*bad_choices("model"), *bad_days(), *bad_currencies(), *bad_pages()],
    ),
    "AnalyticsService.IngestEvents": Row(
        fit=pb.IngestEventsRequest(events=[events_pb2.Event(**EVENT)]),
        refused=bad_list("events", events_pb2.Event, EVENT),
    ),
    "AnalyticsService.IngestEventStream": Row(
        fit=pb.IngestEventStreamRequest(events=[events_pb2.Event(**EVENT)]),
        refused=bad_list("events", events_pb2.Event, EVENT)[1:],
    ),
    "AnalyticsService.ImportCosts": Row(
        fit=costs_pb2.ImportCostsRequest(costs=[costs_pb2.DailyCost(**COST)]),
        refused=bad_list("costs", costs_pb2.DailyCost, COST),
    ),
    "AnalyticsService.ListCosts": Row(
        fit=costs_pb2.ListCostsRequest(),
        refused=[*bad_campaigns(required=False, known=False), *bad_days(), *bad_pages()],
    ),
    "AnalyticsService.WatchCampaign": Row(
        fit=pb.WatchCampaignRequest(campaign_id="c1"), refused=bad_campaigns()
    ),
    "AnalyticsService.WatchPortfolio": Row(fit=pb.WatchPortfolioRequest()),
    "AlertService.CreateAlertRule": Row(
        fit=alert_service_pb2.CreateAlertRuleRequest(
            rule=alerts_pb2.AlertRule(
                metric="roas", kind=alerts_pb2.ALERT_KIND_BELOW, threshold=1.5, campaign_id="c1"
            ),
            request_id="r1",
        ),
        refused=[
            bad("rule.metric", "VALUE_UNKNOWN", rule=None),
            bad_rule("rule.metric", "VALUE_UNKNOWN", metric="luck"),
            bad_rule("rule.kind", "FIELD_REQUIRED", kind=0),
            bad_rule("rule.kind", "VALUE_UNKNOWN", kind=999),
            bad_rule("rule.threshold", "FIELD_REQUIRED", threshold=None),
            *(
                bad_rule("rule.threshold", "VALUE_OUT_OF_RANGE", threshold=value)
                for value in (NAN, float("inf"))
            ),
            bad_rule("rule.threshold", "VALUE_OUT_OF_RANGE", kind=3, threshold=1.0),
            bad_rule("rule.threshold", "MONEY_OUT_OF_RANGE", metric="revenue", threshold=1e300),
            *(bad_rule("rule.days", "VALUE_OUT_OF_RANGE", days=days) for days in (0, -1, 91, HUGE)),
            *(bad_rule("rule.minimum_volume", "VALUE_OUT_OF_RANGE", minimum_volume=n) for n in (-1, 2**62)),
            bad_rule("rule.campaign_id", "TEXT_INVALID", campaign_id="a\0b"),
            bad_rule("", "CAMPAIGN_UNKNOWN", code="NOT_FOUND", campaign_id="nobody"),
            bad_rule("rule.currency_code", "FIELDS_CONFLICT", currency_code="USD"),
            bad_rule("rule.currency_code", "CURRENCY_REQUIRED", campaign_id="", metric="revenue"),
            *bad_texts("request_id"),
        ],
    ),
    "AlertService.ListAlertRules": Row(
        fit=alert_service_pb2.ListAlertRulesRequest(),
        refused=[*bad_campaigns(required=False, known=False), *bad_pages()],
    ),
    "AlertService.DeleteAlertRule": Row(
        fit=alert_service_pb2.DeleteAlertRuleRequest(rule_id="spare"),
        refused=[
            bad("rule_id", "FIELD_REQUIRED", rule_id=""),
            *bad_texts("rule_id"),
            unknown("ALERT_RULE_UNKNOWN", rule_id="nothing"),
        ],
    ),
    "AlertService.ListAlerts": Row(
        fit=alert_service_pb2.ListAlertsRequest(),
        refused=[*bad_campaigns(required=False, known=False), *bad_pages()],
    ),
    "AlertService.WatchAlerts": Row(
        fit=alert_service_pb2.WatchAlertsRequest(), refused=bad_campaigns(required=False, known=False)
    ),
    "CatalogService.UpsertCampaigns": Row(
        fit=catalog_service_pb2.UpsertCampaignsRequest(campaigns=[CAMPAIGN(campaign_id="c1")]),
        refused=[
            *bad_list("campaigns", CAMPAIGN, {"campaign_id": "c1"}),
            bad("campaigns[1].campaign_id", "DUPLICATE_ENTRY", campaigns=[CAMPAIGN(campaign_id="c1")] * 2),
            bad(
                "campaigns[1].campaign_id",
                "TEXT_INVALID",
                campaigns=[CAMPAIGN(campaign_id="c1"), CAMPAIGN(campaign_id="x" * 10_000_000)],
            ),
            bad("campaigns[0].campaign_id", "FIELD_REQUIRED", campaigns=[CAMPAIGN()]),
            *(
                bad(
                    f"campaigns[0].{field}",
                    reason,
                    campaigns=[CAMPAIGN(**{"campaign_id": "c1", field: value})],
                )
                for field, reason, value in (
                    ("campaign_name", "TEXT_INVALID", "x" * 257),
                    ("campaign_type", "VALUE_UNKNOWN", 999),
                    ("channel", "VALUE_UNKNOWN", -1),
                    ("merchant_id", "VALUE_OUT_OF_RANGE", -1),
                    ("offer_amount", "MONEY_NOT_FINITE", NAN),
                    ("offer_amount", "MONEY_OUT_OF_RANGE", 1e308),
                    ("offer_amount", "MONEY_OUT_OF_RANGE", -1),
                    ("offer_amount", "MONEY_TOO_PRECISE", 1e-9),
                    ("gross_margin_rate", "VALUE_OUT_OF_RANGE", NAN),
                    ("gross_margin_rate", "VALUE_OUT_OF_RANGE", 1.1),
                    ("currency_code", "TEXT_INVALID", "usd"),
                    ("start_time", "TIME_OUT_OF_RANGE", YEAR_1),
                    ("end_time", "TIME_OUT_OF_RANGE", YEAR_9999),
                )
            ),
        ],
    ),
    "CatalogService.ListCampaigns": Row(fit=catalog_service_pb2.ListCampaignsRequest(), refused=bad_pages()),
    "CatalogService.UpsertMerchants": Row(
        fit=catalog_service_pb2.UpsertMerchantsRequest(merchants=[MERCHANT(merchant_id=1)]),
        refused=[
            *bad_list("merchants", MERCHANT, {"merchant_id": 1}),
            bad("merchants[0].merchant_id", "FIELD_REQUIRED", merchants=[MERCHANT()]),
            *(
                bad(f"merchants[0].{name}", reason, merchants=[MERCHANT(**{"merchant_id": 1, **fields})])
                for name, reason, fields in (
                    ("merchant_id", "VALUE_OUT_OF_RANGE", {"merchant_id": -1}),
                    ("merchant_name", "TEXT_INVALID", {"merchant_name": "a\0"}),
                    ("category", "TEXT_INVALID", {"category": "x" * 129}),
                    ("latitude", "VALUE_OUT_OF_RANGE", {"latitude": NAN, "longitude": 0.0}),
                    ("longitude", "VALUE_OUT_OF_RANGE", {"latitude": 0.0, "longitude": 181.0}),
                    ("longitude", "FIELD_REQUIRED", {"latitude": 0.0}),
                    ("currency_code", "TEXT_INVALID", {"currency_code": "EURO"}),
                )
            ),
        ],
    ),
    "CatalogService.ListMerchants": Row(fit=catalog_service_pb2.ListMerchantsRequest(), refused=bad_pages()),
    "CatalogService.UpsertUsers": Row(
        fit=catalog_service_pb2.UpsertUsersRequest(users=[USER(user_id="u1")]),
        refused=[
            *bad_list("users", USER, {"user_id": "u1"}),
            *(
                bad(f"users[0].{name}", reason, users=[USER(**{"user_id": "u1", **fields})])
                for name, reason, fields in (
                    ("user_id", "FIELD_REQUIRED", {"user_id": ""}),
                    ("user_id", "TEXT_INVALID", {"user_id": "a\0"}),
                    ("time_zone", "TIME_ZONE_UNKNOWN", {"time_zone": "../../etc/localtime"}),
                    ("time_zone", "TIME_ZONE_UNKNOWN", {"time_zone": "\0"}),
                    ("sign_up_time", "TIME_OUT_OF_RANGE", {"sign_up_time": YEAR_1}),
                    ("segments", "VALUE_OUT_OF_RANGE", {"segments": [str(n) for n in range(65)]}),
                    ("segments[1]", "DUPLICATE_ENTRY", {"segments": ["a", "a"]}),
                    ("segments[0]", "FIELD_REQUIRED", {"segments": [""]}),
                )
            ),
        ],
    ),
    "CatalogService.ListUsers": Row(fit=catalog_service_pb2.ListUsersRequest(), refused=bad_pages()),
    "OperationsService.ListJobs": Row(fit=operations_service_pb2.ListJobsRequest()),
    "OperationsService.RunJob": Row(
        fit=operations_service_pb2.RunJobRequest(job_name="alerts"),
        refused=[
            bad("job_name", "FIELD_REQUIRED", job_name=""),
            *(unknown("JOB_UNKNOWN", job_name=name) for name in ("nothing", "\0", "x" * 10_000_000)),
        ],
    ),
    "OperationsService.Reconcile": Row(fit=operations_service_pb2.ReconcileRequest()),
    "ExportService.Export": Row(
        fit=export_service_pb2.ExportRequest(metrics=pb.GetCampaignMetricsRequest(campaign_id="c1")),
        refused=[
            bad("question", "FIELD_REQUIRED", metrics=None),
            *bad_choices("format"),
            *bad_choices("list"),
            bad("campaign_id", "FIELD_REQUIRED", metrics=pb.GetCampaignMetricsRequest()),
            unknown("CAMPAIGN_UNKNOWN", metrics=pb.GetCampaignMetricsRequest(campaign_id="nobody")),
            bad(
                "campaigns.page_token",
                "FIELDS_CONFLICT",
                metrics=None,
                campaigns=catalog_service_pb2.ListCampaignsRequest(page_token="e30"),
            ),
        ],
    ),
}
