"""Few threads of their own for the pages, so that a storage that is slow or hangs holds none of the API server's."""

from __future__ import annotations

import asyncio
import math
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar
from functools import partial
from typing import ParamSpec, TypeVar

from airflow_provider_distkeras.contract.errors import ArtifactError

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: Pages that are made at the same time, in each process of the API server.
MAX_THREADS = 8
#: Seconds after which a page reads no other file, but shows what it has.
READING_S = 10.0
#: Seconds that a page may take, with the wait for a thread.
PAGE_S = 20.0

_reading_ends_at: ContextVar[float] = ContextVar("reading_ends_at", default=math.inf)


def require_time(path: str) -> None:
    """Raise ArtifactError if the page that runs in this thread may not begin to read another file."""
    if time.monotonic() > _reading_ends_at.get():
        raise ArtifactError(f"{path} is not read: the storage is slow, and a page reads for {READING_S:.0f} s at most.")


class PageThreads:
    """Threads that make pages. A thread whose storage hangs is left to itself; it does not keep the process from ending.

    Args:
        max_threads: the most threads.
        seconds: the longest time until a page is made, with the wait for a thread.
    """

    def __init__(self, max_threads: int = MAX_THREADS, seconds: float = PAGE_S) -> None:
        self._max_threads, self._seconds = max_threads, seconds
        self._waiting: queue.SimpleQueue[tuple[Future[object], Callable[[], object]]] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    async def run(self, page: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what a function returns that makes a page. Raises TimeoutError if that takes too long."""
        future: Future[_T] = Future()
        self._waiting.put((future, partial(page, *args, **kwargs)))  # type: ignore[arg-type]  # a future is not covariant
        if len(self._threads) < self._max_threads:
            self._threads.append(threading.Thread(target=self._work, name="distkeras-page", daemon=True))
            self._threads[-1].start()
        return await asyncio.wait_for(asyncio.wrap_future(future), self._seconds)

    def _work(self) -> None:
        while True:
            self._make(*self._waiting.get())

    @staticmethod
    def _make(future: Future[object], page: Callable[[], object]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        _reading_ends_at.set(time.monotonic() + READING_S)
        try:
            future.set_result(page())
        except BaseException as error:
            future.set_exception(error)
