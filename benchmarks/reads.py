"""`python -m benchmarks.reads`: what reads cost, in ratios with pass marks; status 1 if one is missed."""

import sys
from argparse import ArgumentParser, Namespace

import uvloop

from benchmarks.common import Mark, report
from benchmarks.daily_world import World
from benchmarks.rpcs import measure_rpcs

DAYS_PER_YEAR = 365.25


def parse_arguments() -> Namespace:
    """Return what to measure, and how long."""
    parser = ArgumentParser(prog="python -m benchmarks.reads", description=__doc__)
    parser.add_argument("part", nargs="?", choices=["statements", "rpcs", "all"], default="all")
    parser.add_argument("--campaigns", type=int, default=10_000, help="campaigns of the large world")
    parser.add_argument("--years", type=float, default=5.0, help="years of the large world")
    parser.add_argument("--rounds", type=int, default=30, help="rounds of statements timed in turns")
    parser.add_argument("--concurrency", type=int, default=16, help="calls in flight of the RPC client")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one turn of an RPC")
    parser.add_argument("--turns", type=int, default=5, help="turns of every RPC and of its echo")
    return parser.parse_args()


async def measure(arguments: Namespace) -> int:
    """Measure the parts asked for, one table each."""
    status = 0
    if arguments.part in ("statements", "all"):
        from benchmarks.statements import measure_statements  # noqa: PLC0415 - it alone needs DuckDB

        world = World(campaigns=arguments.campaigns, days=round(arguments.years * DAYS_PER_YEAR))
        status |= report("Statements", await measure_statements(world, rounds=arguments.rounds))
    if arguments.part in ("rpcs", "all"):
        marks: list[Mark] = await measure_rpcs(
            concurrency=arguments.concurrency, seconds=arguments.seconds, turns=arguments.turns
        )
        title = f"Unary reads against a bare echo, {arguments.concurrency} calls in flight"
        status |= report(title, marks)
    return status


if __name__ == "__main__":
    sys.exit(uvloop.run(measure(parse_arguments())))
