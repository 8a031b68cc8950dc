"""New files scored with the champion, whenever there is a new one.

Shows: a DAG scheduled on an asset that `monthly_retraining` (or `approval`) updates, and a score task that asks for the champion
of a name instead of a path. It runs after a promotion only: a challenger that lost updates no asset. Set: the Param below; to run
by time as well, `schedule=AssetOrTimeSchedule(...)`.
"""

from __future__ import annotations

import os
from datetime import datetime

from airflow.sdk import DAG, Asset, Param

from airflow_provider_distkeras.operators import DistKerasScoreOperator

DATA = os.environ.get("DISTKERAS_DEMO_DATA", "/data/bikes")

with DAG(
    "score_on_new_model",
    schedule=[Asset("bikes_champion")],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["distkeras"],
    doc_md=__doc__,
    params={"new_path": Param(f"{DATA}/new/*.csv", title="Files to score")},
):
    DistKerasScoreOperator(
        task_id="score",
        champion="bikes",
        input_path="{{ params.new_path }}",
        outlets=[Asset("bikes_predictions")],
    )
