"""Which verdict stands beside what is live, and beside a version that is the same."""

from datetime import UTC, date, datetime

import pytest

from services.optimizer.domain.models.promotion import ServedData, Verdict, settle
from services.optimizer.domain.models.registry import ModelSummary
from services.optimizer.domain.models.version import ModelStatus
from tests.unit.optimizer.examples import MODEL

WINS = Verdict(promoted=True, reason="beats the baseline and version 3")
LOSES = Verdict(promoted=False, reason="it does not beat live version 3")
LIVE = ServedData(version=3, end_day=date(2026, 11, 21))
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def same(status: ModelStatus, *, is_rolled_back: bool = False) -> ModelSummary:
    return ModelSummary(
        version=1,
        status=status,
        status_reason="",
        status_changed_at=NOW,
        code_version="abc",
        trained_at=NOW,
        training_seconds=1.0,
        data=MODEL.data,
        scores=MODEL.scores,
        parity_error=0.0,
        files_removed_at=None,
        is_rolled_back=is_rolled_back,
    )


def test_older_data_replace_no_newer_ones() -> None:
    day_before = date(2026, 11, 20)
    verdict = settle(WINS, end_day=day_before, live=LIVE, same=None)
    assert not verdict.promoted
    assert verdict.reason == (
        "its data end before 2026-11-20, and those of live version 3 before 2026-11-21: older data replace no"
        " newer; RollbackModel goes back to an earlier version, else train with a later as_of"
    )
    assert settle(WINS, end_day=LIVE.end_day, live=LIVE, same=None) == WINS
    assert settle(WINS, end_day=day_before, live=None, same=None) == WINS
    assert settle(LOSES, end_day=LIVE.end_day, live=LIVE, same=None) == LOSES


@pytest.mark.parametrize("is_rolled_back", [False, True])
def test_a_version_that_was_only_replaced_may_win_again(is_rolled_back: bool) -> None:
    again = same(ModelStatus.RETIRED, is_rolled_back=is_rolled_back)
    verdict = settle(WINS, end_day=LIVE.end_day, live=LIVE, same=again)
    assert verdict.promoted is not is_rolled_back
    assert "it is the same as version 1" in verdict.reason
    assert ("RollbackModel puts that one live again" in verdict.reason) is is_rolled_back
    assert not settle(LOSES, end_day=LIVE.end_day, live=LIVE, same=again).promoted


def test_the_live_version_is_not_exchanged_for_itself() -> None:
    verdict = settle(WINS, end_day=LIVE.end_day, live=LIVE, same=same(ModelStatus.LIVE))
    assert verdict == Verdict(promoted=False, reason="it is the same as version 1, which is live")
