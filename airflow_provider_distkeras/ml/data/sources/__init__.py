"""Kinds of input: the interface `Source`, a file or more per kind, and their registry."""

from __future__ import annotations

from pyspark.sql import SparkSession

from airflow_provider_distkeras.contract.specs import CsvSpec
from airflow_provider_distkeras.ml.data.sources.base import Source
from airflow_provider_distkeras.ml.data.sources.csv_source import CsvSource

#: The class per kind of input, by the name that `input_format` has for it.
SOURCES: dict[str, type[Source]] = {"csv": CsvSource}


def open_source(spark: SparkSession, spec: CsvSpec) -> Source:
    """Find the input of a spec and read its columns and first rows. Raise DataError if it is unusable."""
    return SOURCES[getattr(spec, "input_format", None) or "csv"].open(spark, spec)
