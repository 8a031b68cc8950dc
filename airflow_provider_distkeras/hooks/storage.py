"""The file systems of artifacts and inputs, as Airflow reaches them."""

from __future__ import annotations

import contextlib
import fnmatch
import os
from collections.abc import Iterator
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import ObjectStoragePath, conf

from airflow_provider_distkeras.contract.artifacts.artifact_ref import ArtifactRef
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.errors import ArtifactError, SpecError
from airflow_provider_distkeras.contract.files.csv_header import InputFiles
from airflow_provider_distkeras.contract.files.storage import (
    LocalStorage,
    Storage,
    as_uri,
    is_hidden,
    is_local,
    local_path,
    split_glob,
)
from airflow_provider_distkeras.contract.specs import Spec

_GLOB = frozenset("*?[")


class UnreadableHere(ArtifactError):
    """A file system that Airflow has no driver for, though Spark may have one."""


@contextlib.contextmanager
def _writing(path: str, *, makes_parents: bool = True) -> Iterator[ObjectStoragePath]:
    """Give a path whose directories are made, unless they exist; for errors but FileExistsError, raise ArtifactError."""
    target = ObjectStoragePath(path)
    try:
        with contextlib.suppress(FileExistsError):  # a parent that is a file: the body fails
            if makes_parents:
                target.parent.mkdir(parents=True, exist_ok=True)
        yield target
    except FileExistsError:
        raise
    except Exception as error:  # each driver raises its own kind
        raise ArtifactError(f"Cannot write {path}: {error}. Choose an artifact_root that the job may write to.") from error


class ObjectStorage:
    """Object stores and remote file systems, through Airflow's ObjectStoragePath."""

    def exists(self, path: str) -> bool:
        """Return whether there is a file or directory."""
        return ObjectStoragePath(path).exists()

    def read_bytes(self, path: str, limit: int | None = None) -> bytes:
        """Return a file's content, or its first `limit` bytes; raise FileNotFoundError if there is no file."""
        with ObjectStoragePath(path).open("rb") as file:
            return bytes(file.read(-1 if limit is None else limit))

    def write_bytes(self, path: str, content: bytes, *, within: str | None = None) -> None:
        """Write a file at once; raise ArtifactError if that fails."""
        with _writing(path, makes_parents=within is None) as target:
            target.write_bytes(content)

    def create_bytes(self, path: str, content: bytes) -> None:
        """Write a file at once where there is none; raise FileExistsError if there is one, ArtifactError if that fails.

        The drivers of S3, Google Cloud Storage and Azure look and write in one step; others look first.
        """
        with _writing(path) as target:
            target.fs.pipe_file(target.path, content, mode="create")

    def delete(self, path: str) -> None:
        """Delete a file, if there is one."""
        ObjectStoragePath(path).unlink(missing_ok=True)

    def list_names(self, directory: str) -> list[str]:
        """Return the sorted names in a directory; none if there is no directory."""
        try:
            return sorted(child.name for child in ObjectStoragePath(directory).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def list_files(self, pattern: str) -> dict[str, int]:
        """Return the size in bytes per file that a path, a glob or a directory stands for."""
        return {str(file): file.stat().st_size for match in self._matches(pattern) for file in self._files(match)}

    def _matches(self, pattern: str) -> list[ObjectStoragePath]:
        """Return the paths that a pattern matches; each part with a wildcard is matched against the names in its folder."""
        base, rest = split_glob(pattern, self.exists)
        paths = [base]
        for part in filter(None, rest.split("/")):
            if _GLOB.isdisjoint(part):
                paths = [f"{folder}/{part}" for folder in paths]
            else:
                paths = [f"{folder}/{name}" for folder in paths for name in fnmatch.filter(self.list_names(folder), part) if name]
        return [path for path in map(ObjectStoragePath, paths) if path.exists()]

    @staticmethod
    def _files(path: ObjectStoragePath) -> list[ObjectStoragePath]:
        if not path.is_dir():
            return [path]
        return sorted((p for p in path.iterdir() if p.is_file() and not is_hidden(p.name)), key=str)


def storage_for(path: str) -> Storage:
    """Return the storage of a path.

    Raises:
        UnreadableHere: Airflow has no driver for its file system.
    """
    if is_local(path):
        return LocalStorage()
    scheme = urlsplit(path).scheme
    try:
        ObjectStoragePath(path).exists()
    except (ImportError, ValueError, OSError) as error:
        raise UnreadableHere(
            f"Airflow cannot reach {path}: {error}. Install the Airflow provider for {scheme}:// "
            "(such as apache-airflow-providers-amazon[s3fs] for s3a://, -google for gs://, -microsoft-azure for abfss://)."
        ) from error
    return ObjectStorage()


def configured_root() -> str:
    """Return the artifact root of tasks that set none; empty if the option is."""
    return str(conf.get("distkeras", "artifact_root", fallback=""))


def home_root() -> str:
    """Return the artifact root of tasks on local Spark masters where nothing is configured."""
    return os.path.join(os.path.expanduser(os.environ.get("AIRFLOW_HOME", "~/airflow")), "distkeras")


def made_home_root() -> str:
    """Return `home_root`, made now for its owner alone if there is none."""
    with contextlib.suppress(OSError):  # what is written there says so
        os.makedirs(home_root(), mode=0o700)
    return home_root()


def readable_root(path: str, *roots: str) -> str | None:
    """Return the root, as a URI, that a path is at or below, of these or those of Airflow's options; None without one."""
    further = str(conf.get("distkeras", "readable_roots", fallback="")).split(",")
    for root in [*roots, configured_root() or home_root(), *(root.strip() for root in further)]:
        if root and relative_names(path, as_uri(root)) is not None:
            return as_uri(root)
    return None


def relative_names(path: str, root: str) -> list[str] | None:
    """Return the names that lead from a root to a path; None if they leave the root, or do not begin there."""
    (place, names), (root_place, root_names) = _split(path), _split(root)
    is_below = place == root_place and names[: len(root_names)] == root_names and not {".", ".."} & {*names}
    return names[len(root_names) :] if is_below else None


def _split(path: str) -> tuple[str, list[str]]:
    """Return the file system of a path, and the names in it."""
    if is_local(path):
        place, rest = "file", str(local_path(path))
    else:
        place = f"{urlsplit(path).scheme}://{urlsplit(path).netloc}"
        rest = path[len(place) :]
    return place, [name for name in rest.split("/") if name]


def require_artifact(path: str, spec_class: type[Spec], argument: str, root: str) -> Manifest:
    """Return the manifest of an artifact; raise SpecError unless a task with specs of a class committed it below a trusted root.

    Args:
        path: The artifact.
        spec_class: The class of the task's spec, such as TrainSpec.
        argument: The operator's argument that holds the path, for the message.
        root: The artifact root of the task that loads it.
    """
    storage, manifest_path = storage_for(path), ArtifactRef.parse(path).manifest_path
    problem = f"{argument}: expected what a {spec_class.kind} task returned, received {path!r}"
    if not storage.exists(manifest_path):
        raise SpecError(f"{problem}: there is no {Manifest.FILE_NAME} beside it. Nothing was committed there, or it is gone.")
    if readable_root(path, root) is None:
        raise SpecError(
            f"{problem}: it is below neither this task's artifact root, {root}, nor one that the Airflow options [distkeras] "
            "artifact_root and readable_roots name. What is loaded may run code: if you trust whoever can write there, add "
            "its root to readable_roots."
        )
    manifest = Manifest.read(storage, manifest_path)
    if manifest.kind != spec_class.kind:
        raise SpecError(f"{problem}, the result of {manifest.kind}.")
    return manifest


def fingerprints(files: InputFiles) -> dict[str, str]:
    """Return a fingerprint per input file: its size and the time of its last change."""
    return {path: f"{size} bytes, modified {_modified(path)}" for path, size in files.sizes.items()}


def _modified(path: str) -> object:
    return local_path(path).stat().st_mtime_ns if is_local(path) else ObjectStoragePath(path).stat().st_mtime
