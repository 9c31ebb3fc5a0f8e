"""Which tests a history shows."""

from dataclasses import dataclass
from datetime import datetime

from services.abtest.domain.model import DecisionMethod, Status
from services.abtest.domain.verdicts import Verdict

NOT_ARCHIVED = tuple(status for status in Status if status is not Status.ARCHIVED)


@dataclass(frozen=True, kw_only=True)
class HistoryFilters:
    """Which tests are listed: those that pass all of these; None passes every test."""

    statuses: tuple[Status, ...] = NOT_ARCHIVED
    campaign_id: str | None = None
    decision_method: DecisionMethod | None = None
    verdict: Verdict | None = None
    created_from: datetime | None = None
    created_until: datetime | None = None
    name_contains: str | None = None
