"""What a recommended offer rests on: offers as managers sent them, or offers drawn at random."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.optimizer.domain.models.serving_parameters import ServingParameters
from services.optimizer.domain.response.doubly_robust import FalseSlope
from services.optimizer.domain.response.offer_cells import DrawnOffers

MOSTLY: Final = 0.9
"""Share of a type's views, with offers drawn at random, from which its evidence is called randomised."""
_SEGMENTS_WORTH_SAYING: Final = 2


class EvidenceKind(StrEnum):
    """Where the effect of the offer was learned.

    observational: offers as they were sent, adjusted for campaigns, days and segments. mixed: those,
    corrected by offers drawn at random. randomised: nearly all offers of the type were drawn at random.
    """

    OBSERVATIONAL = "observational"
    MIXED = "mixed"
    RANDOMISED = "randomised"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the effect of the offer was learned from.

    `of_type` counts the campaign type's views and those with offers drawn at random; `false_slope` is what
    drawn offers of all types showed the others to be bent by, None where they were too few; `correction` is
    how much of it the curve was corrected by, and `correction_error` what is left uncertain (both of the
    logit, per currency unit). `is_segmented` tells whether audiences are told apart.
    """

    kind: EvidenceKind
    of_type: DrawnOffers
    false_slope: FalseSlope | None
    correction: float
    correction_error: float
    is_segmented: bool

    @property
    def caveat(self) -> str:
        """What the reader should know of it."""
        if self.kind is EvidenceKind.RANDOMISED:
            return "The effect of the offer is learned from offers that were drawn at random."
        taken_out = "campaigns, days and the users' segments" if self.is_segmented else "campaigns and days"
        learned = (
            "The effect of the offer is learned from offers that changed within campaigns; these changes were"
            f" not random. What differs between {taken_out} is taken out"
        )
        if self.false_slope is None:
            return f"{learned}; what else went along with them is not. An A/B test of the offer settles it."
        return (
            f"{learned}, and the rest is corrected by what {self.false_slope.campaigns} campaigns of all"
            f" types showed, whose offers were drawn at random ({self.false_slope.views} views)."
            f" {self._own_share}"
        )

    @property
    def _own_share(self) -> str:
        drawn, views = self.of_type.drawn_views, self.of_type.views
        return f"Of this type's own {views} views, {drawn} ({self.of_type.share:.0%}) had such an offer."


def gather_evidence(campaign_type: int, parameters: ServingParameters) -> Evidence:
    """Return what a campaign type's response was learned from."""
    of_type = parameters.drawn_offers.get(campaign_type, DrawnOffers(views=0, drawn_views=0))
    response = parameters.response[campaign_type]
    kind = EvidenceKind.OBSERVATIONAL if parameters.false_slope is None else EvidenceKind.MIXED
    if of_type.share >= MOSTLY:
        kind = EvidenceKind.RANDOMISED
    return Evidence(
        kind=kind,
        of_type=of_type,
        false_slope=parameters.false_slope,
        correction=response.slope,
        correction_error=response.slope_error,
        is_segmented=len(parameters.segment_effects) >= _SEGMENTS_WORTH_SAYING,
    )
