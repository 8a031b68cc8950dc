"""Prepared datasets made by hand: raw columns, their preparation by NumPy, and the same by the statistics of some rows."""

import numpy as np
import pyarrow as pa

#: name, kind, width, fill
COLUMNS = (("a", "number", 1, "mean"), ("b", "number", 1, "median"), ("c", "number", 1, None), ("a?", "indicator", 1, None),
           ("k", "category", 3, None), ("h", "hashed", 2, None), ("v", "array", 2, None))  # fmt: skip


def layout():
    spans, start = [], 0
    for column, kind, width, fill in COLUMNS:
        spans.append({"column": column, "kind": kind, "start": start, "stop": start + width, "fill": fill})
        start += width
    return spans


def raw(rows, seed=0):
    """Return raw features, (rows, 11), NaN where missing; the third category only in every seventh row."""
    random = np.random.default_rng(seed)
    a, b, c = random.normal(5, 3, rows), random.exponential(2, rows), random.normal(0, 100, rows)
    a[::5] = np.nan
    b[::4] = np.nan
    kind = random.integers(0, 2, rows)
    kind[::7] = 2
    hashed, vector = random.normal(size=(rows, 2)), random.normal([1, 50], [2, 5], (rows, 2))
    return np.column_stack([a, b, c, np.isnan(a), np.eye(3)[kind], hashed, vector])


def prepare(values, scaling, fitted_on):
    """Return raw features as a preprocess job prepares them by the statistics of the rows `fitted_on`."""
    prepared = values.copy()
    for span in layout():
        for at in range(span["start"], span["stop"]):
            present = values[fitted_on, at]
            present = np.sort(present[~np.isnan(present)])
            if span["fill"]:
                fill = present.mean() if span["fill"] == "mean" else present[(len(present) - 1) // 2]
                prepared[np.isnan(prepared[:, at]), at] = fill
        at = slice(span["start"], span["stop"])
        if scaling and span["kind"] != "hashed":
            prepared[:, at] = _scaled(prepared[:, at], prepared[fitted_on, at], scaling, pooled=span["kind"] == "array")
        elif span["kind"] == "category":
            prepared[:, at] *= (prepared[fitted_on, at] != 0).any(axis=0)
    return prepared


def _scaled(values, present, scaling, pooled):
    axis = None if pooled else 0
    low, high = present.min(axis=axis), present.max(axis=axis)
    constant = low == high
    with np.errstate(all="ignore"):
        if scaling == "minmax":
            return np.where(constant, 0.5, (values - low) / (high - low))
        return np.where(constant, 0.0, (values - present.mean(axis=axis)) / present.std(axis=axis, ddof=1))


def filled(values):
    """Return per row the positions that a statistic fills in."""
    return [np.flatnonzero(np.isnan(row)).tolist() for row in values]


def lists(matrix):
    return pa.array(np.asarray(matrix, np.float32).tolist(), pa.list_(pa.float32()))
