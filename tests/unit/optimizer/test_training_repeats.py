"""The same rows and the same settings make the same model."""

from services.optimizer.domain.models.serving_parameters import to_document
from services.optimizer.domain.training_window import window_before
from services.optimizer.training.pipeline import TrainedModel, train
from tests.unit.optimizer.synthetic import END_DAY, build_world

TABLE = build_world(campaigns=15, days=40).table


def train_once() -> TrainedModel:
    return train(TABLE, window_before(END_DAY), live=None, on_progress=lambda _stage, _share: None)


def test_a_training_repeats_itself_to_the_last_digit() -> None:
    first, again = train_once(), train_once()
    assert again.model == first.model
    assert again.scores == first.scores
    assert to_document(again.parameters) == to_document(first.parameters)
    assert again.importances == first.importances
    assert (again.parity_error, again.verdict) == (first.parity_error, first.verdict)
