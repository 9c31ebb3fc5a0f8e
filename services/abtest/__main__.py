"""`python -m services.abtest`: serve, migrate, simulate."""

import sys

from services.abtest.commands import COMMANDS
from services.abtest.server import serve
from services.abtest.settings import AbtestSettings
from services.common.cli import run_service_command

if __name__ == "__main__":
    sys.exit(run_service_command("abtest", AbtestSettings, serve, migrates=True, commands=COMMANDS))
