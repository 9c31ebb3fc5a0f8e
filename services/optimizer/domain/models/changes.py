"""The history of which version was live: what was changed when, by whom, why, and whether by itself."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from services.optimizer.domain.models.trainings import Note, TrainingCause


class ChangeKind(StrEnum):
    """How a version went live.

    promotion: a training's own. rollback: an earlier version took its place. return: a later one did, again.
    """

    PROMOTION = "promotion"
    ROLLBACK = "rollback"
    RETURN = "return"


@dataclass(frozen=True, kw_only=True)
class Going:
    """Why a version is to go live; `training_id` is the training that made it, None where nobody trained."""

    kind: ChangeKind
    cause: TrainingCause
    note: Note
    reason: str
    training_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class ModelChange:
    """One exchange of the live version.

    Args:
        number: from 1, without gaps.
        kind: how the version went live.
        cause: what asked for it; None where that was not kept.
        note: who, and why in their words; empty where nobody said, or it was not kept.
        reason: why, in the service's words.
        previous: the version that was live until then; None where none was, or where it was not kept.
        version: the version that went live.
        changed_at: when.
        ended_at: when the next change came; None while the version is live.
        training_id: the training behind a promotion; None for others, and where that was not kept.
        is_reconstructed: it was before changes were kept, and is what was left to be known of it.
    """

    number: int
    kind: ChangeKind
    cause: TrainingCause | None
    note: Note
    reason: str
    previous: int | None
    version: int
    changed_at: datetime
    ended_at: datetime | None
    training_id: UUID | None
    is_reconstructed: bool

    @property
    def is_automatic(self) -> bool | None:
        """Whether a job did it rather than somebody's request; None where that was not kept."""
        return None if self.cause is None else self.cause is not TrainingCause.REQUEST
