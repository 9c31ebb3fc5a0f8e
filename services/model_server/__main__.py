"""`python -m services.model_server`."""

import sys

from services.common.cli import run_service_command
from services.model_server.server import serve
from services.model_server.settings import ModelServerSettings

if __name__ == "__main__":
    sys.exit(run_service_command("model_server", ModelServerSettings, serve, migrates=False))
