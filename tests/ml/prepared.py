"""Prepared datasets made by hand: raw columns, their preparation by NumPy, and the same by the statistics of some rows."""

import numpy as np
import pyarrow as pa

#: name, kind, width, fill
COLUMNS = (("a", "number", 1, "mean"), ("b", "number", 1, "median"), ("c", "number", 1, None), ("a?", "indicator", 1, None),
           ("k", "category", 3, None), ("h", "hashed", 2, None), ("v", "array", 2, None))  # fmt: skip


def layout(scaling=None):
    """Return the layout; with `scaling` per column, spans have theirs."""
    spans, start = [], 0
    for column, kind, width, fill in COLUMNS:
        spans.append({"column": column, "kind": kind, "start": start, "stop": start + width, "fill": fill})
        if scaling and column in scaling:
            spans[-1]["scaling"] = scaling[column]
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
    """Return raw features as a preprocess job prepares them by the statistics of the rows `fitted_on`.

    `scaling` is a word or a dict by column. Logarithms and ranks are filled in after they are made.
    """
    prepared = values.copy()
    for span in layout():
        at, word = slice(span["start"], span["stop"]), scaling
        if isinstance(scaling, dict):
            word = scaling.get(span["column"])
        if word == "log":
            prepared[:, at] = np.sign(prepared[:, at]) * np.log1p(np.abs(prepared[:, at]))
        present = prepared[fitted_on, at]
        present = present[~np.isnan(present)] if span["kind"] == "number" else present
        if word == "quantile":
            prepared[:, at] = ranks(prepared[:, at], present)
        if span["fill"]:
            fill = present.mean() if span["fill"] == "mean" else quantile(present, 0.5)
            if word == "quantile":
                fill = 0.5 if span["fill"] == "mean" else ranks(fill, present)
            prepared[np.isnan(prepared)[:, at.start], at.start] = fill
        if word and word != "quantile" and span["kind"] != "hashed":
            pooled = span["kind"] == "array"
            prepared[:, at] = _scaled(prepared[:, at], prepared[fitted_on, at], word, pooled=pooled, present=present)
        elif span["kind"] == "category":
            prepared[:, at] *= (prepared[fitted_on, at] != 0).any(axis=0)
    return prepared


def quantile(values, share):
    """Return the least value that at least this share of the values does not exceed."""
    return np.quantile(values, share, method="inverted_cdf")


def ranks(values, among):
    """Return the mean of scikit-learn's QuantileTransformer from below and from above, which is what it takes for ties."""
    knots, shares = quantile(among, np.linspace(0, 1, 101)), np.linspace(0, 1, 101)
    mean = [shares[knots == knot].mean() for knot in np.unique(knots)]
    return np.interp(values, np.unique(knots), mean)


def _scaled(values, fitted_on, scaling, pooled, present):
    axis = None if pooled else 0
    low, high = fitted_on.min(axis=axis), fitted_on.max(axis=axis)
    constant = low == high
    middle, spread = fitted_on.mean(axis=axis), fitted_on.std(axis=axis, ddof=1)
    with np.errstate(all="ignore"):
        if scaling == "minmax":
            return np.where(constant, 0.5, (values - low) / (high - low))
        if scaling == "robust":
            first, middle, third = quantile(present.ravel(), [0.25, 0.5, 0.75])
            spread = third - first or spread
        return np.where(constant, 0.0, (values - middle) / spread)


def filled(values):
    """Return per row the positions that a statistic fills in."""
    return [np.flatnonzero(np.isnan(row)).tolist() for row in values]


def lists(matrix):
    return pa.array(np.asarray(matrix, np.float32).tolist(), pa.list_(pa.float32()))
