"""The log of refused connections: one line a minute, however many there are."""

from __future__ import annotations

import logging
import threading
import time

logger = logging.getLogger(__name__)

_SECONDS = 60.0


class RefusalLog:
    """Counts refused connections, and logs the first one at once, then at most one line a minute.

    Args:
        name: what is refused, such as "connections of strangers".
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._count = 0
        self._hosts: set[str] = set()
        self._last = ""
        self._due = 0.0

    def add(self, host: str, reason: str) -> None:
        """Record a refused connection."""
        with self._lock:
            self._count += 1
            self._hosts.add(host)
            self._last = f"{host}: {reason}"
        self.write()

    def write(self, *, ended: bool = False) -> None:
        """Log what has been refused since the last line, if that was a minute ago or there will be no other one."""
        with self._lock:
            if not self._count or (time.monotonic() < self._due and not ended):
                return
            line = (self._count, self._name, len(self._hosts), self._last)
            self._count, self._due = 0, time.monotonic() + _SECONDS
            self._hosts.clear()
        logger.warning("Refused %d %s from %d addresses in the last minute, the last one from %s", *line)
