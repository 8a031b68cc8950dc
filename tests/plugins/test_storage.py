"""Files of strangers below an artifact root: no link is followed, nothing waits, nothing is larger than a page can hold."""

import os
import threading
import time

import pytest

from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.plugins import storage, threads
from airflow_provider_distkeras.plugins.storage import require_readable_root, storage_for


@pytest.fixture
def root(tmp_path):
    """An artifact root with a folder, and a secret beside it."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "airflow.cfg").write_text("jwt_secret = 7")
    (tmp_path / "out" / "a").mkdir(parents=True)
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def readable_roots(root, monkeypatch):
    monkeypatch.setenv("AIRFLOW__DISTKERAS__READABLE_ROOTS", str(root))


def read(path):
    return storage_for(str(path)).read_bytes(str(path))


def list_names(path):
    return storage_for(str(path)).list_names(str(path))


@pytest.mark.parametrize("uri", ["{}", "file://{}", "file:{}"])
def test_a_file_below_the_root_is_read(root, uri):
    (root / "a" / "report.html").write_text("r2 0.9")
    path = uri.format(root / "a" / "report.html")

    assert storage_for(path).read_bytes(path) == b"r2 0.9"
    assert storage_for(path).read_bytes(path, 2) == b"r2"
    assert storage_for(path).list_names(path.rpartition("/")[0]) == ["report.html"]


def test_what_does_not_exist(root):
    with pytest.raises(FileNotFoundError):
        read(root / "a" / "report.html")
    assert list_names(root / "b") == list_names(root / "b" / "c") == []


def test_the_root_itself_may_be_a_link(root, tmp_path, monkeypatch):
    (root / "a" / "report.html").write_text("r2 0.9")
    (tmp_path / "link").symlink_to(root)
    monkeypatch.setenv("AIRFLOW__DISTKERAS__ARTIFACT_ROOT", str(tmp_path / "link"))

    assert read(tmp_path / "link" / "a" / "report.html") == b"r2 0.9"


def test_no_link_is_followed_to_a_file(root, tmp_path):
    (root / "a" / "report.html").symlink_to(tmp_path / "secret" / "airflow.cfg")
    with pytest.raises(ArtifactError, match="No link below an artifact root is followed"):
        read(root / "a" / "report.html")


def test_no_link_is_followed_to_a_folder(root, tmp_path):
    (root / "b").symlink_to(tmp_path / "secret")
    with pytest.raises(ArtifactError, match="No link below an artifact root is followed"):
        read(root / "b" / "airflow.cfg")
    with pytest.raises(ArtifactError, match="No link below an artifact root is followed"):
        list_names(root / "b")


def test_no_other_name_of_a_file_is_read(root, tmp_path):
    os.link(tmp_path / "secret" / "airflow.cfg", root / "a" / "report.html")
    with pytest.raises(ArtifactError, match="expected a regular file with no other name"):
        read(root / "a" / "report.html")


def test_a_pipe_is_refused_at_once(root):
    os.mkfifo(root / "a" / "report.html")
    began = time.monotonic()
    with pytest.raises(ArtifactError, match="expected a regular file"):
        read(root / "a" / "report.html")
    assert time.monotonic() - began < 5


def test_a_folder_is_no_file(root):
    with pytest.raises(ArtifactError, match="expected a regular file"):
        read(root / "a")


def test_a_large_file_is_not_read(root):
    """A hole of 700 MiB, of which nothing may come into memory."""
    with (root / "a" / "report.html").open("wb") as file:
        file.truncate(700 * 2**20)
    with pytest.raises(ArtifactError, match=r"expected at most 8 MiB, received 734,003,200 bytes or more"):
        read(root / "a" / "report.html")
    with pytest.raises(ArtifactError, match="expected at most 32 MiB"):
        storage_for(str(root), storage.MAX_REPORT_BYTES).read_bytes(str(root / "a" / "report.html"))


def test_a_folder_of_many_names_is_not_listed(root, monkeypatch):
    monkeypatch.setattr(storage, "MAX_NAMES", 2)
    for number in range(3):
        (root / "a" / str(number)).touch()
    with pytest.raises(ArtifactError, match="expected at most 2 names"):
        list_names(root / "a")


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "{}/../secret/airflow.cfg", "{}-other/a", "s3a://bucket{}/a", "relative/a", "", "{}\0/a"],
)
def test_a_path_below_no_root_of_the_options_is_not_read(root, path):
    with pytest.raises(ArtifactError, match=r"\[distkeras\] artifact_root and readable_roots"):
        read(path.format(root))


@pytest.mark.parametrize("name", ["a\0b", "a\udcff\ud800", "x" * 5000])
def test_a_name_that_no_file_has_is_an_error_in_words(root, name):
    with pytest.raises(ArtifactError, match="is not read"):
        read(f"{root}/{name}")


def test_a_storage_reads_below_its_own_root_only(root, tmp_path):
    with pytest.raises(ArtifactError, match="expected a path below"):
        storage_for(str(root)).read_bytes(str(tmp_path / "secret" / "airflow.cfg"))


def test_the_default_root_is_readable_where_none_is_configured(monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "secret"))
    assert list_names(tmp_path / "secret" / "distkeras") == []
    monkeypatch.setenv("AIRFLOW__DISTKERAS__ARTIFACT_ROOT", "s3a://bucket/base")
    with pytest.raises(ArtifactError, match="readable_roots"):
        list_names(tmp_path / "secret" / "distkeras")


def test_objects_have_the_same_bounds(root, monkeypatch):
    """Airflow's own driver for files is the one that needs no further package."""
    monkeypatch.setattr(storage, "is_local", lambda _: False)
    (root / "a" / "small").write_bytes(b"r2 0.9")
    (root / "a" / "large").write_bytes(b"r" * 2000)
    objects = storage_for(f"file://{root}", 1000)

    assert objects.read_bytes(f"file://{root}/a/small") == b"r2 0.9"
    assert objects.read_bytes(f"file://{root}/a/small", 2) == b"r2"
    with pytest.raises(ArtifactError, match="received 2,000 bytes or more"):
        objects.read_bytes(f"file://{root}/a/large")
    with pytest.raises(FileNotFoundError):
        objects.read_bytes(f"file://{root}/a/none")
    with pytest.raises(ArtifactError, match="expected a path below"):
        objects.read_bytes(f"file://{root}-other/a")
    monkeypatch.setattr(storage, "MAX_NAMES", 1)
    with pytest.raises(ArtifactError, match="expected at most 1 names"):
        objects.list_names(f"file://{root}/a")


def test_a_bucket_counts_with_its_connection(monkeypatch):
    """Whoever writes an XCom must not choose the connection that reads it."""
    monkeypatch.setenv("AIRFLOW__DISTKERAS__ARTIFACT_ROOT", "s3a://bucket/base")
    assert require_readable_root("s3a://bucket/base/a") == "s3a://bucket/base"
    for other in (
        "s3a://admin@bucket/base/a",
        "s3a://bucket/based",
        "s3a://bucket",
        "s3://bucket/base/a",
        "s3a://bucket/base/../a",
    ):
        with pytest.raises(ArtifactError, match="readable_roots"):
            require_readable_root(other)


@pytest.mark.parametrize("kind", ["link", "pipe", "large"])
def test_a_manifest_is_read_in_the_same_way(root, tmp_path, kind):
    path = root / "a" / Manifest.FILE_NAME
    if kind == "link":
        path.symlink_to(tmp_path / "secret" / "airflow.cfg")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        with path.open("wb") as file:
            file.truncate(700 * 2**20)
    with pytest.raises(ArtifactError, match="is not read"):
        Manifest.read(storage_for(str(path)), str(path))


def test_nothing_is_read_once_the_time_of_the_page_is_over(root, monkeypatch):
    (root / "a" / "small").touch()
    files = storage_for(str(root))
    token = threads._reading_ends_at.set(time.monotonic() - 1)
    try:
        for look in (files.read_bytes, files.list_names, storage_for):
            with pytest.raises(ArtifactError, match="the storage is slow"):
                look(str(root / "a"))
    finally:
        threads._reading_ends_at.reset(token)


def test_threads_of_pages_are_few_and_a_page_waits_for_a_while_only():
    """Forty pages at a storage that hangs."""
    import asyncio

    pages, hangs, entered = threads.PageThreads(max_threads=2, seconds=0.2), threading.Event(), []

    def page():
        entered.append(threading.get_ident())
        hangs.wait(30)
        return "late"

    async def ask():
        return await asyncio.gather(*(pages.run(page) for _ in range(40)), return_exceptions=True)

    before = threading.active_count()
    answers = asyncio.run(ask())
    assert {type(answer) for answer in answers} == {TimeoutError}
    assert len(entered) == 2
    assert threading.active_count() - before <= 2
    hangs.set()

    async def ask_again():
        return await pages.run(lambda: threading.current_thread().daemon)

    assert asyncio.run(ask_again()) is True
    assert len(entered) == 2  # who has gone away is not served


def test_an_error_of_a_page_is_that_of_its_caller():
    import asyncio

    with pytest.raises(ZeroDivisionError):
        asyncio.run(threads.PageThreads().run(lambda: 1 / 0))
