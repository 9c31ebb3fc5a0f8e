"""How well daily conversion rates are explained: the served model, and what needs no model beside it."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from examples.simulated_world.columns import Kind
from examples.simulated_world.evaluate.asking import CALL_SECONDS, Evaluation, print_line
from examples.simulated_world.events import generate_days
from examples.simulated_world.messages import campaign_id
from examples.simulated_world.world import World
from gen.campaigns.optimizer.v1.models_pb2 import GetModelRequest
from gen.campaigns.optimizer.v1.offers_pb2 import OptimizeOfferRequest

HISTORY_DAYS: Final = 28
_UNIX_EPOCH: Final = np.datetime64("1970-01-01")

IntColumn = NDArray[np.int64]


def trailing_mean_r2(
    *, campaign: IntColumn, day: IntColumn, views: IntColumn, conversions: IntColumn, first_held_out: int
) -> float:
    """Return what a campaign's mean rate of the `HISTORY_DAYS` days before explains of the days held out.

    Arguments are parallel, one entry per campaign, day and offer; days count from any day. A row weighs its
    views; a campaign without such a past is taken for the mean of all.
    """
    viewed = views > 0
    campaign, day, views = campaign[viewed], day[viewed], views[viewed]
    conversions = np.minimum(conversions[viewed], views)
    held_out = np.flatnonzero(day >= first_held_out)
    predicted = np.full(len(held_out), conversions.sum() / views.sum())
    for place, row in enumerate(held_out):
        past = (campaign == campaign[row]) & (day < day[row]) & (day >= day[row] - HISTORY_DAYS)
        if seen := views[past].sum():
            predicted[place] = conversions[past].sum() / seen
    observed, weights = conversions[held_out] / views[held_out], views[held_out]
    spread = np.sum(weights * (observed - np.average(observed, weights=weights)) ** 2)
    return float(1.0 - np.sum(weights * (observed - predicted) ** 2) / spread)


def _trailing_mean_of(world: World, split_date: str) -> float:
    """Return what the trailing mean explains of a world's days from `split_date` on; days are UTC's."""
    parts = []
    for events in generate_days(world):
        chosen = events.take((events.campaign >= 0) & np.isin(events.kind, (Kind.VIEWED, Kind.CONVERTED)))
        parts.append(
            np.column_stack([chosen.campaign, chosen.at // 86_400, chosen.offer_micros, chosen.kind])
        )
    rows = np.concatenate(parts).astype(np.int64)
    keys, place = np.unique(rows[:, :3], axis=0, return_inverse=True)
    views, conversions = (
        np.bincount(place.reshape(-1)[rows[:, 3] == kind], minlength=len(keys)).astype(np.int64)
        for kind in (Kind.VIEWED, Kind.CONVERTED)
    )
    return trailing_mean_r2(
        campaign=keys[:, 0],
        day=keys[:, 1],
        views=views,
        conversions=conversions,
        first_held_out=int((np.datetime64(split_date) - _UNIX_EPOCH).astype(int)),
    )


async def report(evaluation: Evaluation) -> None:
    """Print what the live model explains of the days held out from it, as its training measured."""
    optimizer = evaluation.optimizer
    asked = OptimizeOfferRequest(campaign_id=campaign_id(0), objective="conversion_rate")
    version = (await optimizer.OptimizeOffer(asked, timeout=CALL_SECONDS)).model_version
    model = (await optimizer.GetModel(GetModelRequest(version=version), timeout=CALL_SECONDS)).model
    campaigns = len(evaluation.world.campaigns.names)
    print(
        f"\ndaily conversion rates, R² on {model.held_out_samples} rows held out from {model.split_date} on"
        f" (version {version}; {campaigns} campaigns, {model.samples} rows to learn from)"
    )
    print_line("forest", f"{model.r2_score:.3f}")
    print_line("response, as served", f"{model.response_r2_score:.3f}")
    for baseline in model.baselines:
        print_line(baseline.name.replace("_", " "), f"{baseline.r2_score:.3f}")
    print_line("trailing mean", f"{_trailing_mean_of(evaluation.world, model.split_date):.3f}")
    print_line("ceiling", f"{model.noise_ceiling_r2_score:.3f} (a perfect forecast; days have luck)")
