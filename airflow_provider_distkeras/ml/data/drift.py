"""How far the columns of two runs are apart: the population stability index (PSI) between their profiles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.contract.artifacts.artifact_ref import ArtifactRef
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.errors import ArtifactError, DataError
from airflow_provider_distkeras.contract.files.storage import Storage
from airflow_provider_distkeras.contract.specs.preprocess import PreprocessDetails, PreprocessSpec
from airflow_provider_distkeras.ml.data.profile import NumberProfile, Profile, TextProfile, TimeProfile

#: What a bin's share is taken for if it is less: an empty one would make the index infinite.
LEAST_SHARE = 1e-4
_DIGITS = 4
#: How many columns are named in a message.
_NAMED = 10

#: The result of `Profile.describe` per column.
Described = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Drift:
    """The drift of each column.

    Attributes:
        index: PSI per column that both runs have, the largest first.
        added: Columns that only the later run has, or that hold something else now.
        gone: Columns that only the earlier run has, or that held something else.
        times: The columns in `index` that hold times, which move by themselves.
    """

    index: dict[str, float]
    added: list[str]
    gone: list[str]
    times: frozenset[str] = frozenset()

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"drift": self.index, "columns_added": self.added, "columns_gone": self.gone}

    def __str__(self) -> str:
        parts = [_listed(self.index)] if self.index else []
        parts += [f"{change} {', '.join(names)}" for change, names in (("new", self.added), ("gone", self.gone)) if names]
        return "; ".join(parts)

    def check(self, limit: float, earlier: str) -> None:
        """Raise DataError if a column has moved further than `limit` since the run that left `earlier`; times may."""
        beyond = {name: index for name, index in self.index.items() if index > limit and name not in self.times}
        if beyond:
            raise DataError(
                f"Columns have drifted since {earlier}: expected a PSI of at most max_drift={limit:g}, received "
                f"{_listed(beyond)}. If the files are right, compare with a newer run, raise max_drift, or exclude the columns."
            )


def profile_of(storage: Storage, path: str) -> Described:
    """Return the profile that a preprocess task wrote into its manifest.

    Args:
        storage: where it is.
        path: the task's `manifest_path`, or anything that lies beside it, such as its `dataset_path`.

    Raises:
        ArtifactError: there is no manifest of a preprocess task, or no profile in it.
    """
    try:
        manifest = Manifest.read(storage, ArtifactRef.parse(path).manifest_path)
    except ArtifactError as error:
        raise ArtifactError(f"compare_with: expected the dataset_path of a preprocess task, received {path}. {error}") from error
    if manifest.kind != PreprocessSpec.kind:
        raise ArtifactError(
            f"compare_with: expected what a preprocess task returned, received {path}, of a {manifest.kind} task."
        )
    profile: Described = manifest.details_as(PreprocessDetails).profile
    if not profile or any("quantiles" in column and "cumulative" not in column for column in profile.values()):
        raise ArtifactError(f"compare_with: {path} has no profile that can be compared: run the task that wrote it again.")
    return profile


def compare(earlier: Described, now: Mapping[str, Profile]) -> Drift:
    """Return the drift of each column."""
    alike = {name: column for name, column in now.items() if earlier.get(name, {}).get("kind") == column.kind}
    index = {name: round(psi(*_counts(earlier[name], column)), _DIGITS) for name, column in alike.items()}
    return Drift(
        index=dict(sorted(index.items(), key=lambda pair: -pair[1])),
        added=[name for name in now if name not in alike],
        gone=[name for name in earlier if name not in alike],
        times=frozenset(name for name, column in alike.items() if isinstance(column, TimeProfile)),
    )


def psi(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Return the population stability index of rows per bin: the sum of (b - a) ln(b / a) of the shares a before, b after."""
    a, b = (np.maximum(counts / counts.sum(), LEAST_SHARE) for counts in (before, after))
    return float(((b - a) * np.log(b / a)).sum())


def _counts(earlier: Mapping[str, Any], now: Profile) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the rows per bin, before and now; the last bin is of missing values."""
    before, after = _texts(earlier, now) if isinstance(now, TextProfile) else _numbers(earlier, now)
    return np.append(before, earlier["missing"]), np.append(after, now.missing)


def _numbers(earlier: Mapping[str, Any], now: NumberProfile) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the rows below the least value, up to each quantile, up to the largest value, and above.

    Equal quantiles have empty bins between them, which add nothing to the index.
    """
    least, *edges = map(_as_number, (earlier["min"], *earlier["quantiles"].values(), earlier["max"]))
    edges = [math.nextafter(least, -math.inf), *edges]
    reached = [0.0, *earlier["cumulative"].values(), 1.0]
    before, after = (np.diff(shares, prepend=0, append=1) for shares in (reached, now.cumulative(edges)))
    return before * earlier["count"], after * now.count


def _as_number(value: float | str) -> float:
    """Return a number; a time as seconds since 1970."""
    return datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp() if isinstance(value, str) else value


def _texts(earlier: Mapping[str, Any], now: TextProfile) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the rows with each of the texts that were the most frequent, and with any other."""
    before: dict[str, int] = dict(earlier["top"])
    after = [now.counts[text] for text in before]
    counts = [[*before.values(), earlier["count"] - sum(before.values())], [*after, now.count - sum(after)]]
    return np.array(counts[0], np.float64), np.array(counts[1], np.float64)


def _listed(index: Mapping[str, float]) -> str:
    """Return columns and their drift, for a message."""
    return ", ".join(f"{name!r} ({value:g})" for name, value in list(index.items())[:_NAMED])
