"""What changes earned and promised, as documents."""

import json
from dataclasses import asdict
from typing import Any

from services.optimizer.domain.offers.answer import Interval
from services.optimizer.domain.recommendations.outcomes import Outcome
from services.optimizer.domain.recommendations.promises import Comparison, Promise
from services.optimizer.domain.recommendations.worth import (
    BeforeAfter,
    Clustering,
    Figure,
    Worth,
    told,
)

Document = dict[str, Any]


def outcome_to_documents(outcome: Outcome) -> tuple[str | None, ...]:
    """Return what was earned, the same beside the previous offer of these days, and the promise."""
    return tuple(
        None if part is None else json.dumps(asdict(part), allow_nan=False)
        for part in (outcome.worth, outcome.concurrent, outcome.promise)
    )


def worth_from_document(text: str | None) -> Worth | None:
    """Return what was earned, as it was kept."""
    if text is None:
        return None
    document: Document = json.loads(text)
    return Worth(
        **{
            **document,
            "clustering": Clustering(document["clustering"]),
            "profit": _before_after(document["profit"]),
            "revenue": _before_after(document["revenue"]),
        }
    )


def promise_from_document(text: str | None) -> Promise | None:
    """Return a promise, as it was kept."""
    if text is None:
        return None
    document: Document = json.loads(text)
    return Promise(
        metric=document["metric"],
        expected=_figure(document["expected"]),
        observed=None if document["observed"] is None else told(_figure(document["observed"])),
        comparison=Comparison(document["comparison"]),
    )


def _before_after(document: Document | None) -> BeforeAfter | None:
    if document is None:
        return None
    figures = {name: None if part is None else _figure(part) for name, part in document.items()}
    changes = {name: told(figures[name]) for name in ("change", "effect")}  # once kept without intervals too
    return BeforeAfter(**{**figures, **changes})


def _figure(document: Document) -> Figure:
    interval = document["interval"]
    return Figure(value=document["value"], interval=None if interval is None else Interval(**interval))
