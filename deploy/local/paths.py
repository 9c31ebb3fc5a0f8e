"""Where things lie in the repository."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
LAUNCH = REPOSITORY / "deploy" / "local" / "launch.py"
ROLES_SQL = REPOSITORY / "deploy" / "postgres" / "roles.sql"
DESCRIPTOR = REPOSITORY / "gen" / "descriptors" / "api.binpb"
