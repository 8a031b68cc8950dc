"""The files of this machine."""

import errno
import os

import pytest

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.files.storage import LocalStorage

STORAGE = LocalStorage()


@pytest.mark.parametrize("number", [None, errno.EPERM, errno.ENOTSUP], ids=["links", "EPERM", "ENOTSUP"])
def test_a_file_is_created_only_where_there_is_none_also_without_hard_links(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    if number is not None:
        monkeypatch.setattr(os, "link", refuse)
    STORAGE.create_bytes(f"{tmp_path}/made/record", b"first")
    with pytest.raises(FileExistsError):
        STORAGE.create_bytes(f"{tmp_path}/made/record", b"second")
    assert STORAGE.read_bytes(f"{tmp_path}/made/record") == b"first"
    assert STORAGE.list_names(f"{tmp_path}/made") == ["record"]


def test_a_link_that_fails_is_named_and_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(ArtifactError, match=r"Cannot write .*/record: No space left on device"):
        STORAGE.create_bytes(f"{tmp_path}/record", b"first")
    assert STORAGE.list_names(str(tmp_path)) == []
