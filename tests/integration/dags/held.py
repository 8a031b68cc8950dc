"""Tasks whose jobs a test holds: one that waits in the triggerer, and one that waits itself."""

import os
from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_distkeras.operators import DistKerasPreprocessOperator

ARGUMENTS = {"task_id": "prepare", "input_path": os.environ["HELD_INPUT"], "retries": 2, "retry_delay": timedelta(seconds=1)}
MONTHLY = {"schedule": "@monthly", "start_date": datetime(2026, 1, 1), "catchup": False, "max_active_runs": 8}

with DAG("held_deferred", **MONTHLY):
    DistKerasPreprocessOperator(**ARGUMENTS, conn_id="yarn", deferrable=True, status_poll_interval=1)

with DAG("held_waiting", **MONTHLY):
    DistKerasPreprocessOperator(**ARGUMENTS)
