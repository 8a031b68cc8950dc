"""Serialization of trained networks as the bytes of a `.keras` file, which its sha256 identifies and which never run code."""

from __future__ import annotations

import hashlib
import importlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_distkeras.contract.errors import ArtifactError

if TYPE_CHECKING:
    import keras


def to_bytes(network: keras.Model) -> bytes:
    """Return the network as a `.keras` file's content."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "network.keras")
        network.save(path)
        return path.read_bytes()


def from_bytes(content: bytes, custom_modules: Sequence[str] = ()) -> keras.Model:
    """Return the network of a `.keras` file's content, loaded in Keras' safe mode.

    Args:
        content: a `.keras` file's content.
        custom_modules: modules to import first, which register the network's custom objects.

    Raises:
        ArtifactError: the content is not a network that may be loaded.
    """
    import keras

    for module in custom_modules:
        importlib.import_module(module)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "network.keras")
        path.write_bytes(content)
        try:
            return keras.saving.load_model(path, safe_mode=True, compile=False)
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise ArtifactError(f"The saved network cannot be loaded: {error}") from error


def digest(content: bytes) -> str:
    """Return the sha256 of a network's bytes."""
    return hashlib.sha256(content).hexdigest()


def check_digest(content: bytes, expected: str, path: str) -> None:
    """Raise ArtifactError unless the bytes read from `path` have the expected sha256."""
    received = digest(content)
    if received != expected:
        raise ArtifactError(
            f"The network at {path} is not the one that was saved: its sha256 is {received}, expected {expected}. "
            "Do not load it; train again or restore the file."
        )
