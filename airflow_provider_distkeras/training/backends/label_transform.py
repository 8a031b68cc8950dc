"""Runs on executors. Transforms of labels: a network is trained on transformed labels, and its outputs are transformed back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.params.label_transforms import LOG1P, NONE

#: Deviations below this share of the mean are those of equal labels.
_LEAST_DEVIATION = 1e-12


@dataclass(frozen=True)
class LabelTransform:
    """A transform of a row's labels: perhaps their logarithm, then minus the mean, by the standard deviation.

    Mean and deviation have the precision of float32, so that they do not depend on the order in which rows were summed.

    Attributes:
        kinds: standardize, log1p or none, one per output.
        sizes: labels per row, one number per output.
        mean: per label of a row, all outputs together; empty until it is fitted.
        std: the same.
    """

    kinds: tuple[str, ...]
    sizes: tuple[int, ...]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the transform of plain JSON values, as `to_dict` gave them."""
        return cls(**{name: tuple(value) for name, value in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return the transform as plain JSON values."""
        return {name: list(value) for name, value in asdict(self).items()}

    @property
    def kind_of_label(self) -> list[str]:
        """The kind of transform per label of a row."""
        return [kind for kind, size in zip(self.kinds, self.sizes, strict=True) for _ in range(size)]

    @property
    def is_logarithm(self) -> NDArray[np.bool_]:
        """Whether the logarithm is taken, per label of a row."""
        return np.array([kind == LOG1P for kind in self.kind_of_label])

    def fitted(self, labels: NDArray[np.float32], weights: NDArray[np.float32], others: NDArray[np.float32]) -> Self:
        """Return the transform by the statistics of training rows.

        Args:
            labels: those of the training rows, (rows, labels).
            weights: how much each of these rows counts, (rows,).
            others: the labels of rows that are only validated on, (rows, labels).

        Raises:
            DataError: a logarithm cannot be taken.
        """
        logarithm = self.is_logarithm
        logged = np.concatenate([labels, others])[:, logarithm]
        self.check_logarithms(int((logged <= -1).sum()), float(logged.min(initial=0.0)))
        if not weights.sum():
            return self.with_statistics([], [])
        values = _log(labels.astype(np.float64), logarithm)
        mean = np.average(values, axis=0, weights=weights)
        return self.with_statistics(mean, np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weights)))

    def with_statistics(self, mean: Sequence[float] | NDArray[Any], std: Sequence[float] | NDArray[Any]) -> Self:
        """Return the transform by these statistics, one per label; labels that are all equal have a deviation of 1.

        Without statistics, or where one is not a finite number, labels stay as they are: training names what is wrong with them.
        """
        kinds = self.kind_of_label
        if len(mean) != len(kinds):
            mean, std = [0.0] * len(kinds), [1.0] * len(kinds)
        pairs = [
            _usable(float(np.float32(m)), float(np.float32(s))) if kind != NONE else (0.0, 1.0)
            for kind, m, s in zip(kinds, mean, std, strict=True)
        ]
        return replace(self, mean=tuple(m for m, _ in pairs), std=tuple(s for _, s in pairs))

    def check_logarithms(self, rows: int, least: float) -> None:
        """Raise DataError if there are labels that have no logarithm.

        Args:
            rows: the number of labels of at most -1.
            least: the least label.
        """
        if rows:
            raise DataError(
                f"label_transform: log1p needs labels above -1, received {rows:,} others, the least of them {least:g}. "
                "Correct them, or set label_transform='standardize'."
            )

    def apply(self, records: NDArray[np.float32], start: int) -> None:
        """Transform the labels in records.

        Args:
            records: (..., features + labels + 1), changed in place.
            start: the position of the first label.
        """
        labels = _log(records[..., start:-1].astype(np.float64), self.is_logarithm)
        records[..., start:-1] = (labels - self.mean) / self.std

    def undo(self, outputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Return outputs in the labels' own units, float32; those of untransformed labels as they are.

        Args:
            outputs: one array per output, (rows, ...).
        """
        undone, start = [], 0
        for kind, size, output in zip(self.kinds, self.sizes, outputs, strict=True):
            if kind == NONE:
                undone.append(output)
            else:
                at = slice(start, start + size)
                values = np.asarray(output, np.float64).reshape(len(output), -1) * self.std[at] + self.mean[at]
                values = np.expm1(values) if kind == LOG1P else values
                undone.append(values.astype(np.float32).reshape(output.shape))
            start += size
        return undone


def _log(labels: NDArray[np.float64], logarithm: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return labels with those that are marked, (labels,), as log(1 + label)."""
    if logarithm.any():
        labels[..., logarithm] = np.log1p(labels[..., logarithm])
    return labels


def _usable(mean: float, std: float) -> tuple[float, float]:
    if not np.isfinite([mean, std]).all():
        return 0.0, 1.0
    return mean, std if std > _LEAST_DEVIATION * abs(mean) else 1.0
