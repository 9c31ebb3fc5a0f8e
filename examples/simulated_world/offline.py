"""What the optimizer learns from a simulated world and answers about it, without services and database.

Outcomes are added up as analytics does, by campaign, UTC day and offer as sent, and by audience beside.
Answers are made by the optimizer's own training and domain.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np

from examples.simulated_world.columns import MICROS, Kind
from examples.simulated_world.events import generate_days
from examples.simulated_world.population import Users
from examples.simulated_world.world import World
from services.common.errors import FailedPreconditionError
from services.optimizer.domain.campaigns import SentOffer, mean_daily_views
from services.optimizer.domain.features import HISTORY_DAYS, BoolArray, DailyTable, IntArray, Situation
from services.optimizer.domain.objectives import Economics, Objective
from services.optimizer.domain.offers.answer import OfferAnswer, answer_offer
from services.optimizer.domain.offers.case import OfferCase, days_to_come, sent_anchor
from services.optimizer.domain.offers.recommendation import Question
from services.optimizer.domain.response.offer_cells import CampaignAudience, OfferCells
from services.optimizer.domain.training_window import window_before
from services.optimizer.training.forest import ExportedForest
from services.optimizer.training.pipeline import TrainedModel, train

_UNIX_EPOCH: Final = date(1970, 1, 1).toordinal()
_COUNTED: Final = (Kind.DELIVERED, Kind.VIEWED, Kind.CONVERTED)


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """A world's outcomes by campaign, day and offer, and the same by segment set and propensity."""

    table: DailyTable
    cells: OfferCells

    def before(self, day: date) -> "Outcomes":
        """Return what had happened before a day."""
        end = day.toordinal()
        return Outcomes(
            table=self.table.select(self.table.day < end), cells=self.cells.select(self.cells.day < end)
        )


def add_up(world: World) -> Outcomes:
    """Return the world's outcomes; days are UTC's."""
    parts = []
    for events in generate_days(world):
        chosen = events.take((events.campaign >= 0) & np.isin(events.kind, _COUNTED))
        propensity = np.rint(np.nan_to_num(chosen.propensity) * 1000).astype(np.int64)
        day = chosen.at // 86_400 + _UNIX_EPOCH
        segment_set = _segment_sets(world.users)[chosen.user]
        parts.append(
            np.column_stack([chosen.campaign, day, chosen.offer_micros, segment_set, propensity, chosen.kind])
        )
    rows = np.concatenate(parts).astype(np.int64)
    kinds = world.campaigns.campaign_type.astype(np.int64) + 1
    keys, _, views, conversions = _count(rows[:, :5], rows[:, 5])
    seen = views > 0
    cells = OfferCells(
        campaign=keys[seen, 0],
        day=keys[seen, 1],
        offer_micros=keys[seen, 2],
        segment_set_id=keys[seen, 3],
        propensity=keys[seen, 4] / 1000.0,
        views=views[seen],
        conversions=np.minimum(conversions, views)[seen],
        campaign_type=kinds[keys[seen, 0]],
    )
    keys, impressions, views, conversions = _count(rows[:, :3], rows[:, 5])
    table = DailyTable(
        campaign_ids=world.campaigns.names,
        campaign=keys[:, 0],
        day=keys[:, 1],
        offer_micros=keys[:, 2],
        impressions=impressions,
        views=views,
        conversions=conversions,
        campaign_type=kinds[keys[:, 0]],
        merchant_id=world.campaigns.merchant[keys[:, 0]].astype(np.int64) + 1,
    )
    return Outcomes(table=table, cells=cells)


def _segment_sets(users: Users) -> IntArray:
    """Return a number for each user's set of segments, from 1."""
    return np.asarray(users.lifecycle.astype(np.int64) * 2 + users.high_value + 1)


def _count(keys: IntArray, kinds: IntArray) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Return the distinct keys (rows) and how often each kind that counts comes with them."""
    distinct, place = np.unique(keys, axis=0, return_inverse=True)
    width, positions = len(distinct), place.reshape(-1)
    delivered, viewed, converted = (
        np.bincount(positions[kinds == kind], minlength=width).astype(np.int64) for kind in _COUNTED
    )
    return distinct, delivered, viewed, converted


def train_before(outcomes: Outcomes, end_day: date) -> TrainedModel:
    """Return what the optimizer's training makes of the days before `end_day`."""
    known = outcomes.before(end_day)
    return train(
        known.table,
        window_before(end_day),
        live=None,
        on_progress=lambda _stage, _share: None,
        cells=known.cells,
    )


def answer_all(
    world: World, outcomes: Outcomes, model: TrainedModel, end_day: date
) -> list[OfferAnswer | None]:
    """Answer on `end_day` for every campaign as the service does; None for a refusal."""
    known, forest = outcomes.before(end_day), ExportedForest(model.model)
    answers: list[OfferAnswer | None] = []
    for campaign in range(len(world.campaigns.names)):
        case = case_of(world, known, model, campaign=campaign, end_day=end_day)
        try:
            predicted = forest.predict(case.features(model.parameters))
            answers.append(answer_offer(case, predicted, model.parameters, model_version=1))
        except FailedPreconditionError:
            answers.append(None)
    return answers


def case_of(world: World, known: Outcomes, model: TrainedModel, *, campaign: int, end_day: date) -> OfferCase:
    """Return what the service would know of a campaign."""
    campaigns, table = world.campaigns, known.table
    of_campaign = table.campaign == campaign
    sent, seen_until = _sent_offers(table, of_campaign, end_day), None
    viewed = table.day[of_campaign & (table.views > 0)]
    if mean_daily_views(sent) is None and len(viewed):
        seen_until = date.fromordinal(int(viewed.max()))
        sent = _sent_offers(table, of_campaign, seen_until + timedelta(days=1))
    kind = int(campaigns.campaign_type[campaign]) + 1
    current = round(campaigns.current_offer(campaign) * MICROS)
    anchors, weights = sent_anchor(
        sent, fallback_micros=current, campaign_type=kind, support=model.parameters.support
    )
    return OfferCase(
        question=Question(
            campaign_type=kind,
            current_offer_micros=current,
            objective=Objective.PROFIT,
            economics=Economics(
                mean_revenue=float(campaigns.mean_revenue[campaign]),
                gross_margin_rate=float(campaigns.gross_margin_rate[campaign]),
            ),
        ),
        situation=Situation(
            day=end_day,
            campaign_type=kind,
            merchant_id=int(campaigns.merchant[campaign]) + 1,
            historical_impressions=sum(offer.impressions for offer in sent),
            historical_conversions=sum(offer.conversions for offer in sent),
        ),
        anchor_offers_micros=anchors,
        anchor_weights=weights,
        known_rate=None,
        daily_views=mean_daily_views(sent),
        seen_until=seen_until,
        audience=_audience_of(known.cells, campaign),
        days=days_to_come(end_day, {weekday for offer in sent for weekday in offer.weekdays}),
    )


def _sent_offers(table: DailyTable, of_campaign: BoolArray, end_day: date) -> tuple[SentOffer, ...]:
    """Return what a campaign sent in the history days before `end_day`."""
    last = end_day.toordinal()
    recent = table.select(of_campaign & (table.day >= last - HISTORY_DAYS) & (table.day < last))
    return tuple(
        SentOffer(
            offer_micros=int(offer),
            impressions=int(recent.impressions[recent.offer_micros == offer].sum()),
            views=int(recent.views[recent.offer_micros == offer].sum()),
            conversions=int(recent.conversions[recent.offer_micros == offer].sum()),
            viewed_days=int(np.sum(recent.views[recent.offer_micros == offer] > 0)),
            last_day=end_day,
            weekdays=tuple(
                np.unique((recent.day[(recent.offer_micros == offer) & (recent.views > 0)] - 1) % 7).tolist()
            ),
        )
        for offer in np.unique(recent.offer_micros)
    )


def _audience_of(cells: OfferCells, campaign: int) -> CampaignAudience | None:
    """Return who viewed a campaign, as the service counts it at a training."""
    own = cells.select(cells.campaign == campaign)
    keys, place = np.unique(
        np.column_stack((own.offer_micros, own.segment_set_id)), axis=0, return_inverse=True
    )
    views = np.bincount(place.reshape(-1), weights=own.views).astype(np.int64)
    if len(keys) == 0:
        return None
    pairs = zip(keys.tolist(), views.tolist(), strict=True)
    return CampaignAudience(views={(offer, segment_set): count for (offer, segment_set), count in pairs})
