"""CSV files in, a cross-validated Keras model, scores out: one run per day of data, each re-runnable for any past day.

Shows: the three tasks, one fed by the other, and a form in the UI for what they are to do, the network and the grid included.
Set: the Params below, in the form, here, or with
`airflow dags test csv_to_scores 2026-03-01 --conf '{"input_path": "/data/bikes/*.csv", "new_path": "/data/new/*.csv"}'`; the
Spark master is that of the connection `spark_default`. Once the DAG is unpaused, which the form does, too, the last day is run.
"""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

from airflow.sdk import DAG, Param

from airflow_provider_distkeras.operators import (
    DistKerasPreprocessOperator,
    DistKerasScoreOperator,
    DistKerasTrainOperator,
)

DATA = os.environ.get("DISTKERAS_DEMO_DATA", "/data/bikes")
SCALINGS = ["standard", "minmax", "robust", "log", "quantile"]
TEXTS: dict[str, Any] = {"type": ["array", "null"], "items": {"type": "string"}}  # null: the form may leave it empty
NUMBERS: dict[str, Any] = {"type": "array", "items": {"type": "number"}, "minItems": 1}
# The form offers arrays as JSON if their items have a type; else as lines of text.
LAYERS: dict[str, Any] = {"type": "array", "items": {"type": ["integer", "null"], "minimum": 1}, "minItems": 2}

with DAG(
    "csv_to_scores",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=2,
    render_template_as_native_obj=True,
    tags=["distkeras"],
    doc_md=__doc__,
    params={
        "input_path": Param(f"{DATA}/train/*.csv", title="Training files", section="Data"),
        "new_path": Param(f"{DATA}/new/*.csv", title="Files to score", section="Data"),
        "label_column": Param("rentals", title="Column to predict", section="Data"),
        "excluded_columns": Param(["id", "timestamp"], title="Columns to leave out", section="Data", **TEXTS),
        "categorical_columns": Param(["weather"], title="Columns to one-hot encode", section="Data", **TEXTS),
        "missing": Param("mean", enum=["fail", "mean", "drop"], title="Missing values", section="Data"),
        "scaling": Param("standard", type=["null", "string"], enum=[*SCALINGS, None], title="Scaling", section="Data"),
        "layer_dims": Param([None, 64, 32, 1], title="Units per layer (null: the features)", section="Network", **LAYERS),
        "learning_rates": Param([0.01, 0.003], title="Learning rates to try", section="Grid", **NUMBERS),
        "dropout_rates": Param([0.0], title="Dropout rates to try", section="Grid", **NUMBERS),
        "num_folds": Param(3, type="integer", minimum=2, title="Folds", section="Training"),
        "num_epoch": Param(15, type="integer", minimum=1, title="Epochs", section="Training"),
        "num_workers": Param(2, type="integer", minimum=1, title="Workers", section="Training"),
        "batch_size": Param(64, type="integer", minimum=1, title="Rows per step", section="Training"),
    },
):
    prepared = DistKerasPreprocessOperator(
        task_id="prepare",
        input_path="{{ params.input_path }}",
        columns_renamed="{{ {params.label_column: 'label'} }}",
        excluded_columns="{{ params.excluded_columns }}",
        categorical_columns="{{ params.categorical_columns }}",
        missing="{{ params.missing }}",
        scaling="{{ params.scaling }}",
        num_workers="{{ params.num_workers }}",
    )
    trained = DistKerasTrainOperator(
        task_id="train",
        dataset_path=prepared.output["dataset_path"],
        trainer="ADAG",
        trainer_params={
            "num_workers": "{{ params.num_workers }}",
            "batch_size": "{{ params.batch_size }}",
            "num_epoch": "{{ params.num_epoch }}",
        },
        hyperparameters={"layer_dims": "{{ params.layer_dims }}", "optimizer": "adam", "loss": "mse"},
        param_grid={"learning_rate": "{{ params.learning_rates }}", "dropout_rate": "{{ params.dropout_rates }}"},
        evaluator="regression",
        metric="r2",
        num_folds="{{ params.num_folds }}",
    )
    DistKerasScoreOperator(
        task_id="score",
        model_path=trained.output["model_path"],
        input_path="{{ params.new_path }}",
    )
