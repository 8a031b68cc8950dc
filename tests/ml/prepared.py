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
    """Raw features, (rows, 11), NaN where missing; the third category only in every seventh row."""
    random = np.random.default_rng(seed)
    a, b, c = random.normal(5, 3, rows), random.exponential(2, rows), random.normal(0, 100, rows)
    a[::5] = np.nan
    b[::4] = np.nan
    kind = random.integers(0, 2, rows)
    kind[::7] = 2
    hashed, vector = random.normal(size=(rows, 2)), random.normal([1, 50], [2, 5], (rows, 2))
    return np.column_stack([a, b, c, np.isnan(a), np.eye(3)[kind], hashed, vector])


def prepare(values, scaling, fitted_on):
    """What a preprocess job makes of raw features by the statistics of the rows `fitted_on`."""
    done = values.copy()
    for span in layout():
        for at in range(span["start"], span["stop"]):
            known = values[fitted_on, at]
            known = np.sort(known[~np.isnan(known)])
            if span["fill"]:
                fill = known.mean() if span["fill"] == "mean" else known[(len(known) - 1) // 2]
                done[np.isnan(done[:, at]), at] = fill
        at = slice(span["start"], span["stop"])
        if scaling and span["kind"] != "hashed":
            done[:, at] = _scaled(done[:, at], done[fitted_on, at], scaling, pooled=span["kind"] == "array")
        elif span["kind"] == "category":
            done[:, at] *= (done[fitted_on, at] != 0).any(axis=0)
    return done


def _scaled(values, known, scaling, pooled):
    axis = None if pooled else 0
    low, high = known.min(axis=axis), known.max(axis=axis)
    constant = low == high
    with np.errstate(all="ignore"):
        if scaling == "minmax":
            return np.where(constant, 0.5, (values - low) / (high - low))
        return np.where(constant, 0.0, (values - known.mean(axis=axis)) / known.std(axis=axis, ddof=1))


def filled(values):
    """Per row, the positions that a statistic filled in."""
    return [np.flatnonzero(np.isnan(row)).tolist() for row in values]


def lists(matrix):
    return pa.array(np.asarray(matrix, np.float32).tolist(), pa.list_(pa.float32()))
