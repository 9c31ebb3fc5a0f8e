"""Where two tests get in each other's way: time and users that they share."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from scipy import special

from services.abtest.domain.proportions import SMALLEST_P_VALUE

DEPENDENT_BELOW = 0.001
"""Groups of two tests that go together by a p-value under this are worth a warning."""
_SMALL_EXPECTED_COUNT = 5.0

SharedUsers = Mapping[tuple[int, int], int]
"""Users in two tests by their groups' indexes in both; pairs without users are left out."""


@dataclass(frozen=True, kw_only=True)
class TestSpan:
    """When a test enrolled (`start` None: not yet), what it shows, and how many users each group has."""

    __test__ = False  # no test case, whatever its name says to pytest

    test_id: str
    campaign_ids: tuple[str, ...]
    start: datetime | None
    end: datetime | None
    users: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Independence:
    """Whether shared users' groups in one test say something about those in the other."""

    p_value: float
    association: float


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Two tests that ran at the same time or share users; `first` started first.

    `start` and `end` bound the time in which both ran: both None where they never did, `end` alone while both
    still do. Shares are of each test's users, None without any. `independence` is None where some expected
    count is under 5.
    """

    first: TestSpan
    second: TestSpan
    shared_campaign_ids: tuple[str, ...]
    start: datetime | None
    end: datetime | None
    cells: SharedUsers
    share_of_first: float | None
    share_of_second: float | None
    independence: Independence | None
    warnings: tuple[str, ...]

    @property
    def shared_users(self) -> int:
        """Users assigned in both."""
        return sum(self.cells.values())


def find_overlap(first: TestSpan, second: TestSpan, cells: SharedUsers) -> Overlap | None:
    """Return what two tests share; None where they share neither time nor users."""
    shared = sum(cells.values())
    start, end = _common_time(first, second)
    if start is None and not shared:
        return None
    independence = check_independence(cells, len(first.users), len(second.users))
    return Overlap(
        first=first,
        second=second,
        shared_campaign_ids=tuple(sorted(set(first.campaign_ids) & set(second.campaign_ids))),
        start=start,
        end=end,
        cells=cells,
        share_of_first=_share(shared, first),
        share_of_second=_share(shared, second),
        independence=independence,
        warnings=tuple(_warn(shared, first, second, independence)),
    )


def check_independence(cells: SharedUsers, rows: int, columns: int) -> Independence | None:
    """Return Pearson's chi-squared test of independence and Cramér's V; None where counts are too small.

    Source: K. Pearson (1900); W. G. Cochran (1954), Biometrics 10, 417-451 (expected counts of 5);
    H. Cramér (1946), Mathematical Methods of Statistics, section 21.9.
    """
    table = np.zeros((rows, columns))
    for (row, column), users in cells.items():
        table[row, column] = users
    total = table.sum()
    if total == 0.0:
        return None
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / total
    if expected.min() < _SMALL_EXPECTED_COUNT:
        return None
    statistic = float(((table - expected) ** 2 / expected).sum())
    degrees = (rows - 1) * (columns - 1)
    return Independence(
        p_value=max(SMALLEST_P_VALUE, float(special.chdtrc(degrees, statistic))),
        association=min(1.0, math.sqrt(statistic / (float(total) * (min(rows, columns) - 1)))),
    )


def _common_time(first: TestSpan, second: TestSpan) -> tuple[datetime | None, datetime | None]:
    if first.start is None or second.start is None:
        return None, None
    start = max(first.start, second.start)
    ends = [span.end for span in (first, second) if span.end is not None]
    end = min(ends, default=None)
    return (None, None) if end is not None and end <= start else (start, end)


def _share(shared: int, span: TestSpan) -> float | None:
    total = sum(span.users)
    return shared / total if total else None


def _warn(shared: int, first: TestSpan, second: TestSpan, independence: Independence | None) -> Iterator[str]:
    if independence is not None and independence.p_value < DEPENDENT_BELOW:
        yield (
            "users' groups in both tests go together, so that each test's effect is mixed into the other's: "
            "were both given the same hash_seed?"
        )
    elif shared:
        yield (
            f"{shared} users are in both tests: where what one test shows changes what the other one does, "
            "each verdict holds for users in this mix only; an exclusion group keeps tests apart"
        )
    if set(first.campaign_ids) & set(second.campaign_ids) and shared:
        yield "both tests show a same campaign: one conversion may count in both"
