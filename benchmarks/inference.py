"""ONNX Runtime against scikit-learn on the training's own forest: 100 trees of depth 10, seven features.

Run it as `python -m benchmarks.inference`. ONNX Runtime runs as the model server runs it. Both get the same
rows, others in every call, and their answers are compared first. 21 rows are a campaign's offers from $5 to
$25 on one day, a dollar apart; 10,000 are days of as many campaigns.
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import uvloop
from sklearn.ensemble import RandomForestRegressor

from benchmarks.common import Mark, Work, report, say, time_in_turns
from benchmarks.forests import draw_rows
from services.model_server.session import Session
from services.optimizer.domain.features import Float32Array
from services.optimizer.domain.models.version import INPUT_NAME, OUTPUT_NAME
from services.optimizer.training.forest import export_forest, fit_forest

FITTED_ROWS, BATCHES, PARITY = 30_000, 64, 2e-6
MANY = 10_000
OFFERS = np.arange(5.0, 26.0, dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Rows of a call, the threads of both, and how many times faster ONNX Runtime has to be."""

    rows: int
    threads: int
    sklearn_threads: int
    at_least: float

    @property
    def name(self) -> str:
        """What stands in the table."""
        if self.threads == 1:
            return f"{self.rows} row{'s' if self.rows > 1 else ''}, one thread"
        theirs = "two threads" if self.sklearn_threads > 1 else "one thread (its default)"
        return f"{self.rows:,} rows, scikit-learn on {theirs}, ONNX Runtime on two"


CASES: Final = (
    Case(rows=1, threads=1, sklearn_threads=1, at_least=300.0),
    Case(rows=len(OFFERS), threads=1, sklearn_threads=1, at_least=30.0),
    Case(rows=MANY, threads=2, sklearn_threads=1, at_least=2.2),
    Case(rows=MANY, threads=2, sklearn_threads=2, at_least=2.2),
)


def fit() -> RandomForestRegressor:
    """Return a forest as a training makes it."""
    rows = draw_rows(FITTED_ROWS, seed=1)
    return fit_forest(rows.features, rows.rates, rows.views, on_progress=lambda _: None)


def cut_batches(rows: Float32Array, size: int) -> Sequence[Float32Array]:
    """Return `BATCHES` batches, each of other rows."""
    if size == len(OFFERS):
        batches = np.repeat(rows[:BATCHES, None, :], size, axis=1)
        batches[:, :, 0] = OFFERS
        return list(batches)
    starts = np.linspace(0, len(rows) - size, BATCHES).astype(int)
    return [np.ascontiguousarray(rows[start : start + size]) for start in starts]


def candidates(
    forest: RandomForestRegressor, session: Session, batches: Sequence[Float32Array]
) -> dict[str, Work]:
    """Return both ways to infer the next batch."""
    for_ours, for_theirs = itertools.cycle(batches), itertools.cycle(batches)

    async def ours() -> object:
        return session.run({INPUT_NAME: next(for_ours)}, [OUTPUT_NAME])

    async def theirs() -> object:
        return forest.predict(next(for_theirs))

    return {"onnx": ours, "sklearn": theirs}


def check_answers(forest: RandomForestRegressor, session: Session, rows: Float32Array) -> None:
    """Raise unless both say the same."""
    (answer,) = session.run({INPUT_NAME: rows}, [OUTPUT_NAME])
    np.testing.assert_allclose(answer[:, 0], forest.predict(rows), rtol=PARITY)


async def measure(rounds: int) -> int:
    """Measure, print the table, and return the exit status."""
    say("fitting the forest")
    forest = fit()
    rows = draw_rows(4 * MANY, seed=2).features
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(export_forest(forest))
        marks = [await compare(case, forest, path, rows, rounds) for case in CASES]
    return report("scikit-learn's time by ONNX Runtime's", marks)


async def compare(
    case: Case, forest: RandomForestRegressor, path: Path, rows: Float32Array, rounds: int
) -> Mark:
    """Time both in turns."""
    forest.set_params(n_jobs=case.sklearn_threads)
    session = Session(path, threads=case.threads)
    check_answers(forest, session, rows[:MANY])
    timings = await time_in_turns(
        candidates(forest, session, cut_batches(rows, case.rows)),
        rounds=rounds,
        calls=3 if case.rows == MANY else {"onnx": 16 * BATCHES, "sklearn": BATCHES},
        warm_up=5,
    )
    ours, theirs = timings["onnx"], timings["sklearn"]
    return Mark(
        name=case.name,
        value=theirs.ratio_to(ours),
        limit=case.at_least,
        at_most=False,
        detail=f"{_shown(theirs.seconds)} / {_shown(ours.seconds)}",
    )


def _shown(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} us" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"


def main() -> int:
    """Return the exit status: 1 where a mark is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="rounds of calls timed in turns")
    return uvloop.run(measure(parser.parse_args().rounds))


if __name__ == "__main__":
    sys.exit(main())
