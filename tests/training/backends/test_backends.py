"""Compiled windows keep the same promises on every backend; each runs in a process of its own, as Keras demands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFORMANCE = Path(__file__).with_name("conformance.py")


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_the_backend_conforms(backend):
    pytest.importorskip(backend)
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", str(CONFORMANCE)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr[-2000:]
