"""What events are, and a day's events as columns."""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from examples.simulated_world.response import FloatArray

IntColumn: TypeAlias = NDArray[np.int64]

NONE: Final = -1
MICROS: Final = 1_000_000
HOUR_SECONDS: Final = 3600


class Kind(IntEnum):
    """What an event is; to the wire's enum in `messages`."""

    DELIVERED = 1
    VIEWED = 2
    CLICKED = 3
    CONVERTED = 4
    REFUNDED = 5
    UNSUBSCRIBED = 6
    GEOFENCE_ENTERED = 7
    NOTIFICATION_DELIVERED = 8
    NOTIFICATION_OPENED = 9
    PURCHASED = 10
    MACHINE_OPENED = 11


@dataclass(frozen=True, kw_only=True)
class EventColumns:
    """Events as columns of equal length, ordered by time.

    `at` in seconds since the epoch; money in micros; `campaign` and `user` are positions, `merchant` too;
    `NONE` (or NaN for `propensity`) where an event has no such thing. `(day, row)` name the delivery, the
    purchase or the passing-by that the event stems from.
    """

    kind: IntColumn
    at: IntColumn
    day: IntColumn
    row: IntColumn
    user: IntColumn
    campaign: IntColumn
    merchant: IntColumn
    channel: IntColumn
    offer_micros: IntColumn
    revenue_micros: IntColumn
    cost_micros: IntColumn
    propensity: FloatArray

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, positions: NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        """The events at the positions (or where the mask holds), in that order."""
        return type(self)(**{field.name: getattr(self, field.name)[positions] for field in fields(self)})

    @classmethod
    def concatenate(cls, parts: list[Self]) -> Self:
        """All parts in order of time, equal times in the order of the parts."""
        columns = {
            field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)
        }
        order = np.argsort(columns["at"], kind="stable")
        return cls(**{name: column[order] for name, column in columns.items()})
