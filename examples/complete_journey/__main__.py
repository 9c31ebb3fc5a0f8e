"""Command line of the Complete Journey importer: `summary` and `load`."""

import argparse
import sys
from functools import partial
from pathlib import Path

from examples.complete_journey.loading import Journey, load
from examples.complete_journey.mapping import TIME_ZONE
from examples.complete_journey.source import PACKAGE, Source, SourceError
from examples.ingestion import add_ingestion_arguments, run_loader


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.complete_journey",
        description="Real baskets, campaigns and coupons of 2017; mapping.py says what becomes what.",
        epilog=f"The households live in {TIME_ZONE}: give analytics REPORTING_TIME_ZONE={TIME_ZONE}, or days "
        "are those of UTC.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    summary = commands.add_parser("summary", help="read the data and print its numbers; send nothing")
    loading = commands.add_parser("load", help="send catalog and events to a gateway")
    for command in (summary, loading):
        command.add_argument(
            "--data", type=Path, help=f"folder of the data's parquet files (the package {PACKAGE})"
        )
        command.add_argument(
            "--merchant",
            choices=("store", "manufacturer"),
            default="store",
            help="who a merchant is (%(default)s)",
        )
    add_ingestion_arguments(loading)
    return parser


def _summarize(journey: Journey) -> None:
    print(f"{len(journey.merchants):,} merchants, {len(journey.users):,} users")
    print(f"{len(journey.campaigns.campaign_id)} campaigns")
    print(f"{len(journey.deliveries.household_id):,} deliveries")
    print(f"{len(journey.redemptions.household_id):,} redemptions")
    print(f"{len(journey.lines):,} transaction lines")


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        journey = Journey.read(Source.find(options.data), merchant=options.merchant)
    except SourceError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 1
    if options.command == "summary":
        _summarize(journey)
        return 0
    return run_loader(options, partial(load, journey))


if __name__ == "__main__":
    sys.exit(main())
