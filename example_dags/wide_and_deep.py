"""Thousands of categories, such as users and articles, as numbers for Embeddings in a network of one's own.

Shows: `categorical_encoding`, which numbers categories; a network with an input per column, in a file that travels to the
cluster; trials measured once, on the rows of the last days, instead of on folds. Set: the Params below.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param

from airflow_provider_distkeras.operators import csv_to_scores_group

DATA = os.environ.get("DISTKERAS_DEMO_DATA", "/data/ratings")
NETWORK = str(Path(__file__).parent / "networks" / "wide_and_deep_network.py")
TEXTS: dict[str, Any] = {"type": ["array", "null"], "items": {"type": "string"}}  # null: the form may leave it empty

with DAG(
    "wide_and_deep",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    render_template_as_native_obj=True,
    tags=["distkeras"],
    doc_md=__doc__,
    params={
        "input_path": Param(f"{DATA}/train/*.csv", title="Training files"),
        "new_path": Param(f"{DATA}/new/*.csv", title="Files to score"),
        "label_column": Param("rating", title="Column to predict"),
        "time_column": Param("day", title="Column to order rows by"),
        "excluded_columns": Param([], title="Columns to leave out", **TEXTS),
        "categories": Param({"user": "index", "article": {"hash": 10_000}}, type="object", title="Columns of categories"),
        "num_epoch": Param(10, type="integer", minimum=1, title="Epochs"),
    },
):
    csv_to_scores_group(
        "ratings",
        input_path="{{ params.input_path }}",
        new_path="{{ params.new_path }}",
        prepare={
            "columns_renamed": "{{ {params.label_column: 'label'} }}",
            "excluded_columns": "{{ params.excluded_columns }}",
            "categorical_encoding": "{{ params.categories }}",
            "time_col": "{{ params.time_column }}",
            "scaling": "standard",
        },
        train={
            "trainer_params": {"num_workers": 2, "batch_size": 64, "num_epoch": "{{ params.num_epoch }}"},
            "hyperparameters": {"network": "wide_and_deep_network:build", "optimizer": "adam", "lr_schedule": "cosine"},
            "param_grid": {"learning_rate": [0.01, 0.003]},
            "num_folds": 1,
            "test_share": 0.2,
        },
        py_files=NETWORK,
    )
