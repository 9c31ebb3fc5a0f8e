"""`python -m services.optimizer`."""

import sys

from services.common.cli import run_service_command
from services.optimizer.server import serve
from services.optimizer.settings import OptimizerSettings

if __name__ == "__main__":
    sys.exit(run_service_command("optimizer", OptimizerSettings, serve, migrates=True))
