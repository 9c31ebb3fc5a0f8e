"""What single users' events say of their send times, on databases of their own."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import send_time_pb2 as pb
from services.common import attempts
from services.common.database import Connection, Database
from services.common.errors import DeadlineExceededError, InternalError
from services.common.statements import load_statements
from services.optimizer.domain.send_time.counts import CellCount
from services.optimizer.domain.send_time.profile import SendTimeProfile
from services.optimizer.domain.send_time.send_time import SendTime
from services.optimizer.operations import send_times as operations_module
from services.optimizer.store import send_times as store
from tests.contract.optimizer.harness import (
    fetch_rows,
    optimizer_settings,
    refusal_of,
    running_optimizer,
)
from tests.contract.optimizer.send_time_stand import (
    DELIVERED,
    NOTIFICATION_OPENED,
    NOW,
    VIEWED,
    execute,
    insert_acts,
    insert_plain,
    run_job,
    send_times,
)


class TestUsersMadeByHand:
    """What single users' events say, on a database of their own and without a profile of everybody."""

    @asynccontextmanager
    async def asking(
        self, database: DatabaseAddresses, folder: Path
    ) -> AsyncIterator[Callable[[str], Awaitable[pb.OptimizeSendTimeResponse]]]:
        settings = optimizer_settings(database.optimizer, folder, 1)
        async with running_optimizer(settings, clock=lambda: NOW) as stub:

            async def ask(user: str) -> pb.OptimizeSendTimeResponse:
                return await stub.OptimizeSendTime(
                    pb.OptimizeSendTimeRequest(user_id=user, quiet_start_hour=0, quiet_end_hour=0)
                )

            yield ask

    async def test_before_anything_is_known_it_says_what_to_do(
        self, database: DatabaseAddresses, tmp_path: Path
    ) -> None:
        assert await run_job(database.optimizer) == "0 users"
        async with self.asking(database, tmp_path) as ask:
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await ask("nobody")
        refused = refusal_of(failure.value)
        assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "DATA_INSUFFICIENT")
        assert "/api/optimize/jobs/send_times/run" in refused.message

    async def test_one_whose_events_take_too_long_holds_up_nobody(
        self, database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The batch fails, the others are computed one by one, and the one waits for a day."""
        days = [datetime(2026, 10, day, 9, 30, tzinfo=UTC) for day in range(1, 20)]
        for user in ("anna", "bela", "crowd", "dora"):
            await insert_acts(database.admin, user, days)
        asked: list[list[str]] = []
        count = store.list_send_time_counts

        async def count_slowly(
            connection: Connection,
            user_ids: Sequence[str],
            zones: Sequence[str],
            **bounds: Any,  # noqa: ANN401 (they pass through)
        ) -> list[CellCount]:
            asked.append(list(user_ids))
            if "crowd" in user_ids and len(asked) > 1:
                raise DeadlineExceededError("the database did not finish in time", reason="TEST")
            return await count(connection, user_ids, zones, **bounds)

        monkeypatch.setattr(store, "list_send_time_counts", count_slowly)
        said = await run_job(database.optimizer)
        assert said == (
            "3 users, profile of 4 users fitted, 1 left for a day: their events take too long to count"
        )
        everybody = ["anna", "bela", "crowd", "dora"]
        assert sorted(asked[0]) == everybody  # the profile
        assert asked[1:] == [everybody, *([user] for user in everybody)]
        await execute(database.admin, "update analytics.events set received_at = now() - interval '1 hour'")
        async with send_times(database.optimizer) as operations:
            assert not await operations.is_anything_due()
        await execute(database.admin, "update optimizer.send_time_queue set retry_at = now()")
        await execute(database.admin, "delete from optimizer.send_time_profiles")
        monkeypatch.setattr(store, "list_send_time_counts", count)
        assert await run_job(database.optimizer) == "1 users, profile of 4 users fitted"

    @pytest.mark.parametrize(("most", "kept"), [(100, ["anna", "bela", "dora"]), (1, [])])
    async def test_one_whose_history_meets_a_defect_holds_up_nobody(
        self, database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch, most: int, kept: list[str]
    ) -> None:
        """But a run that meets too many is given up: of those tried again, aaron is the first."""
        days = [datetime(2026, 10, day, 9, 30, tzinfo=UTC) for day in range(1, 20)]
        for user in ("aaron", "anna", "bela", "dora"):
            await insert_acts(database.admin, user, days)
        recommend = operations_module._recommend

        def meet_a_defect(
            profile: SendTimeProfile,
            user_ids: Sequence[str],
            *others: Any,  # noqa: ANN401 (they pass through)
        ) -> list[SendTime]:
            if "aaron" in user_ids:
                raise ZeroDivisionError
            return recommend(profile, user_ids, *others)

        monkeypatch.setattr(operations_module, "_recommend", meet_a_defect)
        monkeypatch.setattr(attempts, "MOST_BROKEN", most)
        with pytest.raises(InternalError, match="1 left for a day by a defect"):
            await run_job(database.optimizer)
        rows = await fetch_rows(database.admin, "select user_id from optimizer.user_optimal_send_times")
        assert sorted({row["user_id"] for row in rows}) == kept

    async def test_a_profile_does_without_those_whose_events_take_too_long(
        self, database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        days = [datetime(2026, 10, day, 9, 30, tzinfo=UTC) for day in range(1, 20)]
        for user in ("anna", "bela", "crowd"):
            await insert_acts(database.admin, user, days)
        count = store.list_send_time_counts

        async def count_slowly(
            connection: Connection,
            user_ids: Sequence[str],
            zones: Sequence[str],
            **bounds: Any,  # noqa: ANN401 (they pass through)
        ) -> list[CellCount]:
            if "crowd" in user_ids:
                raise DeadlineExceededError("the database did not finish in time", reason="TEST")
            return await count(connection, user_ids, zones, **bounds)

        monkeypatch.setattr(store, "list_send_time_counts", count_slowly)
        monkeypatch.setattr(operations_module, "USERS_AT_ONCE", 1)
        said = await run_job(database.optimizer)
        assert said.startswith("2 users, profile of 2 users fitted, 1 left for a day")

    async def test_of_a_long_history_the_last_events_count(self, database: DatabaseAddresses) -> None:
        nine = [datetime(2026, 9, day, 9, 30, tzinfo=UTC) for day in range(1, 21)]
        noon = [datetime(2026, 10, day, 12, 30, tzinfo=UTC) for day in range(1, 6)]
        for user in ("anna", "bela"):
            await insert_acts(database.admin, user, [*nine, *noon])
        own = await Database.open(database.optimizer, application_name="test")
        try:
            async with own.acquire() as connection:
                counts = await store.list_send_time_counts(
                    connection,
                    ["anna", "bela"],
                    ["UTC", "UTC"],
                    days=365,
                    most_events=7,
                    delivered_before=NOW,
                )
        finally:
            await own.close()
        acts: dict[tuple[str, int], int] = {}
        for each in counts:
            acts[each.user_id, each.hour] = acts.get((each.user_id, each.hour), 0) + each.acts
        acts = {hour: days for hour, days in acts.items() if days}  # others say how often weekdays came
        assert acts == {(user, hour): days for user in ("anna", "bela") for hour, days in ((12, 5), (9, 2))}

    async def test_hours_are_the_users_own_on_both_sides_of_a_change_of_clocks(
        self, database: DatabaseAddresses, tmp_path: Path
    ) -> None:
        """New York's clocks went back on 1 November 2026: 9:30 there was 13:30 UTC before, 14:30 after."""
        zone = ZoneInfo("America/New_York")
        await execute(
            database.admin,
            "insert into analytics.users (user_id, time_zone) values ('early', $1), ('lost', 'Mars/Olympus')",
            zone.key,
        )
        days = [datetime(2026, 10, 26, 9, 30, tzinfo=zone) + timedelta(days=day) for day in range(14)]
        assert {day.astimezone(UTC).hour for day in days} == {13, 14}
        for user in ("early", "lost"):
            await insert_acts(database.admin, user, days)
        async with self.asking(database, tmp_path) as ask:
            early, lost = await ask("early"), await ask("lost")
        assert (early.optimal_hour, early.time_zone) == (9, "America/New_York")
        assert early.optimal_window == "9:00 AM - 10:00 AM"
        assert lost.time_zone == "UTC"
        assert lost.optimal_hour in {13, 14}
        assert lost.warnings[0].startswith("The user's time zone is not known")
        assert early.confidence > lost.confidence
        assert not early.HasField("expected_conversion_rate")
        assert not early.top_hours[0].HasField("expected_view_rate")
        assert not early.top_hours[0].HasField("expected_view_rate_interval")
        assert not early.top_hours[0].HasField("score_interval")
        assert not early.top_days[0].HasField("score_interval")
        assert early.is_interim
        assert "the job send_times does that" in early.warnings[0]

    async def test_weekdays_are_counted_from_the_first_to_the_last_day(
        self, database: DatabaseAddresses, tmp_path: Path
    ) -> None:
        """Every day of ten from a Friday on, in New York: Friday, Saturday and Sunday came twice."""
        zone = ZoneInfo("America/New_York")
        first = datetime(2026, 10, 23, 22, 30, tzinfo=zone)  # a Saturday in UTC
        assert first.weekday() == 4
        await execute(
            database.admin, "insert into analytics.users (user_id, time_zone) values ('daily', $1)", zone.key
        )
        await insert_acts(database.admin, "daily", [first + timedelta(days=day) for day in range(10)])
        settings = optimizer_settings(database.optimizer, tmp_path, 1)
        statement = load_statements("services.optimizer")["list_send_time_counts"].sql
        arguments = [["daily"], [zone.key], 365, NOW]
        rows = await fetch_rows(settings.database_url, statement, *arguments, 20_000)
        days = {row["weekday"]: row["days"] for row in rows if row["days"]}
        assert days == {0: 1, 1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 2}
        assert sum(row["acts"] for row in rows) == 10
        async with self.asking(database, tmp_path) as ask:
            answer = await ask("daily")
        assert max(day.probability for day in answer.top_days) < 0.25, "no day is better than another"

    async def test_who_is_long_gone_is_kept_no_more_and_answered_all_the_same(
        self, database: DatabaseAddresses, tmp_path: Path
    ) -> None:
        days = [datetime(2026, 10, day, 9, 30, tzinfo=UTC) for day in range(1, 20)]
        for user in ("anna", "gone"):
            await insert_acts(database.admin, user, days)
        assert await run_job(database.optimizer) == "2 users, profile of 2 users fitted"
        for user, ago in (("anna", "399 days"), ("gone", "401 days")):
            await execute(
                database.admin,
                f"update analytics.events set received_at = now() - interval '{ago}' where user_id = $1",
                user,
            )
        later = NOW + timedelta(days=8)  # what is kept is old, and computed anew after the next fit
        assert await run_job(database.optimizer, later) == "2 users, profile of 2 users fitted"
        rows = await fetch_rows(database.admin, "select user_id from optimizer.user_optimal_send_times")
        assert [row["user_id"] for row in rows] == ["anna"]
        async with self.asking(database, tmp_path) as ask:
            answer = await ask("gone")
        assert (answer.optimal_hour, answer.source, answer.observed_events) == (9, "user", 19)

    async def test_what_machines_open_is_not_the_users_hour(
        self, database: DatabaseAddresses, tmp_path: Path
    ) -> None:
        """Everybody's mail is opened by a machine at 4:00, and by its reader where it was sent at 18:00."""
        await execute(
            database.admin,
            "insert into analytics.campaigns (campaign_id, campaign_type) values ('c1', 1), ('c2', 2)",
        )
        events = []
        for user in range(40):
            for day in range(1, 11):
                for hour in (4, 9, 13, 18):
                    at = datetime(2026, 10, day, hour, user, tzinfo=UTC)
                    key = f"{day}-{hour}"
                    campaign = "c1" if day % 2 else "c2"
                    events.append((f"u{user}", f"sent-{key}", DELIVERED, at, campaign, False))
                    if hour == 4:
                        opened = at + timedelta(seconds=20)
                        events.append(
                            (f"u{user}", f"open-{key}", NOTIFICATION_OPENED, opened, campaign, True)
                        )
                    if hour == 18 or (hour == 9 and (user + day) % 4 == 0):
                        seen = at + timedelta(minutes=3)
                        events.append((f"u{user}", f"seen-{key}", VIEWED, seen, campaign, False))
        await insert_plain(database.admin, events)
        assert await run_job(database.optimizer) == "40 users, profile of 40 users fitted"
        async with self.asking(database, tmp_path) as ask:
            answers = [await ask(f"u{user}") for user in range(5)]
            newcomer = await ask("newcomer")
        for answer in answers:
            hours = [score.hour for score in answer.top_hours]
            assert answer.optimal_hour == 18
            assert 4 not in hours
        assert (newcomer.optimal_hour, newcomer.source) == (18, "population")
        assert not newcomer.HasField("expected_conversion_rate")  # nobody ever bought
