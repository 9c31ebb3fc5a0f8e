"""Command line of the simulated world: `summary` and `load`."""

import argparse
import sys
import time
from datetime import UTC, date, datetime
from functools import partial

from examples.ingestion import add_ingestion_arguments, run_loader
from examples.simulated_world.loading import History, load


def _aware_time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError("needs a UTC offset, as in 2026-01-31T12:00:00+00:00")
    return moment.astimezone(UTC)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.simulated_world",
        description="A simulated market of 200 campaigns whose best decisions are known; see its README.md.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    summary = commands.add_parser("summary", help="generate the events and print their numbers; send nothing")
    loading = commands.add_parser("load", help="send catalog and events to a gateway")
    for command in (summary, loading):
        command.add_argument("--seed", type=int, default=1, help="which world (%(default)s)")
        command.add_argument(
            "--as-of", type=_aware_time, help="no event lies after this time, ISO 8601 with offset (now)"
        )
        command.add_argument(
            "--end-date", type=date.fromisoformat, help="last day of the world (the UTC day of --as-of)"
        )
        command.add_argument(
            "--scale", type=_positive, default=1.0, help="factor on the number of events (%(default)s)"
        )
    add_ingestion_arguments(loading)
    return parser


def _summarize(history: History) -> None:
    started = time.monotonic()
    counts = history.counts()
    seconds = time.monotonic() - started
    world = history.world
    print(f"world {history.prefix}: {world.dates[0]} to {world.dates[-1]}, as of {history.as_of.isoformat()}")
    print(
        f"{len(world.campaigns.names)} campaigns, {len(world.merchants.names)} merchants, "
        f"{len(world.users.city):,} users"
    )
    for kind, count in counts.items():
        print(f"  {kind.name.lower():<24}{count:>12,}")
    print(f"{sum(counts.values()):,} events, generated in {seconds:.1f} s")


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status."""
    options = _parser().parse_args(arguments)
    history = History.build(
        seed=options.seed,
        as_of=options.as_of or datetime.now(UTC),
        end_date=options.end_date,
        scale=options.scale,
    )
    if options.command == "summary":
        _summarize(history)
        return 0
    return run_loader(options, partial(load, history))


if __name__ == "__main__":
    sys.exit(main())
