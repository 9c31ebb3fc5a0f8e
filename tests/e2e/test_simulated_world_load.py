"""A small simulated world through the gateway: every event arrives, is counted once, and keeps its money."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from deploy.local.bootstrap import DatabaseAddresses
from examples.simulated_world.columns import MICROS, EventColumns, Kind
from examples.simulated_world.loading import History
from examples.simulated_world.messages import campaign_id
from tests.e2e.analytics_gateway import analytics_gateway

AS_OF = datetime(2026, 6, 30, 15, 0, tzinfo=UTC)
SCALE = 0.03


def revenue(events: EventColumns, *kinds: Kind) -> int:
    """Revenue of these kinds in micros."""
    return int(events.revenue_micros[np.isin(events.kind, kinds)].sum())


def test_a_world_is_loaded_whole_and_once(
    database: DatabaseAddresses, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    history = History.build(seed=5, as_of=AS_OF, scale=SCALE)
    events = EventColumns.concatenate(list(history.days()))
    arguments = ("--seed", "5", "--as-of", AS_OF.isoformat(), "--scale", str(SCALE))
    campaign = int(np.bincount(events.campaign[events.kind == Kind.REFUNDED], minlength=200).argmax())
    of_campaign = events.take(events.campaign == campaign)

    with analytics_gateway(database, tmp_path, free_port, time_zone="UTC") as gateway:
        first = gateway.load("examples.simulated_world", *arguments)
        assert f"{len(events):,} events accepted, 0 known already" in first

        metrics_path = f"/api/analytics/campaign/{campaign_id(campaign)}/metrics"
        metrics = gateway.get(metrics_path)
        for field, kind in (
            ("impressions", Kind.DELIVERED),
            ("views", Kind.VIEWED),
            ("clicks", Kind.CLICKED),
            ("conversions", Kind.CONVERTED),
        ):
            assert int(metrics[field]) == int((of_campaign.kind == kind).sum())
        kept = revenue(of_campaign, Kind.CONVERTED) - revenue(of_campaign, Kind.REFUNDED)
        assert round(metrics["revenue"] * MICROS) == kept
        assert round(metrics["cost"] * MICROS) == int(np.maximum(of_campaign.cost_micros, 0).sum())

        portfolio_path = f"/api/analytics/portfolio?days=100&as_of={AS_OF:%Y-%m-%dT%H:%M:%SZ}"
        portfolio = gateway.get(portfolio_path)
        totals = portfolio["totals"]
        assert int(totals["impressions"]) == int((events.kind == Kind.DELIVERED).sum())
        assert int(totals["purchase_count"]) == int((events.kind == Kind.PURCHASED).sum())
        assert round(totals["purchase_revenue"] * MICROS) == revenue(events, Kind.PURCHASED)

        second = gateway.load("examples.simulated_world", *arguments)
        assert f"0 events accepted, {len(events):,} known already" in second
        assert gateway.get(metrics_path) == metrics
        assert gateway.get(portfolio_path) == portfolio
