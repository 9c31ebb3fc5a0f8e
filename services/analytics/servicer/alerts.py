"""The methods of AlertService: from proto, operation, to proto."""

from collections.abc import AsyncIterator

from gen.campaigns.analytics.v1 import alert_service_pb2 as pb
from gen.campaigns.analytics.v1.alert_service_pb2_grpc import AlertServiceServicer
from services.analytics.convert import alerts as convert_alerts
from services.analytics.operations.alerts import AlertOperations
from services.analytics.servicer.context import Context
from services.common.paging import page_size


class AlertServicer(AlertServiceServicer):
    """campaigns.analytics.v1.AlertService."""

    def __init__(self, alerts: AlertOperations) -> None:
        self._alerts = alerts

    async def CreateAlertRule(
        self, request: pb.CreateAlertRuleRequest, context: Context
    ) -> pb.CreateAlertRuleResponse:
        """Keep a rule."""
        rule = await self._alerts.create_rule(
            convert_alerts.rule_from_proto(request.rule),
            convert_alerts.request_id_from_proto(request.request_id),
        )
        return pb.CreateAlertRuleResponse(rule=convert_alerts.rule_to_proto(rule))

    async def ListAlertRules(
        self, request: pb.ListAlertRulesRequest, context: Context
    ) -> pb.ListAlertRulesResponse:
        """List rules."""
        rules, more = await self._alerts.list_rules(
            campaign_id=convert_alerts.optional_campaign_id_from_proto(request.campaign_id),
            after=convert_alerts.position_from_proto(request),
            size=page_size(request.page_size),
        )
        return convert_alerts.rules_to_proto(request, rules, has_more=more)

    async def DeleteAlertRule(
        self, request: pb.DeleteAlertRuleRequest, context: Context
    ) -> pb.DeleteAlertRuleResponse:
        """Forget a rule."""
        await self._alerts.delete_rule(convert_alerts.rule_id_from_proto(request.rule_id))
        return pb.DeleteAlertRuleResponse()

    async def ListAlerts(self, request: pb.ListAlertsRequest, context: Context) -> pb.ListAlertsResponse:
        """List alerts."""
        alerts, more = await self._alerts.list_alerts(
            campaign_id=convert_alerts.optional_campaign_id_from_proto(request.campaign_id),
            only_open=request.only_open,
            after=convert_alerts.position_from_proto(request),
            size=page_size(request.page_size),
        )
        return convert_alerts.alerts_to_proto(request, alerts, has_more=more)

    async def WatchAlerts(
        self, request: pb.WatchAlertsRequest, context: Context
    ) -> AsyncIterator[pb.WatchAlertsResponse]:
        """Send the open alerts, and every one that opens or closes."""
        campaign_id = convert_alerts.optional_campaign_id_from_proto(request.campaign_id)
        async for alert in self._alerts.watch_alerts(campaign_id):
            yield pb.WatchAlertsResponse(alert=convert_alerts.alert_to_proto(alert))
