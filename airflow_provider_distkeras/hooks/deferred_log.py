"""A log for signal handlers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

#: Seconds that `flush` waits for the lines to be written.
_FLUSH_S = 0.5


class DeferredLog:
    """Collects lines until `flush`, for a signal handler.

    A signal may interrupt the writing of a line. The lock of that line is released only after the handler has returned, so a
    handler that logs may wait for ever.

    Args:
        log: The task's logger.
    """

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._lines: list[tuple[str, str, tuple[Any, ...]]] = []

    def info(self, message: str, *values: Any) -> None:
        """Collect a line of level INFO."""
        self._lines.append(("info", message, values))

    def warning(self, message: str, *values: Any) -> None:
        """Collect a line of level WARNING."""
        self._lines.append(("warning", message, values))

    def error(self, message: str, *values: Any) -> None:
        """Collect a line of level ERROR."""
        self._lines.append(("error", message, values))

    def flush(self) -> None:
        """Write the lines: at once if no line was interrupted, else as soon as the handler has returned."""
        writer = threading.Thread(target=self._write, name="deferred-log", daemon=True)
        writer.start()
        writer.join(_FLUSH_S)

    def _write(self) -> None:
        for level, message, values in self._lines:
            getattr(self._log, level)(message, *values)
