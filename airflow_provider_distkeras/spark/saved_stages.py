"""The stages of a pipeline that Spark ML persistence has saved, loaded only if they are of known classes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pyspark.ml.pipeline import PipelineSharedReadWrite
from pyspark.ml.util import DefaultParamsReader

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.files.storage import Storage, is_hidden
from airflow_provider_distkeras.spark.storage import storage_for

if TYPE_CHECKING:
    from pyspark.ml import Transformer
    from pyspark.sql import SparkSession

#: Spark imports whatever class a stage's metadata name, and calls its method `load`.
_KNOWN_CLASS = re.compile(
    r"(org\.apache\.spark|pyspark)\.ml\.feature\.\w+|airflow_provider_distkeras\.ml\.(\w+\.)*(SelectColumns|DistKerasModel)"
)


def load_stages(spark: SparkSession, path: str) -> list[Transformer]:
    """Return the stages of a PipelineModel that a preprocess or train job has saved; of a stage that was saved alone, itself.

    Args:
        spark: the session.
        path: where it was saved.

    Raises:
        ArtifactError: there is none, or a stage of it is of a class that no job saves.
    """
    storage = storage_for(spark, path)
    uids = _metadata(storage, path)["paramMap"].get("stageUids")
    folders = [path]
    if uids is not None:
        folders = [PipelineSharedReadWrite.getStagePath(uid, i, len(uids), f"{path}/stages") for i, uid in enumerate(uids)]
    for folder in folders:
        name = _metadata(storage, folder)["class"]
        if not _KNOWN_CLASS.fullmatch(name):
            raise ArtifactError(f"{folder} is not loaded: expected a stage that a job saves, received one of the class {name!r}.")
    return [DefaultParamsReader.loadParamsInstance(folder, spark) for folder in folders]


def _metadata(storage: Storage, path: str) -> dict[str, Any]:
    """Return the metadata of what is saved at a path. Raises ArtifactError if there are none."""
    folder = f"{path}/metadata"
    parts = [name for name in storage.list_names(folder) if not is_hidden(name)]
    try:
        return dict(json.loads(b"".join(storage.read_bytes(f"{folder}/{part}") for part in parts)))
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"There is no saved pipeline or stage at {path}: its metadata cannot be read ({error}).") from error
