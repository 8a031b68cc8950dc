"""The artifact roots of this Airflow, by its options: the one that tasks write below, and those that its pages may read."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import conf

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.files.storage import as_uri, is_local, local_path

_SECTION = "distkeras"


def configured_root() -> str:
    """Return the artifact root of tasks that set none; empty if the option is."""
    return str(conf.get(_SECTION, "artifact_root", fallback=""))


def home_root() -> str:
    """Return the artifact root of tasks on local Spark masters where nothing is configured."""
    return os.path.join(os.path.expanduser(os.environ.get("AIRFLOW_HOME", "~/airflow")), "distkeras")


def require_readable_root(path: str) -> str:
    """Return the root, as a URI, that a path is at or below, of those that the pages may read.

    Raises:
        ArtifactError: the path is below none of them. Whoever can write an XCom chooses a path, but not the options.
    """
    further = str(conf.get(_SECTION, "readable_roots", fallback="")).split(",")
    for root in [configured_root() or home_root(), *(root.strip() for root in further)]:
        if root and relative_parts(path, as_uri(root)) is not None:
            return as_uri(root)
    raise ArtifactError(
        f"{path} is not read: it is below no artifact root that Airflow's pages may read, by [distkeras] artifact_root and "
        "readable_roots. Where a task sets an artifact_root of its own, add that to readable_roots on the API server."
    )


def relative_parts(path: str, root: str) -> list[str] | None:
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
