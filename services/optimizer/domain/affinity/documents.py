"""The part of an affinity model that is kept as a document, to JSON and back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from services.optimizer.domain.affinity.model import AffinityModel, Band, LogisticTerms
from services.optimizer.domain.affinity.response import AffinityResponse


@dataclass(frozen=True, kw_only=True)
class AffinityParameters:
    """The fitted terms, what their scores are worth, and how they move conversions."""

    returning: LogisticTerms
    first: LogisticTerms
    bands: tuple[Band, ...]
    redemptions_are_visits: bool
    response: AffinityResponse


def to_document(model: AffinityModel) -> dict[str, Any]:
    """Return the document of a model."""
    return {
        "returning": asdict(model.returning),
        "first": asdict(model.first),
        "bands": [asdict(band) for band in model.bands],
        "redemptions_are_visits": model.redemptions_are_visits,
        "response": asdict(model.response),
    }


def from_document(document: Mapping[str, Any]) -> AffinityParameters:
    """Return what a document says, written now or before responses were kept."""
    return AffinityParameters(
        returning=_terms(document["returning"]),
        first=_terms(document["first"]),
        bands=tuple(Band(**band) for band in document["bands"]),
        redemptions_are_visits=document["redemptions_are_visits"],
        response=AffinityResponse(**document.get("response", {})),
    )


def _terms(document: Mapping[str, Any]) -> LogisticTerms:
    return LogisticTerms(
        intercept=document["intercept"],
        **{
            name: tuple(document[name])
            for name in ("names", "means", "scales", "coefficients", "knots", "calibrated")
        },
    )
