"""`python -m services.analytics`: serve, migrate, reconcile, rebuild."""

import sys

from services.analytics.commands import COMMANDS
from services.analytics.server import serve
from services.analytics.settings import AnalyticsSettings
from services.common.cli import run_service_command

if __name__ == "__main__":
    sys.exit(run_service_command("analytics", AnalyticsSettings, serve, migrates=True, commands=COMMANDS))
