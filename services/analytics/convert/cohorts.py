"""Cohorts between the wire and the domain."""

from datetime import date, datetime

from gen.campaigns.analytics.v1 import audience_pb2 as pb
from services.analytics.convert.ranges import interval_to_proto, range_to_proto
from services.analytics.domain.cohorts import Cohort, CohortInterval, CohortPeriod
from services.analytics.operations.cohorts import CohortPage
from services.common.errors import invalid_field
from services.common.paging import Cursor, decode_own_token, encode_page_token, unusable_token
from services.common.wire import MICROS_PER_UNIT, datetime_to_timestamp, micros_to_money, parse_date

_AFTER = "cohort_date"
_FILTERS = ("start_date", "end_date", "interval", "currency_code", "max_periods")


def cohort_day_from_proto(text: str) -> date:
    """Return the day of a cohort; refused where there is none."""
    if not text:
        raise invalid_field("cohort_date", "must not be empty", "FIELD_REQUIRED")
    return parse_date(text, "cohort_date")


def after_from_proto(request: pb.ListCohortsRequest) -> date | None:
    """Return the last cohort of the page before; None on the first page."""
    cursor = decode_own_token(request.page_token, keys=[_AFTER], filters=_filters(request))
    if not cursor:
        return None
    try:
        return date.fromisoformat(str(cursor[_AFTER]))
    except ValueError as error:
        raise unusable_token() from error


def _filters(request: pb.ListCohortsRequest) -> Cursor:
    return {name: getattr(request, name) for name in _FILTERS}


def cohort_to_proto(
    cohort: Cohort, interval: CohortInterval, as_of: datetime | None
) -> pb.GetCohortPerformanceResponse:
    """Return the answer of GetCohortPerformance; what is undefined stays unset."""
    return pb.GetCohortPerformanceResponse(
        cohort_date=cohort.cohort_day.isoformat(),
        users=cohort.users,
        periods=[_period_to_proto(period) for period in cohort.periods],
        as_of=datetime_to_timestamp(as_of) if as_of else None,
        interval=interval,
        currency_code=cohort.currency_code or "",
    )


def cohorts_to_proto(request: pb.ListCohortsRequest, page: CohortPage) -> pb.ListCohortsResponse:
    """Return the answer of ListCohorts; the next page's token goes with the request's filters."""
    token = ""
    if page.has_more:
        token = encode_page_token({**_filters(request), _AFTER: page.cohorts[-1].cohort_day.isoformat()})
    return pb.ListCohortsResponse(
        cohorts=[
            pb.Cohort(
                cohort_date=cohort.cohort_day.isoformat(),
                users=cohort.users,
                periods=[_period_to_proto(period) for period in cohort.periods],
                currency_code=cohort.currency_code or "",
            )
            for cohort in page.cohorts
        ],
        next_page_token=token,
        as_of=datetime_to_timestamp(page.as_of) if page.as_of else None,
    )


def _period_to_proto(period: CohortPeriod) -> pb.CohortPeriod:
    per_user = period.cumulative_revenue_per_user
    return pb.CohortPeriod(
        period_index=period.period_index,
        date_range=range_to_proto(period.date_range),
        active_users=period.active_users,
        retention_rate=period.retention_rate.value,
        retention_rate_interval=interval_to_proto(period.retention_rate.interval),
        engaged_users=period.engaged_users,
        engagement_rate=period.engagement_rate.value,
        engagement_rate_interval=interval_to_proto(period.engagement_rate.interval),
        revenue=_money(period.revenue_micros),
        cost=_money(period.cost_micros),
        roas=period.roas.value,
        roas_interval=interval_to_proto(period.roas.interval),
        cumulative_revenue_per_user=None if per_user is None else per_user / MICROS_PER_UNIT,
        is_complete=period.is_complete,
    )


def _money(micros: int | None) -> float | None:
    return None if micros is None else micros_to_money(micros)
