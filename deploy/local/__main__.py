"""`python -m deploy.local`: what `make run` runs."""

import argparse
import asyncio
import os
import signal
import sys
import time

from deploy.local.console import Console
from deploy.local.demo_state import check_demo, read_state
from deploy.local.errors import RunError
from deploy.local.launch import die_with_parent
from deploy.local.lock import check_unlocked, data_lock
from deploy.local.ports import check_ports
from deploy.local.run import run
from deploy.local.settings import RunSettings
from services.common.settings import describe_settings, load_settings

# What make takes to find an environment that is complete is not worth a word.
_LONG_SECONDS = 3.0


def main() -> int:
    """Run the whole system; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local",
        description="Runs the whole system in the foreground until Ctrl-C or SIGTERM.",
        epilog="settings, from the environment:\n" + describe_settings(RunSettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--stop-with-parent", action="store_true", help="also stop when the starting process dies"
    )
    parser.add_argument(
        "--began",
        type=float,
        default=None,
        metavar="SECONDS",
        help="when make began (Unix time): what passed since then was spent on the environment",
    )
    arguments = parser.parse_args()
    before = time.time() - arguments.began if arguments.began else 0.0
    if arguments.stop_with_parent:
        die_with_parent(os.getppid(), signal.SIGTERM)
    settings = load_settings(RunSettings)
    try:
        check_unlocked(settings.data_dir)
        check_ports(settings.ports())
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        with data_lock(settings.data_dir):
            check_demo(settings, read_state(settings))
            console = Console(settings.data_dir / "logs")
            try:
                return asyncio.run(
                    run(settings, console, environment_seconds=before if before >= _LONG_SECONDS else 0.0)
                )
            finally:
                console.close()
    except RunError as error:
        print(error, *error.details, sep="\n  ", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
