"""What programs that measure many worlds are told: which seeds, and which days they end on."""

import argparse
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

DAYS_OF_WEEK: Final = 7
WorldOrder = tuple[int, date]
"""A world's seed, and the day after its last."""


def read_worlds(
    arguments: Sequence[str] | None, *, prog: str, description: str, first_seed: int, worlds: int
) -> list[WorldOrder]:
    """Read the arguments; return the worlds, each on the weekday after the one before."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument(
        "--first-seed", type=int, default=first_seed, help="the first world's seed (%(default)s)"
    )
    parser.add_argument(
        "--worlds", type=int, default=worlds, help="how many seeds from there on (%(default)s)"
    )
    parser.add_argument(
        "--end-day",
        type=date.fromisoformat,
        default=date(2026, 11, 20),
        help="day after the first world's last (%(default)s)",
    )
    options = parser.parse_args(arguments)
    return [
        (options.first_seed + number, options.end_day + timedelta(days=number % DAYS_OF_WEEK))
        for number in range(options.worlds)
    ]
