"""A training that reads events: audiences are told apart, and offers drawn at random correct the curve."""

from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1.offers_pb2 import OptimizeOfferRequest
from gen.campaigns.optimizer.v1.training_pb2 import TrainModelRequest
from services.optimizer.domain.features import DailyRow
from tests.contract.optimizer.event_log import (
    CONVERTED,
    VIEWED,
    Event,
    insert_events,
    insert_segment_sets,
)
from tests.contract.optimizer.harness import (
    ThreadTrainer,
    fetch_rows,
    insert_world,
    optimizer_settings,
    running_model_server,
    running_optimizer,
)
from tests.unit.optimizer.synthetic import END_DAY, true_rate

CAMPAIGNS = 45
DAYS = 40
DRAWN = 15
"""The first campaigns draw their offers; the others' audiences lean to lapsed users where the offer is
high."""
EFFECT = {"loyal": 0.8, "lapsed": -0.8}
UNIT = 1_000_000


def draw_views(sets: dict[str, int]) -> tuple[list[DailyRow], list[Event]]:
    """Draw a world view by view: rows as rolled up, and the events that they come from."""
    rng = np.random.default_rng(4)
    rows: list[DailyRow] = []
    events: list[Event] = []
    for campaign in range(CAMPAIGNS):
        kind, usual = 1 + campaign % 2, rng.uniform(8.0, 18.0)
        for back in range(DAYS, 0, -1):
            day = END_DAY - timedelta(days=back)
            if (DAYS - back) % 5 == 0:
                level = float(np.clip(round((usual + rng.normal(0, 5)) / 2.5) * 2.5, 7.5, 22.5))
            arms = [level - 2.5, level + 2.5] if campaign < DRAWN else [level]
            for offer in arms:
                views = int(rng.poisson(40 / len(arms)))
                lapsed = 0.5 if campaign < DRAWN else 1 / (1 + np.exp(-0.3 * (offer - 13.0)))
                of_lapsed = int(rng.binomial(views, lapsed))
                converted = 0
                for name, count in (("lapsed", of_lapsed), ("loyal", views - of_lapsed)):
                    rate = true_rate(kind, EFFECT[name], np.array([offer]))[0]
                    buyers = int(rng.binomial(count, rate))
                    converted += buyers
                    for number in range(count + buyers):
                        events.append(
                            Event(
                                user_id=f"u{len(events)}",
                                event_id="e",
                                event_type=VIEWED if number < count else CONVERTED,
                                at=datetime.combine(day, time(12), tzinfo=UTC),
                                campaign_id=f"campaign-{campaign}",
                                offer=offer,
                                propensity=0.5 if campaign < DRAWN else None,
                                segment_set=sets[name],
                            )
                        )
                rows.append(
                    (f"campaign-{campaign}", day, int(offer * UNIT), 2 * views, views, converted, kind, 1)
                )
    return rows, events


async def test_training_learns_from_audiences_and_drawn_offers(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    loyal, lapsed = await insert_segment_sets(database.admin, [["loyal"], ["lapsed"]])
    rows, events = draw_views({"loyal": loyal, "lapsed": lapsed})
    await insert_world(database.admin, rows)
    await insert_events(database.admin, events)
    async with running_model_server(tmp_path) as port:
        settings = optimizer_settings(database.optimizer, tmp_path, port)
        async with running_optimizer(settings, trainer=ThreadTrainer(settings=settings)) as stub:
            trained = await stub.TrainModel(TrainModelRequest())
            answer = await stub.OptimizeOffer(OptimizeOfferRequest(campaign_id="campaign-20"))
    evidence = answer.evidence
    assert trained.status == "success", trained.reason
    assert evidence.kind == "mixed"
    assert evidence.is_segmented
    assert 0.25 < evidence.randomised_views / evidence.views < 0.42
    assert evidence.correcting_campaigns == DRAWN
    interval = evidence.false_slope_interval
    assert interval.lower < evidence.false_slope < interval.upper
    assert interval.lower < 0.0 < interval.upper  # the segments explain the lean: nothing is left
    assert abs(evidence.slope_correction) <= abs(evidence.false_slope)
    assert 0.0 < evidence.slope_correction_error < 0.03
    assert "the users' segments" in answer.warnings[0]

    counted = await fetch_rows(
        database.reporting,
        "select campaign_id, sum(views)::bigint as views from campaign_audiences group by 1",
    )
    views: dict[str, int] = {}
    for row in rows:
        views[row[0]] = views.get(row[0], 0) + row[4]
    assert {row["campaign_id"]: row["views"] for row in counted} == views

    # The rate that the curve gives is the whole audience's, and not that of the offer's own audience.
    own = [event for event in events if event.campaign_id == "campaign-20" and event.event_type == VIEWED]
    share = np.mean([event.segment_set == lapsed for event in own])
    high = next(point for point in answer.response_curve if point.offer_amount == 20.0)
    rates = {name: true_rate(1, effect, np.array([20.0]))[0] for name, effect in EFFECT.items()}
    assert high.predicted_conversion_rate == pytest.approx(
        share * rates["lapsed"] + (1 - share) * rates["loyal"], abs=0.07
    )
