"""How late an event may become visible."""

from datetime import timedelta
from typing import Final

LATE_RECEIPT: Final = timedelta(minutes=10)
"""The longest that a transaction which keeps events lasts: they count as received when it began.

Whoever reads what came in, and would not miss what was written meanwhile, begins this much before the last
reading. Both are times of the database's clock.
"""
