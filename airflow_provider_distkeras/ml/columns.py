"""Where pipelines that version 0.1 saved look for `SelectColumns`."""

from airflow_provider_distkeras.ml.data.select_columns import SelectColumns as SelectColumns
