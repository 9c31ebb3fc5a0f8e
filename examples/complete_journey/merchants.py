"""How well users' merchants are foretold on real data (`python -m examples.complete_journey.merchants`).

Trained on the days before 1 August (New York's), by the very code of the optimizer's job, and judged on
August and September. Nothing was chosen by what is seen here: June and July served for that. A visit is a
day on which a household bought at a store, or something of a manufacturer. Recall at three, over households
of both periods:

- habits: of the (at most) three merchants that a household visited most from August on, the share that is
  among the first three foretold;
- never visited: of the merchants that a household visited from August on and never before, the share that
  is among the first three foretold of those never visited before.

The ceiling knows what comes: of a household's new merchants it names three. The largest manufacturer is the
house brand that nearly everybody buys; `without the house brand` leaves it out of both periods.
"""

import argparse
import sys
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from examples.complete_journey.mapping import TIME_ZONE, MerchantKind, line_merchants
from examples.complete_journey.source import Lines, Source, SourceError
from services.optimizer.affinity_training.fit import Week, look_at_week
from services.optimizer.affinity_training.pipeline import Fitted, fit_affinity
from services.optimizer.domain.affinity.answer import gather_for
from services.optimizer.domain.affinity.contacts import (
    Contact,
    Contacts,
    FloatArray,
    IntArray,
)
from services.optimizer.domain.affinity.features import Merchants
from services.optimizer.domain.affinity.model import HORIZON_DAYS, score_pairs, score_users

CUT: Final = date(2017, 8, 1)
TOP: Final = 3
HOUSE_BRAND: Final = 69
_SECONDS: Final = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Market:
    """Who bought where, on which local day."""

    households: int
    merchants: Merchants
    contacts: Contacts

    def before(self, day: date) -> Contacts:
        """Return the contacts of the days before `day`."""
        return self.contacts.select(self.contacts.day < day.toordinal())


@dataclass(frozen=True, kw_only=True)
class Recalls:
    """Recall at three by method, over so many households."""

    households: int
    by_method: dict[str, float]


def read_market(source: Source, kind: MerchantKind, *, without: int | None = None, every: int = 1) -> Market:
    """Return the market of stores or manufacturers; of every n-th household, and without one merchant."""
    lines = source.lines()
    ids = line_merchants(lines, source.products() if kind == "manufacturer" else None)
    _, household = np.unique(lines.household_id, return_inverse=True)
    wanted = household % every == 0
    if without is not None:
        wanted &= ids != without
    merchants, merchant = np.unique(ids[wanted], return_inverse=True)
    rows = np.unique(
        np.column_stack([household[wanted] // every, merchant, local_days(lines)[wanted]]), axis=0
    )
    unknown = np.full(len(merchants), np.nan)
    return Market(
        households=int(household.max()) // every + 1,
        merchants=Merchants(
            ids=merchants.astype(np.int64),
            names=tuple(f"{kind} {identity}" for identity in merchants.tolist()),
            categories=(),
            category=np.full(len(merchants), -1, dtype=np.int64),
            latitude=unknown,
            longitude=unknown,
        ),
        contacts=Contacts(
            user=rows[:, 0],
            merchant=rows[:, 1],
            kind=np.full(len(rows), Contact.VISIT, dtype=np.int64),
            day=rows[:, 2],
        ),
    )


def local_days(lines: Lines) -> IntArray:
    """Return the proleptic ordinal of every line's day in New York, whose clocks went forward on 12 March."""
    seconds = lines.at_nanoseconds // _SECONDS
    zone = ZoneInfo(TIME_ZONE)
    hours, place = np.unique(seconds // 3600, return_inverse=True)
    days = [_ordinal(int(hour) * 3600, zone) for hour in hours]
    return np.array(days, dtype=np.int64)[place]


def _ordinal(second: int, zone: ZoneInfo) -> int:
    return datetime.fromtimestamp(second, zone).date().toordinal()


def fit_before_cut(market: Market) -> Fitted:
    """Return what the job would have fitted on the eve of the cut."""
    return fit_affinity(
        market.before(CUT),
        market.merchants,
        version=1,
        today=CUT.toordinal(),
        user_count=market.households,
    )


def habit_recalls(market: Market, fitted: Fitted) -> Recalls:
    """Return how many of the most visited merchants are foretold."""
    seen, later = _counts(market)
    both = (seen.sum(axis=1) > 0) & (later.sum(axis=1) > 0)
    popular = np.broadcast_to(seen.sum(axis=0), seen.shape)
    tie = popular / (popular.max() + 1.0)
    goal = np.where(later > 0, later + tie, 0.0)

    def recall(scores: FloatArray) -> float:
        return float(np.mean([_share(goal[row], scores[row]) for row in np.flatnonzero(both)]))

    return Recalls(
        households=int(both.sum()),
        by_method={
            "model": recall(scores_of(market, fitted)),
            "frequency": recall(seen + tie),
            "popularity": recall(popular),
        },
    )


def new_recalls(market: Market, fitted: Fitted) -> Recalls:
    """Return how many of the merchants never visited before are foretold."""
    seen, later = _counts(market)
    new = (later > 0) & (seen == 0)
    with_new = (seen.sum(axis=1) > 0) & (new.sum(axis=1) > 0)

    def recall(scores: FloatArray) -> float:
        open_scores = np.where(seen > 0, -np.inf, scores)
        first = np.argsort(-open_scores[with_new], axis=1, kind="stable")[:, :TOP]
        hits = np.take_along_axis(new[with_new], first, axis=1).sum(axis=1)
        return float(np.mean(hits / new[with_new].sum(axis=1)))

    visitors = np.broadcast_to((seen > 0).sum(axis=0), seen.shape).astype(np.float64)
    return Recalls(
        households=int(with_new.sum()),
        by_method={
            "model": recall(scores_of(market, fitted)),
            "popularity": recall(visitors),
            "ceiling": recall(new.astype(np.float64)),
        },
    )


def next_week(market: Market, fitted: Fitted) -> tuple[Week, FloatArray]:
    """Return the week from the cut on, with the scores that the model gave its pairs."""
    week = look_at_week(market.contacts, market.merchants, CUT.toordinal(), market.households)
    return week, score_pairs(week.pairs, fitted.model.returning, fitted.model.first)


def scores_of(market: Market, fitted: Fitted) -> FloatArray:
    """Return the model's scores (households, merchants), 0 where a pair is no candidate."""
    before = market.before(CUT)
    evidence = gather_for(fitted.model, before, CUT.toordinal(), market.households)
    scores = np.zeros(market.households * len(market.merchants))
    scored = score_users(fitted.model, evidence)
    scores[scored.pairs.key] = scored.probability
    return scores.reshape(market.households, -1)


def _share(goal: FloatArray, scores: FloatArray) -> float:
    wanted = [place for place in np.argsort(-goal, kind="stable")[:TOP].tolist() if goal[place] > 0]
    first = np.argsort(-scores, kind="stable")[:TOP].tolist()
    return len(set(wanted) & set(first)) / len(wanted)


def _counts(market: Market) -> tuple[FloatArray, FloatArray]:
    """Return the visits (households, merchants) before the cut, and from it on."""
    contacts, cut = market.contacts, CUT.toordinal()
    shape = market.households * len(market.merchants)
    key = contacts.user * len(market.merchants) + contacts.merchant
    counted = [
        np.bincount(key[side], minlength=shape).reshape(market.households, -1).astype(np.float64)
        for side in (contacts.day < cut, contacts.day >= cut)
    ]
    return counted[0], counted[1]


def report(source: Source) -> None:
    """Print the table."""
    kinds: tuple[tuple[str, MerchantKind, int | None], ...] = (
        ("stores", "store", None),
        ("manufacturers", "manufacturer", None),
        ("manufacturers without the house brand", "manufacturer", HOUSE_BRAND),
    )
    for title, kind, without in kinds:
        market = read_market(source, kind, without=without)
        fitted = fit_before_cut(market)
        print(f"\n{title}: {len(market.merchants)} merchants; held out in July: {fitted.report.reason}")
        for name, recalls in (
            ("habits", habit_recalls(market, fitted)),
            ("never visited", new_recalls(market, fitted)),
        ):
            values = ", ".join(f"{method} {value:.4f}" for method, value in recalls.by_method.items())
            print(f"  {name:<14} {values} ({recalls.households} households)")
        week, scores = next_week(market, fitted)
        print(f"  {'calibration':<14} 1 to {HORIZON_DAYS} August, by score: {calibration_line(week, scores)}")


def calibration_line(week: Week, scores: FloatArray) -> str:
    """Return mean score and visited share of the pairs by size of their score."""
    edges = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
    parts = []
    for lower, upper in pairwise(edges):
        inside = (scores >= lower) & (scores < upper)
        if inside.any():
            parts.append(f"{scores[inside].mean():.3f}/{week.visited[inside].mean():.3f}")
    return " ".join(parts)


def main(arguments: list[str] | None = None) -> int:
    """Print the table and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.complete_journey.merchants",
        description="Judge the optimizer's affinity on the Complete Journey data.",
    )
    parser.add_argument("--data", type=Path, help="folder of the parquet files (the package's own)")
    options = parser.parse_args(arguments)
    try:
        report(Source.find(options.data))
    except SourceError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
