"""From PostgreSQL's binary COPY format to blocks of whole users' moments.

Every column of `copy_attribution_moments` has a fixed width and is never null, so each row is the same number
of bytes: a count of fields, then per field its length and its value (PostgreSQL, "COPY", Binary Format).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from services.analytics.domain.credits import MonthLedger
from services.analytics.domain.journeys import Moments

_COLUMNS = (
    ("user", "i4"),
    ("group", "i2"),
    ("currency", "i2"),
    ("campaign", "i4"),
    ("is_conversion", "i2"),
    ("day", "i4"),
    ("micros", "i8"),
    ("revenue", "i8"),
)
_ROW = np.dtype(
    [
        ("fields", ">i2"),
        *(part for name, width in _COLUMNS for part in ((f"{name}_length", ">i4"), (name, f">{width}"))),
    ]
)
_HEADER_BYTES = 19
_BLOCK_ROWS = 50_000
"""A user of 30 views a month turns a row into about as many touches of paths, at some hundred bytes each."""


class MomentReader:
    """Takes in what the database sends and gives it to ledgers, by currency, in blocks of whole users.

    Args:
        ledgers: by number of the currency.
        block_rows: how many rows are gathered before they are given on.
    """

    def __init__(self, ledgers: Mapping[int, MonthLedger], *, block_rows: int = _BLOCK_ROWS) -> None:
        self._ledgers = ledgers
        self._block_rows = block_rows
        self._buffer = bytearray()
        self._skip = _HEADER_BYTES

    async def receive(self, data: bytes) -> None:
        """Take in some bytes."""
        self._buffer += data
        if self._skip and len(self._buffer) >= self._skip:
            del self._buffer[: self._skip]
            self._skip = 0
        if not self._skip and len(self._buffer) >= self._block_rows * _ROW.itemsize:
            rows = self._decode()
            # The last user may go on in what comes next.
            whole = int(np.searchsorted(rows["user"], rows["user"][-1]))
            if whole:
                self._give(rows[:whole])
                del self._buffer[: whole * _ROW.itemsize]

    def finish(self) -> None:
        """Give on what is left; to be called after the last bytes."""
        rows = self._decode()
        self._buffer.clear()
        self._give(rows)

    def _decode(self) -> NDArray[np.void]:
        count = len(self._buffer) // _ROW.itemsize
        return np.frombuffer(bytes(self._buffer[: count * _ROW.itemsize]), dtype=_ROW)

    def _give(self, rows: NDArray[np.void]) -> None:
        for number, ledger in self._ledgers.items():
            ledger.add(_to_moments(rows[rows["currency"] == number]))


def _to_moments(rows: NDArray[np.void]) -> Moments:
    return Moments(
        users=rows["user"].astype(np.int64),
        groups=rows["group"].astype(np.int64),
        campaigns=rows["campaign"].astype(np.int64),
        is_conversion=rows["is_conversion"].astype(np.bool_),
        days=rows["day"].astype(np.int64),
        micros=rows["micros"].astype(np.int64),
        revenue=rows["revenue"].astype(np.int64),
    )
