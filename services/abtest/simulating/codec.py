"""Designs and summaries of simulations as JSON, between two processes of the same version."""

from typing import Any

from pydantic import TypeAdapter

from services.abtest.domain.simulation import SimulationDesign
from services.abtest.domain.simulation_summary import SimulationSummary

_DESIGN = TypeAdapter(SimulationDesign)
_SUMMARY = TypeAdapter(SimulationSummary)


def design_to_json(design: SimulationDesign) -> bytes:
    """Return a design as one line."""
    return _DESIGN.dump_json(design)


def design_from_json(text: str | bytes) -> SimulationDesign:
    """Return the design that `design_to_json` wrote."""
    return _DESIGN.validate_json(text)


def summary_to_json(summary: SimulationSummary) -> dict[str, Any]:
    """Return a summary in parts that JSON holds."""
    parts: dict[str, Any] = _SUMMARY.dump_python(summary, mode="json")
    return parts


def summary_from_json(parts: object) -> SimulationSummary:
    """Return the summary that `summary_to_json` took apart."""
    return _SUMMARY.validate_python(parts)
