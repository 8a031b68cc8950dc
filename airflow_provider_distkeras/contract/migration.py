"""Versions of what is written to files: an older version is migrated when it is read, a newer one refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_distkeras.contract.errors import ArtifactError

#: Takes a file's content in one version and returns it in the next.
Migration = Callable[[dict[str, Any]], dict[str, Any]]


def migrate(
    what: str, content: dict[str, Any], *, written: object, current: int, migrations: Mapping[int, Migration]
) -> dict[str, Any]:
    """Return the content in the current version.

    Args:
        what: what the content is, for messages, such as "The manifest at s3a://...".
        content: the content as it was written.
        written: the version it was written in.
        current: the version that this package writes.
        migrations: per version that needs one, the step to the next version.

    Raises:
        ArtifactError: the content has a newer version, or none that there ever was.
    """
    if not isinstance(written, int) or isinstance(written, bool) or written < 1:
        raise ArtifactError(f"{what} has version {written!r}: expected a number from 1 to {current}.")
    if written > current:
        raise ArtifactError(
            f"{what} has version {written}, expected at most {current}: a newer airflow-provider-distkeras wrote it. "
            "Upgrade this package here, to the same version for Airflow and for Spark."
        )
    for version in range(written, current):
        content = migrations.get(version, lambda same: same)(content)
    return content
