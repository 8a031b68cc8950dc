import os

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.hooks.storage import ObjectStorage, UnreadableHere, made_home_root, storage_for


@pytest.fixture
def bucket(tmp_path):
    """Airflow's own driver for files is the one that needs no further package."""
    return f"file://{tmp_path}"


@pytest.fixture
def storage(bucket):
    storage = ObjectStorage()
    for name in ("a/x.csv", "a/y.csv", "a/_hidden.csv", "a/deep/z.csv", "b/x.csv", "b/x.txt"):
        storage.write_bytes(f"{bucket}/{name}", name.encode())
    return storage


def test_local_paths_need_no_driver(tmp_path):
    assert isinstance(storage_for(str(tmp_path)), LocalStorage)
    assert isinstance(storage_for(tmp_path.as_uri()), LocalStorage)


def test_file_system_without_a_driver_names_what_to_install():
    with pytest.raises(UnreadableHere, match=r"Airflow cannot reach s3a://bucket/x: .* apache-airflow-providers-amazon\[s3fs\]"):
        storage_for("s3a://bucket/x")


def test_reads_what_was_written(storage, bucket):
    assert storage.exists(f"{bucket}/a/x.csv")
    assert not storage.exists(f"{bucket}/a/none.csv")
    assert storage.read_bytes(f"{bucket}/a/x.csv") == b"a/x.csv"
    assert storage.read_bytes(f"{bucket}/a/x.csv", 3) == b"a/x"


def test_file_that_is_not_there(storage, bucket):
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(f"{bucket}/a/none.csv")


def test_names_in_a_directory(storage, bucket):
    assert storage.list_names(f"{bucket}/a") == ["_hidden.csv", "deep", "x.csv", "y.csv"]
    assert storage.list_names(f"{bucket}/none") == []


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a/x.csv", ["a/x.csv"]),
        ("a", ["a/x.csv", "a/y.csv"]),
        ("*/x.csv", ["a/x.csv", "b/x.csv"]),
        ("b/*.csv", ["b/x.csv"]),
        ("[ab]/x.c?v", ["a/x.csv", "b/x.csv"]),
        ("none/*.csv", []),
    ],
)
def test_files_of_a_pattern(storage, bucket, pattern, names):
    files = storage.list_files(f"{bucket}/{pattern}")

    assert {path.removeprefix(f"{bucket}/"): size for path, size in files.items()} == {name: len(name) for name in names}


def test_file_is_created_only_where_there_is_none(storage, bucket):
    storage.create_bytes(f"{bucket}/made/record", b"first")

    with pytest.raises(FileExistsError):
        storage.create_bytes(f"{bucket}/made/record", b"second")
    assert storage.read_bytes(f"{bucket}/made/record") == b"first"


def test_driver_is_asked_to_look_and_write_in_one_step(storage, bucket, monkeypatch):
    """As the drivers of S3, Google Cloud Storage and Azure can."""
    asked = []
    driver = ObjectStoragePath(bucket).fs
    monkeypatch.setattr(driver, "pipe_file", lambda path, value, mode="overwrite": asked.append((path, value, mode)))
    storage.create_bytes(f"{bucket}/record", b"first")

    assert [(value, mode) for _, value, mode in asked] == [(b"first", "create")]
    assert asked[0][0].endswith("/record")


def test_write_that_fails_names_the_path(storage, bucket):
    for write in (storage.write_bytes, storage.create_bytes):
        with pytest.raises(ArtifactError, match=r"Cannot write .*Choose an artifact_root"):
            write(f"{bucket}/a/x.csv/below", b"")


def test_the_default_root_is_made_for_its_owner_alone_and_an_existing_one_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    root = made_home_root()
    assert root == str(tmp_path / "home" / "distkeras")
    assert os.stat(root).st_mode & 0o777 == 0o700

    os.chmod(root, 0o750)
    assert made_home_root() == root
    assert os.stat(root).st_mode & 0o777 == 0o750


def test_a_default_root_that_cannot_be_made_is_an_error_of_what_is_written_there(tmp_path, monkeypatch):
    (tmp_path / "home").touch()
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    with pytest.raises(ArtifactError, match="Cannot write"):
        storage_for(made_home_root()).write_bytes(f"{made_home_root()}/a", b"")


def test_folders_that_exist_are_meant_by_their_names(storage, bucket):
    storage.write_bytes(f"{bucket}/[ab]/x.csv", b"")
    assert list(storage.list_files(f"{bucket}/[ab]/*.csv")) == [f"{bucket}/[ab]/x.csv"]
