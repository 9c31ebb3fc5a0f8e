"""Back-pressure for answers that read many rows: they share a few turns, whichever rpc asks."""

from typing import Final

from services.common.waiting_room import WaitingRoom

AT_ONCE: Final = 2
"""Each may hold up to 200,000 deliveries in memory."""
WAITING: Final = 40


def build_reading_room() -> WaitingRoom:
    """Return the turns of evaluations of policies, rankings of segments, and recommendations of hours."""
    return WaitingRoom("questions that read many deliveries", at_once=AT_ONCE, waiting=WAITING)
