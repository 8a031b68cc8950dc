"""A human sees how a new model scores held-out rows, and approves before it may become the champion.

Shows: the usual three tasks as one group (`csv_to_scores_group`), then Airflow's own ApprovalOperator, then the promotion.
The run waits without a worker; answer it in the UI under Required Actions. Rejected, or not answered in a week, the promotion is
skipped. Approved, the model still has to beat the present champion. Set: the Params below.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Asset, Param

from airflow_provider_distkeras.operators import DistKerasPromoteOperator, csv_to_scores_group

DATA = os.environ.get("DISTKERAS_DEMO_DATA", "/data/bikes")
TEXTS: dict[str, Any] = {"type": ["array", "null"], "items": {"type": "string"}}  # null: the form may leave it empty

with DAG(
    "approval",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    render_template_as_native_obj=True,
    tags=["distkeras"],
    doc_md=__doc__,
    params={
        "input_path": Param(f"{DATA}/train/*.csv", title="Training files"),
        "held_out_path": Param(f"{DATA}/new/*.csv", title="Files with labels to judge the model on"),
        "label_column": Param("rentals", title="Column to predict"),
        "excluded_columns": Param(["id", "timestamp"], title="Columns to leave out", **TEXTS),
        "categorical_columns": Param(["weather"], title="Columns to one-hot encode", **TEXTS),
        "num_epoch": Param(15, type="integer", minimum=1, title="Epochs"),
    },
):
    tasks = csv_to_scores_group(
        "challenger",
        input_path="{{ params.input_path }}",
        new_path="{{ params.held_out_path }}",
        prepare={
            "columns_renamed": "{{ {params.label_column: 'label'} }}",
            "excluded_columns": "{{ params.excluded_columns }}",
            "categorical_columns": "{{ params.categorical_columns }}",
            "missing": "mean",
            "scaling": "standard",
            "num_workers": 2,
        },
        train={
            "trainer_params": {"num_workers": 2, "batch_size": 64, "num_epoch": "{{ params.num_epoch }}"},
            "hyperparameters": {"layer_dims": [None, 64, 32, 1], "optimizer": "adam"},
            "param_grid": {"learning_rate": [0.01]},
            "num_folds": 2,
        },
    )
    approved = ApprovalOperator(
        task_id="approve",
        subject="Should this model become the champion of bikes, if it beats the present one?",
        body=(
            "On rows that it was not trained on:\n\n"
            "{% for name, value in ti.xcom_pull(task_ids='challenger.score', key='metrics').items() %}"
            "- {{ name }} {{ '%.4f' % value }}\n{% endfor %}\n"
            "Model: {{ ti.xcom_pull(task_ids='challenger.train', key='model_path') }}"
        ),
        defaults="Reject",
        response_timeout=timedelta(days=7),
    )
    promoted = DistKerasPromoteOperator(
        task_id="promote",
        champion="bikes",
        model_path=tasks.trained.output["model_path"],
        input_path="{{ params.held_out_path }}",
        outlets=[Asset("bikes_champion")],
    )
    tasks.group >> approved >> promoted
