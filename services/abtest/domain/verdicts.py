"""What a verdict consists of."""

from dataclasses import dataclass
from enum import IntEnum

from services.abtest.domain.looks import Look
from services.abtest.domain.proportions import Interval


class Verdict(IntEnum):
    """What to do with the test; the numbers are the stored ones."""

    SHIP = 1
    STOP = 2
    CONTINUE = 3
    INVALID = 4


class PrimaryState(IntEnum):
    """What is proven of a variant by the primary metric."""

    BETTER = 1
    WORSE = 2
    UNKNOWN = 3


class GuardrailState(IntEnum):
    """What is proven of a variant by a guardrail.

    With a margin, `SAFE` is proven to lose less than it and `BREACHED` to lose more. Without one, `BREACHED`
    is proven to lose anything, and `SAFE` to gain.
    """

    SAFE = 1
    BREACHED = 2
    UNKNOWN = 3


@dataclass(frozen=True, kw_only=True)
class GuardrailDecision:
    """What a guardrail says of a variant; the interval holds at every look of the method."""

    metric: str
    state: GuardrailState
    margin: float | None
    lift_interval: Interval | None

    @property
    def objects(self) -> bool:
        """Whether the variant may not ship: breached, or not proven to keep within the margin there is."""
        if self.margin is None:
            return self.state is GuardrailState.BREACHED
        return self.state is not GuardrailState.SAFE


@dataclass(frozen=True, kw_only=True)
class VariantDecision:
    """What the decision method says of one variant.

    `lift_interval` holds at every look of the method, at the design's confidence level for this variant
    alone. `p_value` is the method's own, and `adjusted_p_value` by Holm over the variants; a group-sequential
    test has neither. `finding` tells a person what the method saw.
    """

    group: str
    finding: str
    state: PrimaryState
    relative_lift: float | None
    lift_interval: Interval | None
    p_value: float | None
    adjusted_p_value: float | None
    guardrails: tuple[GuardrailDecision, ...]

    @property
    def is_shippable(self) -> bool:
        """Whether it is proven better, and no guardrail objects."""
        return self.state is PrimaryState.BETTER and not any(each.objects for each in self.guardrails)

    @property
    def is_out(self) -> bool:
        """Whether it can no longer ship: proven worse, or a guardrail is breached."""
        breached = any(each.state is GuardrailState.BREACHED for each in self.guardrails)
        return breached or self.state is PrimaryState.WORSE


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A verdict with its reasons; `winner` is the winning group's name, None where none may be named.

    `look` is one that was taken for this verdict and has to be kept with it; None where none was due.
    `look_number` and `look_progress` are those of the last look by now, on which the verdict rests; None
    where there was none, or the method plans none.
    """

    verdict: Verdict
    winner: str | None
    recommendation: str
    reasons: tuple[str, ...]
    variants: tuple[VariantDecision, ...] = ()
    look: Look | None = None
    look_number: int | None = None
    look_progress: float | None = None
