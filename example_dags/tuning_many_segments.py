"""A model of its own for every segment, each with a search of its own: as many tasks as there are segments when the DAG runs.

Shows: dynamic task mapping, `.partial(...).expand(...)`, from files to models to a table of what was best where. What comes next
waits for all segments: where one fails, mend its files and clear it alone, and the others are not run again. Set: the Params
below; a segment is whatever files a path stands for, such as "s3a://bikes/city=*/*.csv". `max_active_tis_per_dag` keeps the
segments from taking the whole cluster at once.
"""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_distkeras.operators import DistKerasPreprocessOperator, DistKerasTrainOperator

DATA = os.environ.get("DISTKERAS_DEMO_DATA", "/data/bikes")
TEXTS: dict[str, Any] = {"type": ["array", "null"], "items": {"type": "string"}}  # null: the form may leave it empty
FILES: dict[str, Any] = {"type": "array", "items": {"type": "string"}, "minItems": 1}


@task
def segments(params: Any = None) -> list[str]:
    """The segments' files, a path each."""
    return list(params["segments"])


@task
def summarise(segments: Any, trained: Any) -> dict[str, Any]:
    """Per segment, what was best and how good it is over the folds."""
    return {
        segment: {"best_params": result["best_params"], "r2": result["metrics"]["r2"]["mean"]}
        for segment, result in zip(segments, trained, strict=True)
    }


with DAG(
    "tuning_many_segments",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    render_template_as_native_obj=True,
    tags=["distkeras"],
    doc_md=__doc__,
    params={
        "segments": Param([f"{DATA}/train/part-{number}.csv" for number in (1, 2, 3)], title="Files of each segment", **FILES),
        "label_column": Param("rentals", title="Column to predict"),
        "excluded_columns": Param(["id", "timestamp"], title="Columns to leave out", **TEXTS),
        "categorical_columns": Param(["weather"], title="Columns to one-hot encode", **TEXTS),
        "num_trials": Param(4, type="integer", minimum=1, title="Trials per segment"),
        "num_epoch": Param(15, type="integer", minimum=1, title="Epochs"),
    },
):
    paths = segments()
    prepared = DistKerasPreprocessOperator.partial(
        task_id="prepare",
        map_index_template="{{ task.input_path }}",
        max_active_tis_per_dag=2,
        columns_renamed="{{ {params.label_column: 'label'} }}",
        excluded_columns="{{ params.excluded_columns }}",
        categorical_columns="{{ params.categorical_columns }}",
        missing="mean",
        scaling="standard",
        num_workers=2,
    ).expand(input_path=paths)
    trained = DistKerasTrainOperator.partial(
        task_id="train",
        max_active_tis_per_dag=2,
        trainer_params={"num_workers": 2, "batch_size": 64, "num_epoch": "{{ params.num_epoch }}"},
        hyperparameters={"layer_dims": [None, 32, 1], "optimizer": "adam"},
        search="random",
        num_trials="{{ params.num_trials }}",
        param_distributions={"learning_rate": {"loguniform": [0.001, 0.03]}, "dropout_rate": {"uniform": [0.0, 0.3]}},
        metric="r2",
        num_folds=2,
    ).expand(dataset_path=prepared.output.map(lambda result: result["dataset_path"]))
    summarise(paths, trained.output)
