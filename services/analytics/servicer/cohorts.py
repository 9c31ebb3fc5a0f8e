"""The methods that tell users apart by their first day."""

from gen.campaigns.analytics.v1 import audience_pb2 as pb
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceServicer
from services.analytics.convert import cohorts as convert_cohorts
from services.analytics.convert.metrics import day_from_proto
from services.analytics.convert.ranking import currency_code_from_proto
from services.analytics.domain.cohorts import parse_cohort_interval
from services.analytics.operations.cohorts import CohortOperations
from services.analytics.servicer.context import Context
from services.common.paging import page_size


class CohortMethods(AnalyticsServiceServicer):
    """Cohorts."""

    cohorts: CohortOperations

    async def GetCohortPerformance(
        self,
        request: pb.GetCohortPerformanceRequest,
        context: Context,
    ) -> pb.GetCohortPerformanceResponse:
        """Return how a cohort came back."""
        interval = parse_cohort_interval(request.interval)
        cohort, as_of = await self.cohorts.get_cohort(
            convert_cohorts.cohort_day_from_proto(request.cohort_date),
            interval,
            currency_code_from_proto(request.currency_code),
        )
        return convert_cohorts.cohort_to_proto(cohort, interval, as_of)

    async def ListCohorts(
        self,
        request: pb.ListCohortsRequest,
        context: Context,
    ) -> pb.ListCohortsResponse:
        """List cohorts."""
        page = await self.cohorts.list_cohorts(
            start=day_from_proto(request.start_date, "start_date"),
            end=day_from_proto(request.end_date, "end_date"),
            after=convert_cohorts.after_from_proto(request),
            size=page_size(request.page_size),
            interval=parse_cohort_interval(request.interval),
            periods=request.max_periods,
            currency_code=currency_code_from_proto(request.currency_code),
        )
        return convert_cohorts.cohorts_to_proto(request, page)
