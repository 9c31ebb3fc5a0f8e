"""Events of the simulated world as analytics keeps them, for some of its users."""

from datetime import UTC, datetime

import asyncpg
import numpy as np
from numpy.typing import NDArray

from examples.simulated_world.columns import NONE, EventColumns, Kind
from examples.simulated_world.events import generate_days
from examples.simulated_world.messages import campaign_id, user_id, user_messages
from examples.simulated_world.population import LIFECYCLES
from examples.simulated_world.world import World

WIRE_TYPES = {Kind.PURCHASED: Kind.CONVERTED, Kind.MACHINE_OPENED: Kind.NOTIFICATION_OPENED}
COLUMNS = [
    *("user_id", "event_id", "event_type", "event_at", "counted_at", "campaign_id", "merchant_id"),
    *("stamped_fields", "is_machine_open", "currency_code"),
]


async def insert_simulated_users(url: str, world: World, users: NDArray[np.intp]) -> None:
    """Keep the users at the positions with their segments, all campaigns, and all that the users did."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "insert into analytics.reporting_settings (reporting_time_zone) values ('UTC')"
            " on conflict do nothing"
        )
        await _insert_catalog(connection, world, users)
        for columns in generate_days(world):
            await connection.copy_records_to_table(
                "events",
                schema_name="analytics",
                columns=COLUMNS,
                records=_records(columns.take(np.isin(columns.user, users))),
            )
        await connection.execute("analyze analytics.events")
    finally:
        await connection.close()


async def _insert_catalog(
    connection: "asyncpg.Connection[asyncpg.Record]", world: World, users: NDArray[np.intp]
) -> None:
    await connection.executemany(
        "insert into analytics.campaigns (campaign_id, campaign_type, merchant_id, currency_code)"
        " values ($1, $2, $3, 'USD')",
        [
            (campaign_id(index), int(kind) + 1, int(merchant) + 1)
            for index, (kind, merchant) in enumerate(
                zip(world.campaigns.campaign_type, world.campaigns.merchant, strict=True)
            )
        ],
    )
    for number, name in enumerate(LIFECYCLES, start=1):
        await connection.execute(
            "insert into analytics.segment_sets (segment_set_id, segments) overriding system value"
            " values ($1, array[$2::text])",
            number,
            name,
        )
    messages = user_messages(world)
    await connection.executemany(
        "insert into analytics.users (user_id, time_zone, segment_set_id) values ($1, $2, $3)",
        [
            (messages[user].user_id, messages[user].time_zone, int(world.users.lifecycle[user]) + 1)
            for user in users
        ],
    )


def _records(columns: EventColumns) -> list[tuple[object, ...]]:
    rows = zip(
        columns.user.tolist(),
        columns.day.tolist(),
        columns.row.tolist(),
        columns.kind.tolist(),
        columns.at.tolist(),
        columns.campaign.tolist(),
        columns.merchant.tolist(),
        strict=True,
    )
    return [
        (
            user_id(user),
            f"{day}.{row}.{kind}",
            int(WIRE_TYPES.get(Kind(kind), kind)),
            *(datetime.fromtimestamp(at, UTC),) * 2,
            None if campaign == NONE else campaign_id(campaign),
            merchant + 1,
            0,
            kind == Kind.MACHINE_OPENED,
            "USD",
        )
        for user, day, row, kind, at, campaign, merchant in rows
    ]
