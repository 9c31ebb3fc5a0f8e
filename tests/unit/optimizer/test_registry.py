"""Which files may go, what the documents in ml_models keep, and how notes read."""

import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from services.optimizer.domain.models.documents import (
    calibration_from_document,
    calibration_to_document,
    drift_from_document,
    drift_to_document,
    reference_from_document,
    reference_to_document,
)
from services.optimizer.domain.models.drift import (
    Drift,
    DriftVerdict,
    Errors,
    Reference,
)
from services.optimizer.domain.models.population import Histogram, Move, Population, Stability
from services.optimizer.domain.models.registry import ModelSummary, choose_removable
from services.optimizer.domain.models.trainings import Note
from services.optimizer.domain.models.version import ModelStatus
from services.optimizer.domain.response.calibration import Estimate, Outcomes, measure_calibration
from tests.unit.optimizer.examples import MODEL

NOW = datetime(2026, 3, 2, tzinfo=UTC)
RETENTION = timedelta(days=30)


def summary(
    version: int, status: ModelStatus, days: float, *, removed: bool = False, is_rolled_back: bool = False
) -> ModelSummary:
    """A version that came into its status so many days ago."""
    return ModelSummary(
        version=version,
        status=status,
        status_reason="",
        status_changed_at=NOW - timedelta(days=days),
        code_version="abc",
        trained_at=NOW - timedelta(days=100),
        training_seconds=1.0,
        data=MODEL.data,
        scores=MODEL.scores,
        parity_error=0.0,
        files_removed_at=NOW if removed else None,
        is_rolled_back=is_rolled_back,
    )


def test_only_what_was_out_of_service_for_long_goes() -> None:
    models = [
        summary(1, ModelStatus.RETIRED, 80, removed=True),
        summary(2, ModelStatus.RETIRED, 70),
        summary(3, ModelStatus.REJECTED, 60),
        summary(4, ModelStatus.RETIRED, 50),
        summary(5, ModelStatus.REJECTED, 29),
        summary(6, ModelStatus.CANDIDATE, 40),
        summary(7, ModelStatus.LIVE, 50),
    ]
    assert choose_removable(models, now=NOW, retention=RETENTION) == [2, 3]
    assert choose_removable([], now=NOW, retention=RETENTION) == []


def test_what_going_back_would_return_to_stays() -> None:
    models = [
        summary(1, ModelStatus.RETIRED, 80),
        summary(2, ModelStatus.RETIRED, 70),
        summary(3, ModelStatus.RETIRED, 60, is_rolled_back=True),
        summary(4, ModelStatus.RETIRED, 50, is_rolled_back=True),
        summary(5, ModelStatus.LIVE, 50),
    ]
    assert choose_removable(models, now=NOW, retention=RETENTION) == [1, 3]
    models[1] = summary(2, ModelStatus.RETIRED, 70, removed=True)
    assert choose_removable(models, now=NOW, retention=RETENTION) == [3]


@pytest.mark.parametrize(
    ("note", "text"),
    [
        (Note(), ""),
        (Note(actor="anna"), " by anna"),
        (Note(comment="wrong day"), ": wrong day"),
        (Note(actor="anna", comment="wrong day"), " by anna: wrong day"),
    ],
)
def test_a_note_reads_as_the_end_of_a_sentence(note: Note, text: str) -> None:
    assert str(note) == text


def test_documents_keep_everything() -> None:
    rng = np.random.default_rng(1)
    rates = rng.uniform(0.1, 0.3, 100)
    calibration = measure_calibration(
        Outcomes(
            observed=rng.binomial(50, rates) / 50,
            predicted=rates,
            views=np.full(100, 50.0),
            campaign=np.arange(100) % 10,
            day=np.arange(100) // 10,
        )
    )
    assert (
        calibration_from_document(json.loads(json.dumps(calibration_to_document(calibration)))) == calibration
    )

    reference = Reference(
        population=Population(
            campaigns=12, histograms={"offer_amount": Histogram(edges=(7.5,), shares=(0.25, 0.75))}
        ),
        errors=Errors(days=18, mean_squared=0.004, excess=0.001, variance=1e-8, degrees_of_freedom=17),
        type_rates={1: 0.2},
        overall_rate=0.15,
    )
    assert reference_from_document(json.loads(json.dumps(reference_to_document(reference)))) == reference

    drift = Drift(
        version=3,
        measured_at=NOW,
        first_day=date(2026, 2, 1),
        end_day=date(2026, 3, 2),
        days=28,
        rows=900,
        verdict=DriftVerdict.DRIFTED,
        reasons=("moved",),
        stability=(Stability(name="merchant", index=0.4, limit=0.1, move=Move.LARGE),),
        training_error=0.004,
        live_error=0.005,
        baseline_error=0.009,
        error_growth=Estimate(point=0.2, lower=-0.1, upper=0.5),
        growth_p_value=0.08,
    )
    assert drift_from_document(json.loads(json.dumps(drift_to_document(drift)))) == drift
