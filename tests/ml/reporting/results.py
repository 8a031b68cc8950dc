"""Made-up results of searches."""

from airflow_provider_distkeras.ml.tuning.search import SearchResult
from airflow_provider_distkeras.ml.tuning.trial import FoldResult, Trial
from airflow_provider_distkeras.training.summary import TrainingSummary


class Model:
    """The part of a model that a report reads."""

    summary = TrainingSummary(
        "ADAG", 40, 80, 2, {"loss": [1.0, 0.5]}, None, 2.0, 4, 8, 0.5, [3, 1],
        [{"worker": 0, "host": "h", "rows": 40, "epochs": [{"epoch": 0, "rows": 40, "seconds": 1.0, "loss": 1.0}]}],
    )  # fmt: skip


def make_result(trials, *, params=None, tested=None):
    return SearchResult(Model(), trials[0], trials, params or {"loss": "mse"}, True, tested)


def make_trial(r2, sample=(), history=None, **params):
    fold = lambda value: FoldResult({"r2": value, "rmse": 2 * value}, seconds=1.0, history=history or {}, sample=list(sample))  # noqa: E731
    return Trial(params, {0: fold(r2), 1: fold(r2 + 0.1)})
