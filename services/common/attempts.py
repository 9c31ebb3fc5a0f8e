"""Work on many, by batches: one whose history meets a defect, or takes too long, holds up nobody else."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from structlog.typing import FilteringBoundLogger

from services.common.errors import DeadlineExceededError, DomainError, InternalError

MOST_BROKEN: Final = 100
"""Those that meet a defect before a run is given up: it may be everybody's."""


@dataclass(kw_only=True)
class Attempts:
    """What came of trying batches, and single ones of those that failed.

    A batch that fails counts for nothing: whoever tries is to part it, down to single ones, and to leave a
    single one that fails for later.

    `log` hears, as `failure` with the one's name, of each that meets a defect by itself.
    """

    log: FilteringBoundLogger
    failure: str
    done: int = 0
    slow: int = 0
    broken: int = 0

    @property
    def are_given_up(self) -> bool:
        """Whether so many met a defect that it may be everybody's."""
        return self.broken >= MOST_BROKEN

    async def succeeds(self, work: Callable[[], Awaitable[None]], names: Sequence[str]) -> bool:
        """Do the work of `names`, and return whether it was done.

        Raises:
            DomainError: what has nothing to do with whose work it is, such as a lost database.
        """
        try:
            await work()
        except DeadlineExceededError:
            self.slow += len(names) == 1
        except DomainError:
            raise
        except Exception as error:  # whatever one meets, the others go on
            if len(names) == 1:
                self.log.error(self.failure, name=names[0], exc_info=error)
                self.broken += 1
        else:
            self.done += len(names)
            return True
        return False

    def report(self, said: str) -> str:
        """Return what was done with who was left for being slow.

        Raises:
            InternalError: a defect was met; it says all this too.
        """
        if self.slow:
            said += f", {self.slow} left for a day: their events take too long to count"
        if self.broken:
            said += f"; {self.broken} left for a day by a defect: see the log"
            raise InternalError(said, reason="INTERNAL")
        return said
