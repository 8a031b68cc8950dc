"""Benchmarks in a process of their own, one after the other: Keras allows one backend per process."""

import importlib
import os
import traceback
from contextlib import contextmanager
from multiprocessing import get_context


def serve(connection, backend):
    """Run the benchmarks whose names and modules are received, and send None for each that succeeded, else its traceback."""
    os.environ |= {"BENCHMARKS_QUICK": "1", "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    while True:
        name, module = connection.recv()
        try:
            importlib.import_module(f"benchmarks.{module}").main(name)
            connection.send(None)
        except BaseException:
            connection.send(traceback.format_exc())


@contextmanager
def benchmarks_of(backend):
    """A function that runs a benchmark and returns None, or the traceback of its failure.

    The process talks over a pipe that what it starts does not inherit, so that its end is always seen; it is killed in the end, for
    nothing that it could still do matters.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, backend))
    process.start()
    theirs.close()

    def run(name, module):
        ours.send((name, module))
        try:
            return ours.recv()
        except EOFError:
            process.join()
            return f"The process of the benchmarks ended with exit code {process.exitcode}."

    try:
        yield run
    finally:
        process.kill()
        process.join()
