"""What a person asks from a shell beside a running service: simulate."""

import sys
from argparse import ArgumentParser, Namespace

from services.abtest.convert.simulation import (
    DEFAULT_LOOKS,
    DEFAULT_SEED,
    DEFAULT_SIMULATIONS,
    simulation_from_options,
    simulation_to_json,
)
from services.abtest.domain.simulation import simulate
from services.abtest.domain.simulation_summary import (
    Duration,
    OutcomeSummary,
    Share,
    SimulationSummary,
    summarize,
)
from services.abtest.operations.simulation import require_bounded
from services.common.cli import OfflineCommand


def run_simulation(arguments: Namespace) -> int:
    """Simulate a design and print what its tests show, as a table or as JSON."""
    options = {name: value for name, value in vars(arguments).items() if name not in {"command", "json"}}
    design = simulation_from_options(options)
    require_bounded(design)
    summary = summarize(simulate(design))
    _tell(simulation_to_json(summary) if arguments.json else "\n".join(describe(summary)))
    return 0


def describe(summary: SimulationSummary) -> list[str]:
    """Return a summary as lines for a person."""
    design = summary.design
    method = design.test.decision_method.label
    lines = [
        f"{design.simulations} tests of each kind by {method}, {len(design.look_users)} looks each",
        f"{100 * design.test.confidence_level:g} % confidence, seed {design.seed}",
        "without an effect:",
        *_describe_outcomes(summary.without_effect),
    ]
    if summary.with_effect is not None:
        rates = ", ".join(f"{100 * rate:g} %" for rate in design.rates)
        lines += [f"with true rates of {rates}:", *_describe_outcomes(summary.with_effect)]
    return lines + [f"warning: {warning}" for warning in summary.warnings]


def _describe_outcomes(outcomes: OutcomeSummary) -> list[str]:
    shares = {
        "a winner is named": outcomes.winner_named,
        "the best group is named": outcomes.best_named,
        "a worse group is named": outcomes.worse_named,
        "no winner": outcomes.undecided,
        "found invalid": outcomes.invalid,
    }
    durations = {"users": outcomes.users, "days": outcomes.days}
    return [
        *(_describe_share(name, share) for name, share in shares.items() if share is not None),
        *(_describe_duration(name, value) for name, value in durations.items() if value is not None),
    ]


def _describe_share(name: str, share: Share) -> str:
    lower, upper = 100 * share.interval.lower, 100 * share.interval.upper
    return f"  {name:24} {100 * share.share:6.2f} %  ({lower:.2f} % to {upper:.2f} %)"


def _describe_duration(name: str, duration: Duration) -> str:
    return (
        f"  {name:24} {duration.expected:10,.1f} expected; a tenth of tests are over by "
        f"{duration.tenth_percentile:,.1f}, half by {duration.median:,.1f}, nine tenths by "
        f"{duration.ninetieth_percentile:,.1f}"
    )


def _tell(text: str) -> None:
    sys.stdout.write(text + "\n")


def _add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--baseline-conversion-rate", type=float, required=True, help="conversion rate of control")
    add(
        "--relative-lifts",
        type=float,
        nargs="+",
        required=True,
        help="true effect of each variant, relative: 0.2 is 10 %% against 12 %%",
    )
    add("--target-sample-size", type=int, required=True, help="users planned per group")
    add("--confidence-level", type=float, help="0.80 to 0.999 (unset: 0.95)")
    add("--decision-method", help="anytime (unset), group_sequential or fixed_horizon")
    add("--planned-looks", type=int, help="of group_sequential (unset: 10)")
    add("--traffic-weights", type=float, nargs="+", help="shares of the groups, control first (unset: equal)")
    add("--looks", type=int, help=f"how often each test is looked at (unset: {DEFAULT_LOOKS})")
    add("--simulations", type=int, help=f"tests of each kind (unset: {DEFAULT_SIMULATIONS})")
    add("--seed", type=int, help=f"of the simulated users (unset: {DEFAULT_SEED})")
    add("--users-per-day", type=float, help="of all groups together, for durations in days")
    add(
        "--revenue-per-conversion",
        type=float,
        help="mean revenue of a user who converts; the test then decides by revenue per user",
    )
    add("--revenue-standard-deviation", type=float, help="of that revenue, gamma (unset: the mean)")
    add("--json", action="store_true", help="print the answer of SimulateTest instead of a table")


COMMANDS = {
    "simulate": OfflineCommand(
        help="try a design on simulated users: error rates, power, duration",
        run=run_simulation,
        arguments=_add_arguments,
    )
}
