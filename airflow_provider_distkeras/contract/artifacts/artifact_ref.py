"""References to artifacts: a path, parsed once, and the manifest and the attempt that belong to it."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest


@dataclass(frozen=True)
class ArtifactRef:
    """An artifact, such as a dataset or a model, by the folder that it lies in.

    Any path has a reference: users may copy an artifact with its manifest wherever they like. `attempt` and `root_of` are of use
    where the artifact lies in the attempt that wrote it.

    Attributes:
        folder: the folder of the artifact and of its manifest.
        name: the artifact's name in the folder.
    """

    folder: str
    name: str

    @classmethod
    def parse(cls, path: str) -> ArtifactRef:
        """Return the reference of the artifact at a path."""
        folder, slash, name = path.rstrip("/").rpartition("/")
        return cls(folder if slash else ".", name)

    @property
    def path(self) -> str:
        """The artifact's path."""
        return f"{self.folder}/{self.name}"

    @property
    def manifest_path(self) -> str:
        """The path of the manifest that the artifact was committed with."""
        return f"{self.folder}/{Manifest.FILE_NAME}"

    @property
    def attempt(self) -> Attempt:
        """The attempt whose folder the artifact lies in."""
        return Attempt.at(self.folder)

    def root_of(self, dag_id: str, task_id: str, segment: int | str) -> str | None:
        """Return the artifact root below which an attempt of this task has the artifact; None if no attempt of the task has."""
        if not self.name or ".." in self.path.split("/"):
            return None
        return self.attempt.root_of(dag_id, task_id, segment)
