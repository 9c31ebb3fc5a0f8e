"""`python -m examples.uci_coupons --data <folder>`: the optimizer's forest on a survey of real coupons."""

import argparse
import sys
from pathlib import Path

from examples.uci_coupons.evaluation import score
from examples.uci_coupons.source import (
    DEMOGRAPHIC_COLUMNS,
    HABIT_COLUMNS,
    OFFER_COLUMNS,
    SourceError,
    read_coupons,
)


def main(arguments: list[str] | None = None) -> int:
    """Print how well held-out answers are told apart; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m examples.uci_coupons", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the survey's file")
    parser.add_argument("--seed", type=int, default=0, help="draws the folds (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        coupons = read_coupons(options.data)
    except SourceError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 1
    print(f"{len(coupons):,} answers of {len(set(coupons.respondent.tolist()))} respondents")
    print(f"{'the forest sees':<34}{'held out by respondent':>26}{'rows at random':>26}")
    respondent = (*DEMOGRAPHIC_COLUMNS, *HABIT_COLUMNS)
    for name, columns in (
        ("offer type, expiry, time", OFFER_COLUMNS),
        ("these and the respondent", (*OFFER_COLUMNS, *respondent)),
        ("the respondent alone", respondent),
    ):
        grouped = score(coupons, columns, by_respondent=True, seed=options.seed)
        random = score(coupons, columns, by_respondent=False, seed=options.seed)
        cells = [
            f"AUC {each.mean:.3f} ({each.interval[0]:.3f}-{each.interval[1]:.3f})"
            for each in (grouped, random)
        ]
        print(f"{name:<34}{cells[0]:>26}{cells[1]:>26}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
