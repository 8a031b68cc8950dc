"""Logging from a signal handler."""

import threading
from types import SimpleNamespace

from airflow_provider_distkeras.hooks.deferred_log import DeferredLog


def test_lines_wait_for_a_line_that_the_signal_has_interrupted():
    """The lock of a line being written is released only after the signal handler has returned."""
    writing, lines, done = threading.Lock(), [], threading.Event()

    def write(message, *values):
        with writing:
            lines.append(message % values)
        if len(lines) == 2:
            done.set()

    log = DeferredLog(SimpleNamespace(info=write, error=write))
    with writing:
        log.info("asked %s", "it")
        log.error("it may still run")
        log.flush()
        assert lines == []
    assert done.wait(10)
    assert lines == ["asked it", "it may still run"]


def test_lines_are_written_at_once_otherwise():
    lines = []
    log = DeferredLog(SimpleNamespace(warning=lambda message, *values: lines.append(message % values)))
    log.warning("%d s", 5)
    log.flush()
    assert lines == ["5 s"]
