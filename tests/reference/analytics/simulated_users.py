"""Users drawn by the thousand, for the coverage of intervals: what each cell of a simulation is made of."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, gammaln

from services.analytics.domain.intervals import RatioMoments

Reals = NDArray[np.float64]
CORRELATION = 0.25
"""Of one user's outcomes: their rates are beta distributed with this correlation."""
UNIT = 10_000
"""Parts of one unit of money that amounts are whole numbers of."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Users who have 1 to `repeats` trials each, evenly, and succeed at `rate` on the average."""

    users: int
    repeats: int
    rate: float


@dataclass(frozen=True, kw_only=True)
class Kinds:
    """What a user can be: trials and successes, and how probable that is."""

    trials: Reals
    successes: Reals
    probabilities: Reals


def kinds_of(cell: Cell, correlation: float = CORRELATION) -> Kinds:
    """The beta-binomial distribution of successes, by trials."""
    trials, successes, probabilities = [], [], []
    strength = (1 - correlation) / correlation
    a, b = strength * cell.rate, strength * (1 - cell.rate)
    for m in range(1, cell.repeats + 1):
        k = np.arange(m + 1.0)
        choices = gammaln(m + 1) - gammaln(k + 1) - gammaln(m - k + 1)
        probabilities.append(np.exp(choices + betaln(k + a, m - k + b) - betaln(a, b)) / cell.repeats)
        trials.append(np.full(m + 1, float(m)))
        successes.append(k)
    return Kinds(
        trials=np.concatenate(trials),
        successes=np.concatenate(successes),
        probabilities=np.concatenate(probabilities) / np.concatenate(probabilities).sum(),
    )


def draw_rates(cell: Cell, *, runs: int, seed: int, correlation: float = CORRELATION) -> list[RatioMoments]:
    """One sum over users per run. How many users are of each kind is multinomial, so no user is drawn."""
    kinds = kinds_of(cell, correlation)
    counts = np.random.default_rng(seed).multinomial(cell.users, kinds.probabilities, size=runs)
    m, k = kinds.trials, kinds.successes
    sums = (counts @ np.stack([k, m, k * k, k * m, m * m], axis=1)).astype(np.int64).tolist()
    return [RatioMoments(users=cell.users, y=y, x=x, yy=yy, xy=xy, xx=xx) for y, x, yy, xy, xx in sums]


def true_roas(cell: Cell) -> float:
    """Revenue 1 at a success; a trial costs 0.01 and a success 0.2."""
    return cell.rate / (0.01 + 0.2 * cell.rate)


def draw_spending(
    cell: Cell, *, sigma: float, runs: int, seed: int, known: int = 0
) -> Iterator[RatioMoments]:
    """One sum over users of revenue and cost (in cents of cents) per run; amounts are log-normal of mean 1.

    Users are multinomial by kind, and amounts are drawn for those who succeed. `known` is an imported cost.
    """
    kinds = kinds_of(cell)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(cell.users, kinds.probabilities, size=runs)
    costs = np.rint(UNIT * (0.01 * kinds.trials + 0.2 * kinds.successes))
    paying = np.flatnonzero(kinds.successes)
    run = np.repeat(np.arange(runs), counts[:, paying].sum(axis=1))
    kind = np.repeat(np.tile(paying, runs), counts[:, paying].ravel())
    owners = np.repeat(np.arange(kind.size), kinds.successes[kind].astype(np.int64))
    amounts = rng.lognormal(-sigma * sigma / 2, sigma, owners.size)
    y = np.rint(UNIT * np.bincount(owners, weights=amounts, minlength=kind.size))
    columns = [
        *(np.bincount(run, weights=w, minlength=runs) for w in (y, y * y, y * costs[kind], y**3, y > 0)),
        counts @ costs,
        counts @ (costs * costs),
    ]
    for sums in zip(*(column.tolist() for column in columns), strict=True):
        sum_y, yy, xy, yyy, carriers, x, xx = (int(total) for total in sums)
        yield RatioMoments(
            users=cell.users,
            y=sum_y,
            x=x + known,
            yy=yy,
            xy=xy,
            xx=xx,
            carriers=carriers,
            yyy=yyy,
            x_known=known,
        )
