"""Hadoop's FileSystem, on the one it always has: this machine's files."""

from multiprocessing.pool import ThreadPool

import pytest

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.spark import storage as spark_storage
from airflow_provider_distkeras.spark.storage import HadoopStorage, storage_for

pytestmark = pytest.mark.spark


@pytest.fixture(params=["hadoop", "local"])
def storage(request, spark):
    return HadoopStorage(spark) if request.param == "hadoop" else LocalStorage()


def test_files_are_written_whole_replaced_and_listed(storage, tmp_path):
    root = f"file://{tmp_path}/made/here"
    storage.write_bytes(f"{root}/b.csv", b"old")
    storage.write_bytes(f"{root}/b.csv", b"new content")
    storage.write_bytes(f"{root}/a.csv", bytes(range(256)))
    storage.write_bytes(f"{root}/_SUCCESS", b"")
    assert storage.read_bytes(f"{root}/b.csv") == b"new content"
    assert storage.read_bytes(f"{root}/a.csv", 3) == b"\x00\x01\x02"
    assert [n for n in storage.list_names(root) if not n.startswith(".")] == ["_SUCCESS", "a.csv", "b.csv"]
    sizes = {path.rpartition("/")[2]: size for path, size in storage.list_files(root).items()}
    assert sizes == {"a.csv": 256, "b.csv": 11}
    assert list(storage.list_files(f"{root}/*b.csv").values()) == [11]


@pytest.fixture(params=["rename", "create"])
def either_way(request, monkeypatch):
    """Files appear by a rename, as on HDFS, or as they are closed, as on object stores."""
    if request.param == "create":
        monkeypatch.setattr(spark_storage, "_ATOMIC_CREATE", ("file",))


def test_a_file_is_created_only_where_there_is_none(storage, either_way, tmp_path):
    path = f"file://{tmp_path}/made/here/record"
    storage.create_bytes(path, b"first")
    with pytest.raises(FileExistsError):
        storage.create_bytes(path, b"second")
    assert storage.read_bytes(path) == b"first"
    assert [name for name in storage.list_names(f"file://{tmp_path}/made/here") if not name.endswith(".crc")] == ["record"]


def test_of_threads_that_create_a_file_at_the_same_moment_one_succeeds(tmp_path):
    storage = LocalStorage()  # Hadoop's own local files are renamed in several steps, which HDFS's are not

    def create(number):
        try:
            storage.create_bytes(path, number)
        except FileExistsError:
            return None
        return number

    with ThreadPool(4) as pool:
        for round_number in range(10):
            path = f"file://{tmp_path}/{round_number}"
            (winner,) = filter(None, pool.map(create, [b"1", b"2", b"3", b"4"], chunksize=1))
            assert storage.read_bytes(path) == winner


def test_a_missing_file_is_missing(storage, tmp_path):
    missing = f"file://{tmp_path}/missing"
    assert not storage.exists(missing)
    assert storage.list_names(missing) == []
    assert storage.list_files(f"{missing}/*") == {}
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(missing)


def test_a_place_that_cannot_be_written_to_is_named(storage, tmp_path):
    (tmp_path / "file").write_text("")
    for write in (storage.write_bytes, storage.create_bytes):
        with pytest.raises(ArtifactError, match=r"Cannot write .*file/x: "):
            write(f"file://{tmp_path}/file/x", b"")


def test_local_paths_go_the_short_way(spark, tmp_path):
    assert isinstance(storage_for(spark, str(tmp_path)), LocalStorage)
    assert isinstance(storage_for(spark, "hdfs://nowhere/x"), HadoopStorage)


def test_a_file_system_that_cannot_be_reached_is_named_in_one_line(spark):
    storage = storage_for(spark, "foo://somewhere/x")
    for ask in (storage.exists, storage.list_files, storage.list_names, storage.read_bytes):
        with pytest.raises(
            ArtifactError, match=r"^Cannot reach foo://somewhere/x: .*No FileSystem for scheme \"foo\".*packages\.$"
        ):
            ask("foo://somewhere/x")


def test_folders_that_exist_are_meant_by_their_names(storage, tmp_path):
    for folder in ("h1", "h[1]"):
        storage.write_bytes(f"file://{tmp_path}/{folder}/a.csv", b"")
    assert [path.split("/")[-2] for path in storage.list_files(f"file://{tmp_path}/h[1]/*.csv")] == ["h[1]"]
    assert [path.split("/")[-2] for path in storage.list_files(f"file://{tmp_path}/h?/*.csv")] == ["h1"]
    assert [path.split("/")[-2] for path in storage.list_files(f"file://{tmp_path}/h[1]")] == ["h[1]"]


def test_a_name_that_hadoop_cannot_list_is_told_in_one_line(spark, tmp_path):
    (tmp_path / "10:00.csv").write_text("")
    with pytest.raises(ArtifactError, match=r"Hadoop cannot list \S*: .*10:00\.csv\. .*: rename them\.$"):
        HadoopStorage(spark).list_files(f"file://{tmp_path}/*.csv")
