"""Kinds of input: one interface (`base.Source`), one file per format.

A format's file is named `<format>_source.py` and has a function `open_source` like the one here, for files of this format. A new
kind of input is such a file and its line in `contract.params.choices.INPUT_FORMATS`; `table.TableSource` is the base of those
that Spark itself reads.
"""

from __future__ import annotations

import importlib

from pyspark.sql import SparkSession

from airflow_provider_distkeras.contract.specs import InputSpec
from airflow_provider_distkeras.ml.data.sources.base import Source
from airflow_provider_distkeras.spark.storage import storage_for


def open_source(spark: SparkSession, spec: InputSpec) -> Source:
    """Find the input of a spec and read its columns and first rows. Raise DataError if it is unusable."""
    input_format = spec.format_in(storage_for(spark, spec.input_path[0]))
    source: Source = importlib.import_module(f"{__name__}.{input_format}_source").open_source(spark, spec)
    return source
