"""Which version was live when: what is gathered of the time before it was kept, and that it stays."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common.database import Database
from services.optimizer.store import models
from services.optimizer.store.model_changes import list_model_changes
from tests.contract.optimizer.harness import NOON

(MIGRATION,) = (Path(__file__).resolve().parents[3] / "services/optimizer/sql/migrations").glob("0016_*.sql")
DAY = timedelta(days=1)
VERSIONS = (
    (1, "retired", "rolled back to version 3 by svc:ann: slow: very", 7),
    (2, "rejected", "does not beat the baseline", 1),
    (3, "live", "rolled back to version 3 by bob", 9),
    (4, "retired", "replaced by version 5", 8),
    (5, "retired", "rolled back to version 3 by bob", 9),
    (6, "retired", "was live once", 0),
    (7, "candidate", "", 9),
)
TRAININGS = ((3, "daily", "", 3), (4, "request", "eve", 5), (5, "drift", "", 8))


@pytest.fixture
async def admin(database: DatabaseAddresses) -> AsyncIterator[asyncpg.Connection]:
    """As it was before changes were kept."""
    connection = await asyncpg.connect(database.admin)
    await connection.execute(MIGRATION.read_text(encoding="utf-8").split("-- migrate:down")[1])
    await connection.execute("set search_path = optimizer")
    try:
        yield connection
    finally:
        await connection.close()


async def insert_version(admin: asyncpg.Connection, version: int, status: str, reason: str, day: int) -> None:
    await admin.execute(
        "insert into ml_models (model_name, version, status, status_reason, status_changed_at, code_version,"
        " trained_at, training_seconds, first_day, split_day, end_day, fitted_rows, held_out_rows, views,"
        " conversions, mae, global_mean_mae, type_mean_mae, parity_error, serving_parameters) values"
        " ('conversion', $1, $2, $3, $4, 'c', $4, 1, '2026-01-01', '2026-02-01', '2026-03-01', 1, 1, 1, 1,"
        " 0, 0, 0, 0, '{}')",
        version,
        status,
        reason,
        NOON + day * DAY,
    )


async def insert_training(admin: asyncpg.Connection, version: int, cause: str, actor: str, day: int) -> None:
    ended = NOON + day * DAY + timedelta(seconds=1)
    await admin.execute(
        "insert into trainings (training_id, state, cause, actor, comment, end_day, stage, progress,"
        " started_at, heartbeat_at, ended_at, model_name, model_version) values"
        " (gen_random_uuid(), 'promoted', $1, $2, '', '2026-03-01', 'done', 1, $3, $4, $4, 'conversion', $5)",
        cause,
        actor,
        ended - timedelta(minutes=3),
        ended,
        version,
    )


async def test_what_versions_and_trainings_tell_of_earlier_changes_is_gathered(
    admin: asyncpg.Connection, database: DatabaseAddresses
) -> None:
    """Versions 3 (daily), 4 (by eve) and 5 (drift) went live; svc:ann left 1 for 3, and bob 5 for 3.

    Nothing tells any more when 1 and 6 went live, nor what was live before 3 and 4 were promoted.
    """
    for version in VERSIONS:
        await insert_version(admin, *version)
    for training in TRAININGS:
        await insert_training(admin, *training)
    await admin.execute(MIGRATION.read_text(encoding="utf-8").split("-- migrate:down")[0])
    pool = await Database.open(database.optimizer, application_name="test")
    try:
        async with pool.transaction(readonly=True) as connection:
            found = await list_model_changes(connection, before=99, limit=99)
    finally:
        await pool.close()
    told = [
        (each.number, each.kind.value, each.cause and each.cause.value, each.previous, each.version)
        for each in found
    ]
    assert told == [
        (5, "rollback", "request", 5, 3),
        (4, "promotion", "drift", 4, 5),
        (3, "rollback", "request", 1, 3),
        (2, "promotion", "request", None, 4),
        (1, "promotion", "daily", None, 3),
    ]
    notes = [(each.note.actor, each.note.comment) for each in found]
    assert notes == [("bob", ""), ("", ""), ("svc:ann", "slow: very"), ("eve", ""), ("", "")]
    assert [each.is_automatic for each in found] == [False, True, False, False, True]
    assert [each.training_id is None for each in found] == [True, False, True, False, False]
    assert all(each.is_reconstructed for each in found)
    assert found[0].changed_at == NOON + 9 * DAY
    assert [each.ended_at for each in found[1:]] == [each.changed_at for each in found[:-1]]
    assert found[0].ended_at is None


async def test_without_a_version_nothing_is_gathered(admin: asyncpg.Connection) -> None:
    await admin.execute(MIGRATION.read_text(encoding="utf-8").split("-- migrate:down")[0])
    assert await admin.fetchval("select count(*) from model_changes") == 0


async def test_the_service_only_adds_to_changes(database: DatabaseAddresses) -> None:
    connection = await asyncpg.connect(database.optimizer)
    try:
        for statement in ("delete from model_changes", "update model_changes set actor = ''"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_which_version_was_live_last_goes_by_the_order_of_changes_and_no_clock(
    database: DatabaseAddresses,
) -> None:
    """2 took over from 1, and 3 from 2, by a replica whose clock is days behind; nothing tells when 4 was."""
    admin = await asyncpg.connect(database.admin)
    pool = await Database.open(database.optimizer, application_name="test")

    async def restorable() -> int | None:
        async with pool.transaction() as connection:
            return await models.fetch_restorable_version(connection)

    try:
        await admin.execute("set search_path = optimizer")
        for version, status, day in (
            (1, "retired", 9),
            (2, "retired", 5),
            (3, "live", 4),
            (4, "retired", 20),
        ):
            await insert_version(admin, version, status, "", day)
        for number, (before, after) in enumerate(((None, 1), (1, 2), (2, 3)), start=1):
            await admin.execute(
                "insert into model_changes (model_name, change_number, kind, cause, actor, comment, reason,"
                " from_version, to_version, changed_at)"
                " values ('conversion', $1, 'promotion', 'daily', '', '', '', $2, $3, now())",
                number,
                before,
                after,
            )
        async with pool.transaction() as connection:
            beside = [await models.fetch_last_retired_version(connection, version) for version in (3, 2)]
        found = [await restorable()]
        await admin.execute("update ml_models set is_rolled_back = true where version = 2")
        found.append(await restorable())
        await admin.execute("update ml_models set files_removed_at = now() where version = 1")
        found.append(await restorable())
        await admin.execute("delete from ml_models where version = 4")
        found.append(await restorable())
    finally:
        await pool.close()
        await admin.close()
    assert beside == [2, 1]
    assert found == [2, 1, 4, None]
