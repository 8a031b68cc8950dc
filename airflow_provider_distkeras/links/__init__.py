"""Links from a task to pages about its job."""

from __future__ import annotations

from airflow_provider_distkeras.links.spark import HistoryServerLink as HistoryServerLink
from airflow_provider_distkeras.links.spark import SparkUILink as SparkUILink
from airflow_provider_distkeras.links.training_report import TrainingReportLink as TrainingReportLink
