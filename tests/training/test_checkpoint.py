"""Checkpoints as bytes."""

import numpy as np

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.training import checkpoint
from airflow_provider_distkeras.training.server.store import StoreState


def test_a_snapshot_cut_off_or_damaged_anywhere_is_an_artifact_error():
    content = checkpoint.to_bytes([StoreState(np.arange(8, dtype=np.float32).reshape(2, 4), saved={0: b"momentum"})])
    damaged = [content[:n] for n in range(len(content))]
    damaged += [content[:n] + bytes([content[n] ^ 0xFF]) + content[n + 1 :] for n in range(len(content))]
    other = set()
    for content in damaged:
        try:
            checkpoint.from_bytes(content)
        except ArtifactError:
            continue
        except Exception as error:
            other.add(repr(error))
    assert other == set()
