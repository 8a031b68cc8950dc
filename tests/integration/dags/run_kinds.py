"""The same task in DAGs that run in different ways, without any date."""

import os
from datetime import datetime

from airflow.sdk import DAG, Asset, CronPartitionTimetable

from airflow_provider_distkeras.operators import DistKerasPreprocessOperator

ARGUMENTS = {"task_id": "prepare", "columns_renamed": {"rentals": "label"}}
INPUT_PATH = f"{os.environ['DISTKERAS_DEMO_DATA']}/new/*.csv"
DATED = {"start_date": datetime(2026, 1, 1), "catchup": False}
PREPARED = Asset("prepared")

with DAG("kinds_dated", schedule="@monthly", **DATED):
    DistKerasPreprocessOperator(**ARGUMENTS, input_path=INPUT_PATH, outlets=[PREPARED])

with DAG("kinds_partitioned", schedule=CronPartitionTimetable("@monthly", timezone="UTC"), **DATED):
    DistKerasPreprocessOperator(**ARGUMENTS, input_path=INPUT_PATH)

with DAG("kinds_on_asset", schedule=[PREPARED]):
    DistKerasPreprocessOperator(**ARGUMENTS, input_path=INPUT_PATH)

with DAG("kinds_mapped", schedule=None):
    DistKerasPreprocessOperator.partial(**ARGUMENTS).expand(input_path=[INPUT_PATH] * 2)
