"""A model retrained every month, which becomes the champion only if it beats the present one on the same held-out rows.

Shows: a schedule that any past month can be re-run for (Backfill in the UI), a gate by a metric, a champion stored under a
name, and an asset that is updated only when there is a new champion (see `score_on_new_model`). The run of a month starts when
the month is over. A backfill never replaces the champion of a newer month, and leaves months that are done as they are if it is
to reuse them. Set: the Params below, in the form or here. Held-out rows must not be among those to train on, and should be of
what the models are for: a model of one month that is judged by a whole year seldom beats the mean.
"""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

from airflow.sdk import DAG, Asset, Param
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_distkeras.operators import (
    DistKerasPreprocessOperator,
    DistKerasPromoteOperator,
    DistKerasTrainOperator,
)

DATA = os.environ.get("DISTKERAS_DEMO_DATA", "/data/bikes")
TEXTS: dict[str, Any] = {"type": ["array", "null"], "items": {"type": "string"}}  # null: the form may leave it empty
#: The files of the run's month. A run that was started without a logical date is about the month in which it was due.
INPUT_PATH = "{{ params.input_path.replace('{month}', (dag_run.logical_date or dag_run.run_after).strftime('%Y-%m')) }}"

with DAG(
    "monthly_retraining",
    schedule=CronDataIntervalTimetable("@monthly", timezone="UTC"),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=4,  # no more are offered in the form of a backfill
    render_template_as_native_obj=True,
    tags=["distkeras"],
    doc_md=__doc__,
    params={
        "input_path": Param(f"{DATA}/train/*.csv", title="Training files", description="{month} stands for the month: 2026-03."),
        "held_out_path": Param(f"{DATA}/new/*.csv", title="Files with labels that the models are compared on"),
        "label_column": Param("rentals", title="Column to predict"),
        "excluded_columns": Param(["id", "timestamp"], title="Columns to leave out", **TEXTS),
        "categorical_columns": Param(["weather"], title="Columns to one-hot encode", **TEXTS),
        "num_epoch": Param(15, type="integer", minimum=1, title="Epochs"),
        "if_exists": Param("overwrite", enum=["overwrite", "reuse", "fail"], title="Where a month has a result"),
        "margin": Param(0.0, type="number", minimum=0, title="A new champion's r2 must be better by more than"),
        "threshold": Param(0.0, type="number", title="A champion's r2 must be at least", description="0: as good as the mean."),
    },
    default_args={"if_exists": "{{ params.if_exists }}"},
):
    prepared = DistKerasPreprocessOperator(
        task_id="prepare",
        input_path=INPUT_PATH,
        columns_renamed="{{ {params.label_column: 'label'} }}",
        excluded_columns="{{ params.excluded_columns }}",
        categorical_columns="{{ params.categorical_columns }}",
        missing="mean",
        scaling="standard",
        num_workers=2,
    )
    trained = DistKerasTrainOperator(
        task_id="train",
        dataset_path=prepared.output["dataset_path"],
        trainer_params={"num_workers": 2, "batch_size": 64, "num_epoch": "{{ params.num_epoch }}"},
        hyperparameters={"layer_dims": [None, 64, 32, 1], "optimizer": "adam"},
        param_grid={"learning_rate": [0.01, 0.003]},
        metric="r2",
        num_folds=2,
    )
    DistKerasPromoteOperator(
        task_id="promote",
        champion="bikes",
        model_path=trained.output["model_path"],
        input_path="{{ params.held_out_path }}",
        metric="r2",
        metrics=["rmse"],
        margin="{{ params.margin }}",
        threshold="{{ params.threshold }}",
        outlets=[Asset("bikes_champion")],
        max_active_tis_per_dag=1,  # each month is compared with the champion that the one before it has left
    )
