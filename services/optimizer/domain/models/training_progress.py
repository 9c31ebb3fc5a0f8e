"""What is heard of a training while it runs."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """The stage under way, such as `fit_forest`, and the share (0 to 1) of the training that is done."""

    stage: str
    fraction: float


OnProgress = Callable[[TrainingProgress], None]
