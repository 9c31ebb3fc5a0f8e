"""The training against the simulated world, whose best offers are known (examples/simulated_world/README.md).

Offers there are confounded: managers offer more where a campaign does worse, on slow days, and to audiences
that convert less. The world's seed was not used in development. Outcomes are added up as analytics does, by
campaign, UTC day and offer as sent.
"""

from datetime import date, timedelta

import numpy as np
import pytest

from examples.simulated_world.evaluate import OfferScore, score_offers
from examples.simulated_world.events import Kind, generate_days
from examples.simulated_world.truth import Truth
from examples.simulated_world.world import World
from services.common.errors import FailedPreconditionError
from services.optimizer.domain.campaigns import SentOffer, mean_daily_views
from services.optimizer.domain.features import HISTORY_DAYS, DailyTable, Situation
from services.optimizer.domain.objectives import Economics, Objective
from services.optimizer.domain.offer_answer import OfferCase, answer_offer, sent_anchor
from services.optimizer.domain.recommendation import Question
from services.optimizer.domain.training_window import window_before
from services.optimizer.training.forest import ExportedForest
from services.optimizer.training.pipeline import TrainedModel, train

SEED = 20261
END_DAY = date(2026, 11, 20)
UNIX_EPOCH = date(1970, 1, 1).toordinal()


def add_up(world: World) -> DailyTable:
    """Return the world's outcomes by campaign, day and offer."""
    parts = []
    for events in generate_days(world):
        wanted = (events.campaign >= 0) & np.isin(events.kind, [Kind.DELIVERED, Kind.VIEWED, Kind.CONVERTED])
        chosen = events.take(wanted)
        parts.append(
            np.column_stack([chosen.campaign, chosen.at // 86_400, chosen.offer_micros, chosen.kind])
        )
    rows = np.concatenate(parts).astype(np.int64)
    keys, place = np.unique(rows[:, :3], axis=0, return_inverse=True)

    def count(kind: Kind) -> np.ndarray:
        of_kind = (rows[:, 3] == kind).astype(np.float64)
        return np.bincount(place.ravel(), weights=of_kind).astype(np.int64)

    campaigns = world.campaigns
    return DailyTable(
        campaign_ids=campaigns.names,
        campaign=keys[:, 0],
        day=keys[:, 1] + UNIX_EPOCH,
        offer_micros=keys[:, 2],
        impressions=count(Kind.DELIVERED),
        views=count(Kind.VIEWED),
        conversions=count(Kind.CONVERTED),
        campaign_type=campaigns.campaign_type[keys[:, 0]].astype(np.int64) + 1,
        merchant_id=campaigns.merchant[keys[:, 0]].astype(np.int64) + 1,
    )


def sent_offers(table: DailyTable, campaign: int) -> tuple[SentOffer, ...]:
    recent = table.select((table.campaign == campaign) & (table.day >= END_DAY.toordinal() - HISTORY_DAYS))
    return tuple(
        SentOffer(
            offer_micros=int(offer),
            impressions=int(recent.impressions[recent.offer_micros == offer].sum()),
            views=int(recent.views[recent.offer_micros == offer].sum()),
            conversions=int(recent.conversions[recent.offer_micros == offer].sum()),
            last_day=END_DAY,
        )
        for offer in np.unique(recent.offer_micros)
    )


def recommend(world: World, table: DailyTable, model: TrainedModel) -> OfferScore:
    """Answer for every campaign as the service does, and score the answers by the truth."""
    forest = ExportedForest(model.model)
    campaigns = world.campaigns
    offers = []
    for campaign in range(len(campaigns.names)):
        sent = sent_offers(table, campaign)
        kind = int(campaigns.campaign_type[campaign]) + 1
        current = round(campaigns.current_offer(campaign) * 1_000_000)
        anchors, weights = sent_anchor(
            sent, fallback_micros=current, campaign_type=kind, support=model.parameters.support
        )
        case = OfferCase(
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
                day=END_DAY,
                campaign_type=kind,
                merchant_id=int(campaigns.merchant[campaign]) + 1,
                historical_impressions=sum(offer.impressions for offer in sent),
                historical_conversions=sum(offer.conversions for offer in sent),
            ),
            anchor_offers_micros=anchors,
            anchor_weights=weights,
            known_rate=None,
            daily_views=mean_daily_views(sum(offer.views for offer in sent)),
        )
        predicted = forest.predict(case.features(model.parameters))
        try:
            answer = answer_offer(case, predicted, model.parameters, model_version=1)
        except FailedPreconditionError:
            offers.append(np.nan)
        else:
            offers.append(answer.recommendation.offer_micros / 1_000_000)
    return score_offers(np.array(offers), Truth.of(world))


@pytest.fixture(scope="module")
def world() -> World:
    return World.build(seed=SEED, end_date=END_DAY - timedelta(days=1))


def test_recommended_offers_come_near_the_best_ones(world: World) -> None:
    table = add_up(world)
    model = train(table, window_before(END_DAY), live=None, on_progress=lambda _stage, _share: None)
    score = recommend(world, table, model)
    current = np.array([world.campaigns.current_offer(campaign) for campaign in range(200)])
    kept = score_offers(current, Truth.of(world))

    assert model.verdict.promoted, model.verdict.reason
    assert model.scores.r2_score is not None
    assert model.scores.response_r2_score is not None
    assert model.scores.noise_ceiling is not None
    assert model.scores.type_mean_r2_score is not None
    assert model.scores.type_mean_r2_score < 0.4
    assert 0.70 < model.scores.r2_score <= model.scores.response_r2_score < model.scores.noise_ceiling
    assert model.parity_error <= 2e-6
    assert score.near_share >= 0.90
    assert score.mean_miss < 1.5
    assert score.profit_share > 0.97
    assert kept.near_share < 0.4
