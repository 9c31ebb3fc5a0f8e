"""Attempts to train: what was asked, by whom, how far it is, and what came of it."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

LOST_AFTER: Final = timedelta(seconds=60)
"""Without a heartbeat for so long, whatever ran a training is taken to be gone."""


class TrainingState(StrEnum):
    """How an attempt stands.

    promoted: its version went live. rejected: it made a version that did not. refused: it could not be made.
    interrupted is never kept: it is what a running one is called whose heartbeat has stopped.
    """

    RUNNING = "running"
    PROMOTED = "promoted"
    REJECTED = "rejected"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class TrainingCause(StrEnum):
    """What an attempt was for."""

    REQUEST = "request"
    DAILY = "daily"
    DRIFT = "drift"


@dataclass(frozen=True, kw_only=True)
class Note:
    """Who asked for something, and why; both may be empty."""

    actor: str = ""
    comment: str = ""

    def __str__(self) -> str:
        who = f" by {self.actor}" if self.actor else ""
        return f"{who}: {self.comment}" if self.comment else who


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """What a running training hears when it says how far it is; `cancelled`: who asked it to stop, if any."""

    cancelled: Note | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingOrder:
    """What is asked for: a training on the 90 days before `as_of` (None: now)."""

    as_of: datetime | None = None
    cause: TrainingCause = TrainingCause.REQUEST
    note: Note = Note()


@dataclass(frozen=True, kw_only=True)
class Training:
    """An attempt; `version` is None where it made none (yet), `ended_at` while it runs."""

    training_id: UUID
    state: TrainingState
    cause: TrainingCause
    note: Note
    end_day: date
    stage: str
    progress: float
    started_at: datetime
    heartbeat_at: datetime
    ended_at: datetime | None
    cancel_requested_at: datetime | None
    version: int | None
    reason: str
    message: str

    def state_at(self, now: datetime) -> TrainingState:
        """Return the state, `interrupted` for a running one without a heartbeat."""
        if self.state is TrainingState.RUNNING and now - self.heartbeat_at > LOST_AFTER:
            return TrainingState.INTERRUPTED
        return self.state


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What came of an attempt."""

    state: TrainingState
    version: int | None = None
    reason: str = ""
    message: str = ""
