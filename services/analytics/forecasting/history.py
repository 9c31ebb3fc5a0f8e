"""From what is stored to what is forecast: every campaign and every portfolio as series of whole days."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from services.analytics.domain.forecasts import LONGEST_HISTORY_DAYS, METRICS, PORTFOLIO, Metric
from services.analytics.domain.periods import day_of, day_starts_at
from services.analytics.forecasting.paths import Paths
from services.analytics.forecasting.schedule import Schedule, campaign_schedule
from services.analytics.forecasting.series import HORIZON, MINIMUM_DAYS, Floats, Series, always
from services.analytics.store import forecasts as store
from services.common.database import Connection

_MICROS = 1_000_000
_KNOWN_ALWAYS = -1
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is forecast: a campaign, or the portfolio of a currency (its id is PORTFOLIO).

    `series` holds one series per metric, all from `first_day`; `further` the methods that only this subject
    has, per metric.
    """

    campaign_id: str
    currency_code: str
    first_day: date
    series: Mapping[Metric, Series]
    further: Mapping[Metric, Sequence[Paths]]

    @property
    def conversions(self) -> int:
        """Conversions of the whole history."""
        return int(self.series["conversions"].values.sum())


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What the database knows up to `last_day`."""

    last_day: date
    campaigns: Sequence[store.CampaignHistory]
    planned: Sequence[store.PlannedCampaign]
    campaign_days: Sequence[store.DayCounts]
    portfolio_days: Sequence[store.DayCounts]


async def read_history(connection: Connection, last_day: date, zone: ZoneInfo) -> Stored:
    """Read the last LONGEST_HISTORY_DAYS days; the connection is in a transaction with one snapshot."""
    start = last_day - timedelta(days=LONGEST_HISTORY_DAYS - 1)
    return Stored(
        last_day=last_day,
        campaigns=await store.list_forecast_histories(connection, start, last_day),
        planned=await store.list_planned_campaigns(connection, day_starts_at(last_day + _DAY, zone)),
        campaign_days=await store.list_forecast_days(connection, start, last_day),
        portfolio_days=await store.list_forecast_portfolio_days(connection, start, last_day),
    )


def campaign_subjects(stored: Stored, zone: ZoneInfo) -> Iterator[Subject]:
    """Yield every campaign with enough whole days."""
    days_by_campaign = _group(stored.campaign_days)
    for campaign in stored.campaigns:
        days = (stored.last_day - campaign.first_day).days + 1
        if days < MINIMUM_DAYS:
            continue
        values = _values(days_by_campaign[campaign.campaign_id], campaign.first_day, days)
        presence = _presence(campaign.end_at, campaign.first_day, days, zone)
        yield Subject(
            campaign_id=campaign.campaign_id,
            currency_code=campaign.currency_code,
            first_day=campaign.first_day,
            series=_series(campaign.campaign_id, values, presence),
            further={},
        )


def portfolio_subjects(stored: Stored, zone: ZoneInfo) -> Iterator[Subject]:
    """Yield the portfolio of every currency with enough whole days."""
    days_by_campaign = _group(stored.campaign_days)
    for currency, counts in _group(stored.portfolio_days).items():
        first_day = min(count.day for count in counts)
        days = (stored.last_day - first_day).days + 1
        if days < MINIMUM_DAYS:
            continue
        own = [campaign for campaign in stored.campaigns if campaign.currency_code == currency]
        planned = [campaign for campaign in stored.planned if campaign.currency_code == currency]
        schedules: Mapping[Metric, Schedule] = {}
        if own:
            schedules = _schedules(
                own=own,
                planned=planned,
                days_by_campaign=days_by_campaign,
                first_day=first_day,
                days=days,
                zone=zone,
            )
        yield Subject(
            campaign_id=PORTFOLIO,
            currency_code=currency,
            first_day=first_day,
            series=_series(f"portfolio {currency}", _values(counts, first_day, days), always(days)),
            further={metric: [campaign_schedule(schedule)] for metric, schedule in schedules.items()},
        )


def _schedules(
    *,
    own: Sequence[store.CampaignHistory],
    planned: Sequence[store.PlannedCampaign],
    days_by_campaign: Mapping[str, Sequence[store.DayCounts]],
    first_day: date,
    days: int,
    zone: ZoneInfo,
) -> Mapping[Metric, Schedule]:
    """Return each metric of a currency's campaigns, those that are still to begin at the end."""
    measures = [_values(days_by_campaign[campaign.campaign_id], first_day, days) for campaign in own]
    ends = [campaign.end_at for campaign in own] + [campaign.end_at for campaign in planned]
    starts = [campaign.first_day for campaign in own]
    starts += [day_of(campaign.start_at, zone) for campaign in planned]
    known = [_known_from(one.created_at, one.first_day, first_day, zone) for one in own]
    known += [_known_from(one.created_at, None, first_day, zone) for one in planned]
    presence = np.stack([_presence(end, first_day, days, zone) for end in ends])
    begins = np.array([(start - first_day).days for start in starts], dtype=np.float64)
    nothing = [np.zeros(days) for _ in planned]
    return {
        metric: Schedule(
            values=np.stack([*(measure[metric] for measure in measures), *nothing]),
            presence=presence,
            starts=begins,
            known=np.array(known, dtype=np.float64),
        )
        for metric in METRICS
    }


def _group(counts: Sequence[store.DayCounts]) -> dict[str, list[store.DayCounts]]:
    groups: dict[str, list[store.DayCounts]] = {}
    for count in counts:
        groups.setdefault(count.subject, []).append(count)
    return groups


def _values(counts: Sequence[store.DayCounts], first_day: date, days: int) -> dict[Metric, Floats]:
    """Return each metric by day, days without a row as zero; money in units of the currency."""
    values: dict[Metric, Floats] = {metric: np.zeros(days) for metric in METRICS}
    for count in counts:
        index = (count.day - first_day).days
        values["conversions"][index] = count.conversions
        values["revenue"][index] = max(count.revenue_micros, 0) / _MICROS
        values["cost"][index] = max(count.cost_micros, 0) / _MICROS
    return values


def _series(name: str, values: Mapping[Metric, Floats], presence: Floats) -> dict[Metric, Series]:
    return {
        metric: Series(
            name=f"{name} {metric}",
            values=values[metric],
            presence=presence,
            is_count=metric == "conversions",
        )
        for metric in METRICS
    }


def _presence(end_at: datetime | None, first_day: date, days: int, zone: ZoneInfo) -> Floats:
    """Return the share of each day, the coming ones included, before a campaign's end."""
    presence = always(days)
    if end_at is not None:
        last = day_of(end_at, zone)
        index = (last - first_day).days
        presence[max(index, 0) :] = 0.0
        if 0 <= index < len(presence):
            start, following = day_starts_at(last, zone), day_starts_at(last + _DAY, zone)
            presence[index] = (end_at - start) / (following - start)
    return presence


def _known_from(created_at: datetime, begun: date | None, first_day: date, zone: ZoneInfo) -> int:
    """Return the index of the day on which the catalog told of a campaign.

    A campaign that was entered after its first event came with an import of the past: when it was planned is
    not known, and it counts as known all along.
    """
    created = day_of(created_at, zone)
    if begun is not None and created > begun:
        return _KNOWN_ALWAYS
    return (created - first_day).days


def horizon_days(last_day: date) -> Sequence[date]:
    """Return the days that are forecast."""
    return [last_day + ahead * _DAY for ahead in range(1, HORIZON + 1)]
