"""Tells every replica what changed: beside the transactions, throttled, over one connection per replica.

Whoever commits marks what changed, in memory. A task sends the marks as one NOTIFY, at most five times a
second, on the connection that also listens for everybody's. So a commit never waits for PostgreSQL's lock on
notifications, and a lost process loses at most the marks of its last moments; who watches looks again every
few seconds anyway.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress

from services.common.database import Database, Listening
from services.common.errors import DomainError
from services.common.telemetry import get_logger

CHANNEL = "analytics_changes"
PORTFOLIO = "portfolio"
ALERTS = "alerts"
EVERYTHING = "*"
SEND_SECONDS = 0.2
CHECK_SECONDS = 5.0
RECONNECT_SECONDS = 0.5
MAXIMUM_TOPICS = 1000
MAXIMUM_PAYLOAD_BYTES = 7900
_log = get_logger("changes")


def campaign_topic(campaign_id: str) -> str:
    """Return the topic of a campaign."""
    return f"campaign:{campaign_id}"


def encode_topics(topics: Iterable[str]) -> str:
    """Return topics as a payload; `EVERYTHING` where they are too many for one."""
    payload = json.dumps(sorted(topics), separators=(",", ":"))
    return payload if len(payload) <= MAXIMUM_PAYLOAD_BYTES else json.dumps([EVERYTHING])


def decode_topics(payload: str) -> frozenset[str]:
    """Return the topics of a payload; one that is not ours stands for everything."""
    try:
        topics = json.loads(payload)
    except ValueError:
        topics = None
    if not isinstance(topics, list) or not all(isinstance(topic, str) for topic in topics):
        return frozenset({EVERYTHING})
    return frozenset(topics)


class Changes:
    """What changed and was not told yet.

    Args:
        database: over which it is told.
        hear: called with the topics that any replica changed, this one included, and with `EVERYTHING` when
            something may have been missed.
    """

    def __init__(self, database: Database, hear: Callable[[frozenset[str]], None]) -> None:
        self._database = database
        self._hear = hear
        self._marked: set[str] = set()
        self._woken = asyncio.Event()

    def mark_campaigns(self, campaign_ids: Iterable[str]) -> None:
        """Tell that campaigns changed, and with them the portfolio; called after the commit."""
        self._mark({campaign_topic(campaign_id) for campaign_id in campaign_ids} | {PORTFOLIO})

    def mark_alerts(self) -> None:
        """Tell that alerts opened or closed; called after the commit."""
        self._mark({ALERTS})

    def mark_everything(self) -> None:
        """Tell that anything may have changed; called after the commit."""
        self._mark({EVERYTHING})

    def _mark(self, topics: set[str]) -> None:
        self._marked |= topics
        if EVERYTHING in self._marked or len(self._marked) > MAXIMUM_TOPICS:
            self._marked = {EVERYTHING}
        self._woken.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send and hear until the end of the block; what is marked then is still sent."""
        task = asyncio.create_task(self._keep_connected())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await self.flush()

    async def flush(self) -> None:
        """Send what is marked, if the database answers."""
        if self._marked:
            with suppress(DomainError):
                async with self._database.listen(CHANNEL, lambda _payload: None) as listening:
                    await self._send(listening)

    async def _keep_connected(self) -> None:
        told = False
        while True:
            try:
                async with self._database.listen(CHANNEL, self._hear_payload) as listening:
                    if told:
                        _log.info("hears of changes again")
                    told = False
                    self._hear(frozenset({EVERYTHING}))  # what was sent meanwhile is lost
                    await self._keep_sending(listening)
            except DomainError as error:
                if not told:
                    _log.warning("does not hear of changes", reason=error.reason, error=error.message)
                told = True
            except Exception as error:  # noqa: BLE001 (watchers that nobody tells would stand still)
                _log.error("does not hear of changes, by a defect", exc_info=error)
            await asyncio.sleep(RECONNECT_SECONDS)

    def _hear_payload(self, payload: str) -> None:
        self._hear(decode_topics(payload))

    async def _keep_sending(self, listening: Listening) -> None:
        """Send marks, and check the connection while there are none; return when it is lost."""
        lost = asyncio.create_task(listening.lost.wait())
        try:
            while not lost.done():
                woken = asyncio.create_task(self._woken.wait())
                await asyncio.wait({lost, woken}, timeout=CHECK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
                if lost.done():
                    return
                await self._send(listening)
                await asyncio.sleep(SEND_SECONDS)
        finally:
            lost.cancel()

    async def _send(self, listening: Listening) -> None:
        marked, self._marked = self._marked, set()
        self._woken.clear()
        if not marked:
            await listening.check()
            return
        try:
            await listening.send(encode_topics(marked))
        except BaseException:
            self._mark(marked)
            raise
