"""What DATA_DIR remembers about its demo data: which, in which database, and whether it is complete."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime

from deploy.local.bootstrap import describe_address
from deploy.local.errors import RunError
from deploy.local.settings import RunSettings

STATE_NAME = "demo.json"
NEW_YORK = "America/New_York"
EMBEDDED = "embedded"
NAMES = {"1": "the simulated world", "complete-journey": "the Complete Journey"}


@dataclass(frozen=True, kw_only=True)
class DemoState:
    """The demo data of one database.

    `demo` is the value of DEMO it was loaded for, `database` where it went, `complete` whether all of it
    arrived. `began_at` is when its loading began and `scale` its DEMO_SCALE: a repeated loading must make the
    same data.
    """

    demo: str
    database: str
    began_at: datetime
    scale: float
    complete: bool


def database_name(settings: RunSettings) -> str:
    """Return what tells the run's database from another."""
    return describe_address(settings.database_url) if settings.database_url else EMBEDDED


def read_state(settings: RunSettings) -> DemoState | None:
    """Return what is remembered about the run's database; None when nothing is."""
    path = settings.data_dir / STATE_NAME
    if not path.exists():
        return None
    content = json.loads(path.read_text())
    state = DemoState(**{**content, "began_at": datetime.fromisoformat(content["began_at"])})
    return state if state.database == database_name(settings) else None


def write_state(settings: RunSettings, state: DemoState) -> None:
    """Remember `state`; it is either written whole or not at all."""
    path = settings.data_dir / STATE_NAME
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps({**asdict(state), "began_at": state.began_at.isoformat()}, indent=2))
    unfinished.replace(path)


def check_demo(settings: RunSettings, state: DemoState | None) -> str | None:
    """Return a note when DEMO=0 meets demo data; None when there is nothing to say.

    Raises:
        RunError: the folder holds another demo's data than DEMO asks for.
    """
    if state is None or state.demo == settings.demo:
        return None
    way_out = f"run `{settings.make_command('clean-data')}` first, or choose another DATA_DIR"
    if settings.database_url:
        way_out = "choose another DATABASE_URL"
    held = f"{settings.data_dir} holds the data of {NAMES[state.demo]} (DEMO={state.demo})"
    if settings.demo == "0":
        return f"{held}; for an empty system {way_out}"
    raise RunError(f"{held}, and DEMO={settings.demo} asks for {NAMES[settings.demo]}: {way_out}")


def reporting_time_zone(settings: RunSettings, state: DemoState | None) -> str | None:
    """Return the zone to ask analytics for: the one set, else New York's for the Complete Journey's days."""
    if settings.reporting_time_zone:
        return settings.reporting_time_zone
    demo = state.demo if state else settings.demo
    return NEW_YORK if demo == "complete-journey" else None
