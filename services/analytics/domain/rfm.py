"""Users by recency, frequency and money.

Each user with a purchase is scored from 1 to 5 by fifths of the users of the same currency: how recently they
bought, how often, and for how much less refunds (A. M. Hughes, "Strategic Database Marketing", 1994, who cuts
into quintiles). Ties are not torn apart: of recency they have the higher score, of frequency and money the
lower.

Frequency and money go together so much that their mean says what either does, and recency tells most about
the future (P. S. Fader, B. G. S. Hardie, K. L. Lee, "RFM and CLV: Using iso-value curves for customer base
analysis", JMR 42, 2005); so the segments are the cells of a grid of the recency score over the value score,
the mean of the scores of frequency and money rounded half up. The names are those in common use.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.common.errors import FieldViolation, InvalidArgumentError

SCORES = (1, 2, 3, 4, 5)
GRID: Mapping[int, tuple[str, str, str, str, str]] = {
    5: ("new", "potential_loyalists", "potential_loyalists", "champions", "champions"),
    4: ("promising", "potential_loyalists", "potential_loyalists", "loyal", "loyal"),
    3: ("about_to_sleep", "about_to_sleep", "need_attention", "loyal", "loyal"),
    2: ("hibernating", "hibernating", "at_risk", "at_risk", "cannot_lose"),
    1: ("lost", "hibernating", "at_risk", "at_risk", "cannot_lose"),
}
"""The segments by recency score; in a row by value score from 1."""
DEFINITIONS: Mapping[str, str] = {
    "champions": "bought just now, and often or for much",
    "loyal": "buy often or for much, and did not long ago",
    "potential_loyalists": "bought lately, with middling frequency and money",
    "new": "bought just now, seldom and for little so far",
    "promising": "bought lately, seldom and for little so far",
    "need_attention": "middling in everything, and drifting off",
    "about_to_sleep": "not lately, seldom and for little",
    "at_risk": "bought with middling to high frequency and money, and long ago",
    "cannot_lose": "among the best by frequency and money, and long ago",
    "hibernating": "long ago, seldom and for little",
    "lost": "longest ago, and seldom and for little",
}
"""Every segment, and what it is for a person."""


@dataclass(frozen=True, kw_only=True)
class SegmentTotals:
    """Sums over the users of one segment in one currency; `recency_days` is a sum too."""

    currency_code: str
    segment_name: str
    users: int
    recency_days: int
    frequency: int
    monetary_micros: int


@dataclass(frozen=True, kw_only=True)
class RfmSegment:
    """A segment's size and means; money in micros, None where undefined."""

    segment_name: str
    users: int
    user_share: float | None
    monetary_micros: int
    revenue_share: float | None
    mean_recency_days: float | None
    mean_frequency: float | None
    mean_monetary_micros: float | None
    definition: str


@dataclass(frozen=True, kw_only=True)
class RfmSegments:
    """Every segment of one currency; empty, and `as_of` None, before the first run of the job."""

    segments: Sequence[RfmSegment]
    currency_code: str
    as_of: datetime | None


def list_cells() -> tuple[Sequence[int], Sequence[int], Sequence[str]]:
    """Return the grid in columns: recency scores, value scores, segments."""
    cells = [(recency, value, GRID[recency][value - 1]) for recency in SCORES for value in SCORES]
    return [cell[0] for cell in cells], [cell[1] for cell in cells], [cell[2] for cell in cells]


def describe_segment(name: str) -> str:
    """Return what puts a user into a segment: its words and its cells."""
    cells = [
        f"{recency}{value}" for recency in SCORES for value in SCORES if GRID[recency][value - 1] == name
    ]
    return f"{DEFINITIONS[name]} (recency and value scores {', '.join(cells)})"


def choose_currency(totals: Sequence[SegmentTotals], asked: str) -> str:
    """Return the currency asked for, or the only one; empty where users spent nothing.

    Raises:
        InvalidArgumentError: CURRENCY_REQUIRED, where users spent in several and none is named.
    """
    known = sorted({total.currency_code for total in totals})
    if asked or len(known) <= 1:
        return asked or "".join(known)
    description = f"is required, because users spent in several currencies: {', '.join(known)}"
    raise InvalidArgumentError(
        f"currency_code {description}",
        reason="CURRENCY_REQUIRED",
        violations=(
            FieldViolation(field="currency_code", description=description, reason="CURRENCY_REQUIRED"),
        ),
    )


def summarize_segments(totals: Sequence[SegmentTotals], currency_code: str) -> Sequence[RfmSegment]:
    """Return every segment of a currency by money, the highest first, then by name."""
    of_name = {total.segment_name: total for total in totals if total.currency_code == currency_code}
    users = sum(total.users for total in of_name.values())
    money = sum(total.monetary_micros for total in of_name.values())
    segments = [_summarize(name, of_name.get(name), all_users=users, all_money=money) for name in DEFINITIONS]
    return sorted(segments, key=lambda segment: (-segment.monetary_micros, segment.segment_name))


def _summarize(name: str, totals: SegmentTotals | None, *, all_users: int, all_money: int) -> RfmSegment:
    users = totals.users if totals else 0
    money = totals.monetary_micros if totals else 0
    return RfmSegment(
        segment_name=name,
        users=users,
        user_share=users / all_users if all_users else None,
        monetary_micros=money,
        revenue_share=money / all_money if all_money > 0 else None,
        mean_recency_days=totals.recency_days / users if totals and users else None,
        mean_frequency=totals.frequency / users if totals and users else None,
        mean_monetary_micros=money / users if users else None,
        definition=describe_segment(name),
    )
