"""What is told while a task is asked to end."""

import threading
from types import SimpleNamespace

from airflow_provider_distkeras.hooks.termination import LaterLog


def test_what_is_to_be_told_waits_for_a_line_that_the_signal_has_cut_in_two():
    """The lock of a line that is being written is given back after the handler of the signal only."""
    writing, told, done = threading.Lock(), [], threading.Event()

    def write(message, *values):
        with writing:
            told.append(message % values)
        if len(told) == 2:
            done.set()

    log = LaterLog(SimpleNamespace(info=write, error=write))
    with writing:
        log.info("asked %s", "it")
        log.error("it may still run")
        log.tell()
        assert told == []
    assert done.wait(10)
    assert told == ["asked it", "it may still run"]


def test_otherwise_it_is_told_at_once():
    told = []
    log = LaterLog(SimpleNamespace(warning=lambda message, *values: told.append(message % values)))
    log.warning("%d s", 5)
    log.tell()
    assert told == ["5 s"]
