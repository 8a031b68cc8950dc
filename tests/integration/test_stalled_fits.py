"""Workers that stand still for a while, and connections that break within a frame."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.fit_driver import COMMITS, EPOCHS, HALTS_AT, ROWS, fit_request, step, wait_for

pytestmark = pytest.mark.spark

#: Stops worker 1 before it commits; the file then holds its process's id.
STOPPED = """
import os, signal
import interrupted_fits
from airflow_provider_distkeras.training.server import client
honest = client.ParameterClient.commit

def commit(self, update, sequence, *rest):
    if self._worker == 1 and sequence == {at} and interrupted_fits.claim({marker!r}):
        with open({marker!r} + ".part", "w") as file:
            file.write(str(os.getpid()))
        os.replace({marker!r} + ".part", {marker!r})
        os.kill(os.getpid(), signal.SIGSTOP)
    return honest(self, update, sequence, *rest)

client.ParameterClient.commit = commit
"""

#: Cuts worker 1's connection in the middle of a commit.
CUT = """
import socket
import interrupted_fits
from airflow_provider_distkeras.training.server import client, protocol
honest = client.ParameterClient.commit

class Half:
    def __init__(self, sock):
        self.sock = sock

    def __getattr__(self, name):
        return getattr(self.sock, name)

    def sendmsg(self, buffers, *rest):
        content = b"".join(bytes(buffer) for buffer in buffers)
        self.sock.sendall(content[: len(content) // 2])
        self.sock.shutdown(socket.SHUT_RDWR)
        raise ConnectionResetError("cut within a frame")

    def sendall(self, content):
        self.sendmsg([content])

def commit(self, update, sequence, *rest):
    if self._worker == 1 and sequence == {at} and interrupted_fits.claim({marker!r}):
        for connection in self._connections:
            connection._socket = Half(connection._socket)
    return honest(self, update, sequence, *rest)

client.ParameterClient.commit = commit
"""


def is_stopped(process):
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_worker_that_stands_still_for_a_while_goes_on_where_it_was_and_those_in_step_wait(drive, tmp_path):
    marker = tmp_path / "stopped"
    driver = drive([step(fit_request("LocalSGD"))], sabotage=STOPPED.format(marker=str(marker), at=HALTS_AT))
    wait_for(driver, lambda: marker.exists() and marker.read_text())
    process = int(marker.read_text())
    try:
        wait_for(driver, lambda: is_stopped(process))
    finally:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)
    ((fit,),) = driver.results()
    assert "error" not in fit, fit
    assert fit["rows_trained"] == fit["trained_here"] == EPOCHS * ROWS
    assert fit["updates"] == COMMITS


def test_a_worker_that_stands_still_for_longer_than_the_time_allowed_ends_the_fit_in_words(drive, tmp_path):
    sabotage = STOPPED.format(marker=str(tmp_path / "stopped"), at=HALTS_AT)
    ((fit,),) = drive([step(fit_request("LocalSGD", timeout=3.0))], sabotage=sabotage).results()
    assert fit["error"] == "TrainingError"
    # The round that waits and the monitor that hears nothing have the same patience; either may be first to say so.
    assert "waited 3 s for the slowest worker" in fit["message"] or "has sent anything for 3 s" in fit["message"]
    assert "set timeout if " in fit["message"]


@pytest.mark.parametrize("trainer", ["ADAG", "LocalSGD"])
def test_a_connection_that_is_cut_within_a_frame_costs_no_commit_and_doubles_none(drive, tmp_path, trainer):
    marker = tmp_path / "cut"
    driver = drive([step(fit_request(trainer))], master="local[2,4]", sabotage=CUT.format(marker=str(marker), at=HALTS_AT))
    ((fit,),) = driver.results()
    assert marker.exists()
    assert "error" not in fit, fit
    assert fit["rows_trained"] == EPOCHS * ROWS
    assert fit["updates"] == COMMITS
