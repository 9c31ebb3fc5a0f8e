"""A training's forest on a million rows against the forest whose trees draw from all of them.

Run it as `python -m benchmarks.training`. Both are the training's own; they differ in `max_samples` and in
nothing else, grow as many trees in turns of ten on all cores, and are scored on the same held-out rows. A
forest takes as long as its trees, so that a few tell the ratio of a hundred (`--trees 100`: 8 minutes).
"""

import argparse
import sys
from time import perf_counter

from benchmarks.common import Mark, print_table, report, say
from benchmarks.forests import Rows, draw_rows
from services.optimizer.domain.response.metrics import r2_score
from services.optimizer.training.forest import LARGEST_SAMPLE, fit_forest

HELD_OUT_ROWS = 200_000
SPEED_MARK, LOSS_MARK = 8.0, 0.02


def fit_and_score(rows: Rows, held_out: Rows, *, max_samples: int, trees: int) -> tuple[float, float]:
    """Return the seconds that a forest takes to grow, and its R² on held-out rows, weighted by views."""
    started = perf_counter()
    forest = fit_forest(
        rows.features,
        rows.rates,
        rows.views,
        on_progress=lambda share: say(f"{max_samples:,} rows a tree: {share:.0%}"),
        max_samples=max_samples,
        trees=trees,
    )
    seconds = perf_counter() - started
    score = r2_score(held_out.rates, forest.predict(held_out.features), held_out.views)
    assert score is not None, "the held-out rates do not vary"
    return seconds, score


def measure(count: int, trees: int) -> int:
    """Measure, print the table, and return the exit status."""
    rows, held_out = draw_rows(count, seed=1), draw_rows(HELD_OUT_ROWS, seed=2)
    sampled_seconds, sampled_score = fit_and_score(rows, held_out, max_samples=LARGEST_SAMPLE, trees=trees)
    full_seconds, full_score = fit_and_score(rows, held_out, max_samples=count, trees=trees)
    print_table(
        f"{trees} trees on {count:,} rows",
        ["rows that a tree draws", "seconds", "R² on held-out rows"],
        [
            [f"{LARGEST_SAMPLE:,}", f"{sampled_seconds:.1f}", f"{sampled_score:.4f}"],
            ["all of them", f"{full_seconds:.1f}", f"{full_score:.4f}"],
        ],
    )
    marks = [
        Mark(
            name="seconds of the full-sample forest / of the training's",
            value=full_seconds / sampled_seconds,
            limit=SPEED_MARK,
            at_most=False,
            detail=f"{full_seconds:.1f} s / {sampled_seconds:.1f} s",
        ),
        Mark(
            name="R² lost",
            value=full_score - sampled_score,
            limit=LOSS_MARK,
            detail=f"{full_score:.4f} - {sampled_score:.4f}",
        ),
    ]
    return report("Training", marks)


def main() -> int:
    """Return the exit status: 1 where a mark is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows to learn from (default: 1,000,000)")
    parser.add_argument("--trees", type=int, default=20, help="trees of each forest, in tens (default: 20)")
    arguments = parser.parse_args()
    return measure(arguments.rows, arguments.trees)


if __name__ == "__main__":
    sys.exit(main())
