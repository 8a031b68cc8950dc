"""Files that Spark can reach, through Hadoop's FileSystem."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from py4j.protocol import Py4JJavaError
from pyspark.errors import IllegalArgumentException

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.files.storage import LocalStorage, Storage, is_hidden, is_local, split_glob

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_CHUNK = 8 * 1024 * 1024
#: Object stores, where a file appears as a whole when it is closed; elsewhere it is renamed into place.
_ATOMIC_CREATE = ("s3", "s3a", "gs", "oss", "cosn")
#: Hadoop's option to look for a file in the same step that writes one; s3a has it since Hadoop 3.4.2 and looks before otherwise.
_IF_NONE = "fs.option.create.conditional.overwrite"


def storage_for(spark: SparkSession, path: str) -> Storage:
    """Return the storage of a path; a path without a scheme is on Spark's default file system."""
    default = spark.sparkContext._jsc.hadoopConfiguration().get("fs.defaultFS", "file:///")
    if is_local(path if urlsplit(path).scheme else default):
        return LocalStorage()
    return HadoopStorage(spark)


def literal(path: str) -> str:
    """Return a path for Spark's readers, which else take a file that was found by its name for a glob."""
    return re.sub(r"([\\*?\[\]{}])", r"\\\1", path)


@contextmanager
def _reach(path: str) -> Iterator[None]:
    """Raise ArtifactError, with the cause in one line, if the file system cannot be reached, or takes no such name."""
    try:
        yield
    except Py4JJavaError as error:
        cause = str(error.java_exception).splitlines()[0]
        raise ArtifactError(
            f"Cannot reach {path}: {cause}. Check the address and the rights; a file system such as s3a needs its connector "
            "among the job's packages."
        ) from error
    except IllegalArgumentException as error:
        raise ArtifactError(
            f"Hadoop cannot list {path}: {str(error).splitlines()[0]}. It takes no names with a colon where it looks for a glob: "
            "rename them."
        ) from error


class HadoopStorage:
    """HDFS and object stores; see `contract.files.storage.Storage`."""

    def __init__(self, spark: SparkSession) -> None:
        self._gateway: Any = spark.sparkContext._gateway
        self._jvm: Any = spark.sparkContext._jvm
        self._conf: Any = spark.sparkContext._jsc.hadoopConfiguration()

    def exists(self, path: str) -> bool:
        """Return whether a file or a directory exists."""
        with _reach(path):
            file_system, java_path = self._locate(path)
            return bool(file_system.exists(java_path))

    def read_bytes(self, path: str, limit: int | None = None) -> bytes:
        """Return the content of a file, or its first `limit` bytes. Raises FileNotFoundError if it does not exist."""
        with _reach(path):
            return self._read_bytes(path, limit)

    def _read_bytes(self, path: str, limit: int | None) -> bytes:
        file_system, java_path = self._locate(path)
        if not file_system.exists(java_path):
            raise FileNotFoundError(path)
        stream = file_system.open(java_path)
        try:
            content = bytearray()
            while limit is None or len(content) < limit:
                part = stream.readNBytes(_CHUNK if limit is None else min(_CHUNK, limit - len(content)))
                if not part:
                    break
                content += part
            return bytes(content)
        finally:
            stream.close()

    def write_bytes(self, path: str, content: bytes, *, within: str | None = None) -> None:
        """Write a file in one step; Hadoop makes its directories. Raises ArtifactError if that fails."""
        try:
            if urlsplit(path).scheme in _ATOMIC_CREATE:
                self._create(path, content)
            else:
                part = f"{path.rpartition('/')[0]}/.{uuid.uuid4().hex}"
                self._create(part, content)
                self._rename(part, path, overwrite=True)
        except Py4JJavaError as error:
            raise _write_error(path, error) from error

    def create_bytes(self, path: str, content: bytes) -> None:
        """Write a file in one step where there is none. Raises FileExistsError if there is one, ArtifactError if it fails."""
        part = f"{path.rpartition('/')[0]}/.{uuid.uuid4().hex}"
        try:
            if urlsplit(path).scheme in _ATOMIC_CREATE:
                self._create(path, content, overwrite=False)
            else:
                self._create(part, content)
                self._rename(part, path, overwrite=False)
        except Py4JJavaError as error:
            self.delete(part)
            if self.exists(path):
                raise FileExistsError(path) from error
            raise _write_error(path, error) from error

    def delete(self, path: str) -> None:
        """Delete a file, if it exists."""
        with _reach(path):
            file_system, java_path = self._locate(path)
            file_system.delete(java_path, False)

    def list_names(self, directory: str) -> list[str]:
        """Return the names in a directory, sorted; none if it does not exist."""
        with _reach(directory):
            file_system, java_path = self._locate(directory)
            if not file_system.exists(java_path):
                return []
            return sorted(status.getPath().getName() for status in file_system.listStatus(java_path))

    def list_files(self, pattern: str) -> dict[str, int]:
        """Return the size in bytes of each file of a path, a glob or a directory, sorted by path, without hidden files."""
        sizes: dict[str, int] = {}
        with _reach(pattern):
            base, rest = split_glob(pattern, self.exists)
            file_system, java_path = self._locate(f"{literal(base)}/{rest}" if rest else base)
            if rest:
                found = file_system.globStatus(java_path)
            else:
                found = [file_system.getFileStatus(java_path)] if file_system.exists(java_path) else []
            for match in found or []:
                inside = file_system.listStatus(match.getPath()) if match.isDirectory() else [match]
                for status in inside:
                    if status.isFile() and (status is match or not is_hidden(status.getPath().getName())):
                        sizes[status.getPath().toString()] = int(status.getLen())
        return dict(sorted(sizes.items()))

    def _locate(self, path: str) -> tuple[Any, Any]:
        java_path = self._jvm.org.apache.hadoop.fs.Path(path)
        return java_path.getFileSystem(self._conf), java_path

    def _create(self, path: str, content: bytes, *, overwrite: bool = True) -> None:
        file_system, java_path = self._locate(path)
        if overwrite:
            stream = file_system.create(java_path, True)
        else:
            stream = file_system.createFile(java_path).recursive().overwrite(False).opt(_IF_NONE, True).build()
        try:
            for start in range(0, len(content), _CHUNK):
                stream.write(bytearray(content[start : start + _CHUNK]))
        finally:
            stream.close()

    def _rename(self, part: str, path: str, *, overwrite: bool) -> None:
        """Rename a file in one step."""
        rename = self._jvm.org.apache.hadoop.fs.Options.Rename
        options = self._gateway.new_array(rename, 1)
        options[0] = rename.OVERWRITE if overwrite else rename.NONE
        _, source = self._locate(part)
        _, target = self._locate(path)
        self._jvm.org.apache.hadoop.fs.FileContext.getFileContext(source.toUri(), self._conf).rename(source, target, options)


def _write_error(path: str, error: Py4JJavaError) -> ArtifactError:
    return ArtifactError(f"Cannot write {path}: {error.java_exception.getMessage()}. Choose a path that the job may write to.")
