"""What Airflow discovers about this package. It is loaded in every Airflow process, so it imports nothing else."""

from __future__ import annotations

from typing import Any

from airflow_provider_distkeras import __version__

_OPTIONS = {
    "artifact_root": {
        "description": (
            "Where datasets, models, reports and predictions are written, unless an operator sets its own: "
            "a path or URI that both Airflow and Spark can read and write. If it is empty, local Spark "
            "masters use a folder distkeras in AIRFLOW_HOME; every other master needs it."
        ),
        "version_added": "0.1.0",
        "type": "string",
        "example": "s3a://my-bucket/distkeras",
        "default": "",
    },
    "readable_roots": {
        "description": (
            "Further artifact roots that the pages in Airflow's UI may read, and whose datasets and models any task may "
            "load, separated by commas: those of tasks that set an artifact_root of their own. It counts where the API "
            "server and the workers run."
        ),
        "version_added": "0.1.0",
        "type": "string",
        "example": "s3a://team-a/distkeras,/mnt/share/distkeras",
        "default": "",
    },
    "history_server": {
        "description": (
            "The address of Spark's History Server, to which each task then has a link. A Spark connection may "
            "name another one, as history-server in its extra."
        ),
        "version_added": "0.1.0",
        "type": "string",
        "example": "http://history.example.com:18080",
        "default": "",
    },
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's entry, under the keys of Airflow's provider_info schema."""
    return {
        "package-name": "airflow-provider-distkeras",
        "name": "Distkeras",
        "description": "Distributed, cross-validated Keras training on Spark, as Airflow operators.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": "Distkeras",
                "external-doc-url": "https://keras.io/",
                "tags": ["software"],
            }
        ],
        "operators": [
            {
                "integration-name": "Distkeras",
                "python-modules": ["airflow_provider_distkeras.operators"],
            }
        ],
        "triggers": [
            {
                "integration-name": "Distkeras",
                "python-modules": ["airflow_provider_distkeras.triggers.spark_application"],
            },
        ],
        "extra-links": [
            "airflow_provider_distkeras.links.spark.SparkUILink",
            "airflow_provider_distkeras.links.spark.HistoryServerLink",
            "airflow_provider_distkeras.links.training_report.TrainingReportLink",
        ],
        "config": {
            "distkeras": {
                "description": "Distributed Keras training on Spark.",
                "options": _OPTIONS,
            }
        },
    }
