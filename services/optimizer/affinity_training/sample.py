"""Reads the users whom a model of visits is fitted on: all, or a sample of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zlib import crc32
from zoneinfo import ZoneInfo

import numpy as np

from services.common.database import Connection
from services.optimizer.affinity_training.fit import FIT_WEEKS
from services.optimizer.domain.affinity.contacts import Contacts
from services.optimizer.domain.affinity.model import HORIZON_DAYS
from services.optimizer.domain.affinity.response import Exposures
from services.optimizer.domain.affinity.tables import ExposureRow, exposures_of
from services.optimizer.store import affinity

FIT_USERS: Final = 50_000
"""Users that a model is fitted on at most; a sample by id beyond."""
EXPOSURE_USERS: Final = 10_000
"""Users at most whose views of campaigns are read."""
_USERS_AT_ONCE: Final = 500
_LISTED_AT_ONCE: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What users did; `users` is how many they are, positions in contacts and exposures are theirs."""

    contacts: Contacts
    exposures: Exposures
    users: int


async def read_sample(
    connection: Connection, merchants: dict[int, int], *, since: datetime, now: datetime, zone: ZoneInfo
) -> Sample:
    """Return the contacts since a time, and the views of campaigns in the weeks that are learned from."""
    chosen = await _sample_users(connection, since)
    weeks = timedelta(days=(FIT_WEEKS + 1) * HORIZON_DAYS + 1)
    batches = range(0, len(chosen), _USERS_AT_ONCE)
    every = max(-(-len(chosen) // EXPOSURE_USERS), 1)
    parts, viewed = [], list[ExposureRow]()
    for number, start in enumerate(batches):
        batch = chosen[start : start + _USERS_AT_ONCE]
        part = await affinity.list_contacts(connection, batch, merchants, since, zone.key)
        parts.append(np.column_stack([part.user + start, part.merchant, part.kind, part.day]))
        if number % every == 0:
            rows = await affinity.list_exposures(connection, batch, now - weeks, zone.key)
            viewed += [(row[0] + start, *row[1:]) for row in rows]
    columns = np.concatenate(parts) if parts else np.empty((0, 4), dtype=np.int64)
    contacts = Contacts(user=columns[:, 0], merchant=columns[:, 1], kind=columns[:, 2], day=columns[:, 3])
    return Sample(contacts=contacts, exposures=exposures_of(viewed, merchants), users=len(chosen))


async def _sample_users(connection: Connection, since: datetime) -> Sequence[str]:
    users: list[str] = []
    last = ""
    while listed := await affinity.list_contact_users(connection, last, since, _LISTED_AT_ONCE):
        users += listed
        last = listed[-1]
    if len(users) <= FIT_USERS:
        return users
    return sorted(sorted(users, key=lambda user_id: crc32(user_id.encode()))[:FIT_USERS])
