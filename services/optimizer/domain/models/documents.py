"""The JSON forms, in ml_models and model_drift, of calibrations, of drift and of what it is measured against.

A document that is null belongs to a version that was trained before it was measured.
"""

from dataclasses import asdict
from datetime import date, datetime
from typing import Any

from services.optimizer.domain.models.drift import Drift, DriftVerdict, Errors, Reference
from services.optimizer.domain.models.population import Histogram, Move, Population, Stability
from services.optimizer.domain.response.calibration import Calibration, Estimate, ReliabilityBin

Document = dict[str, Any]


def calibration_to_document(calibration: Calibration) -> Document:
    """Return a calibration as JSON values."""
    return asdict(calibration)


def calibration_from_document(document: Document) -> Calibration:
    """Return the calibration that `calibration_to_document` wrote."""
    return Calibration(
        slope=_estimate(document["slope"]),
        intercept=_estimate(document["intercept"]),
        expected_error=document["expected_error"],
        error_by_chance=document["error_by_chance"],
        bins=tuple(
            ReliabilityBin(
                views=each["views"],
                predicted_rate=each["predicted_rate"],
                observed_rate=Estimate(**each["observed_rate"]),
            )
            for each in document["bins"]
        ),
    )


def reference_to_document(reference: Reference) -> Document:
    """Return a reference as JSON values; object keys are strings."""
    return {
        "population": asdict(reference.population),
        "errors": asdict(reference.errors),
        "type_rates": {str(kind): rate for kind, rate in reference.type_rates.items()},
        "overall_rate": reference.overall_rate,
    }


def reference_from_document(document: Document) -> Reference:
    """Return the reference that `reference_to_document` wrote."""
    population = document["population"]
    return Reference(
        population=Population(
            campaigns=population["campaigns"],
            histograms={
                name: Histogram(edges=tuple(histogram["edges"]), shares=tuple(histogram["shares"]))
                for name, histogram in population["histograms"].items()
            },
        ),
        errors=Errors(**document["errors"]),
        type_rates={int(kind): float(rate) for kind, rate in document["type_rates"].items()},
        overall_rate=document["overall_rate"],
    )


def drift_to_document(drift: Drift) -> Document:
    """Return drift as JSON values."""
    return {
        **asdict(drift),
        "measured_at": drift.measured_at.isoformat(),
        "first_day": drift.first_day.isoformat(),
        "end_day": drift.end_day.isoformat(),
    }


def drift_from_document(document: Document) -> Drift:
    """Return the drift that `drift_to_document` wrote."""
    return Drift(
        **{
            **document,
            "measured_at": datetime.fromisoformat(document["measured_at"]),
            "first_day": date.fromisoformat(document["first_day"]),
            "end_day": date.fromisoformat(document["end_day"]),
            "verdict": DriftVerdict(document["verdict"]),
            "reasons": tuple(document["reasons"]),
            "stability": tuple(
                Stability(**{**each, "move": Move(each["move"])}) for each in document["stability"]
            ),
            "error_growth": _estimate(document["error_growth"]),
        }
    )


def _estimate(document: Document | None) -> Estimate | None:
    return None if document is None else Estimate(**document)
