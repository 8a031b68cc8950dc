"""The values that fields of specs may take."""

from __future__ import annotations

BACKENDS = ("tensorflow", "jax", "torch")
MISSING = ("fail", "mean", "median", "indicator", "drop")
#: The parts of a column of times, each a feature.
CALENDAR_PARTS = ("year", "quarter", "month", "week", "yearday", "day", "weekday", "hour", "minute", "second")
UNSEEN = ("ignore", "quarantine")
BAD_LINES = ("fail", "quarantine", "drop")
SCALINGS = ("standard", "minmax", "robust", "log", "quantile", "none")
SEARCHES = ("grid", "random", "optuna")
IF_EXISTS = ("overwrite", "reuse", "fail")
#: Per format of input, how its files' names end; files of any other name are CSV.
INPUT_FORMATS: dict[str, tuple[str, ...]] = {"csv": (), "parquet": (".parquet", ".parq")}
OUTPUT_FORMATS = ("parquet", "csv", "json")

#: Per score of a row, the column it is written to.
SCORES = {
    "prediction": "prediction",
    "probability": "probability",
    "label": "prediction_label",
    "raw": "rawPrediction",
    "std": "prediction_std",
}
