"""What both tables of models show in their cells."""

from __future__ import annotations

import html
from urllib.parse import quote, urlencode

from airflow_provider_distkeras.plugins.models import ModelRecord


def period(key: str) -> str:
    """A period of data; midnight goes without saying."""
    return key.removesuffix("T000000Z")


def number(value: float | None) -> str:
    """A metric's value, as the training report writes it; very small and very large ones by their leading digits."""
    if value is None:
        return "-"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.4g}"


def spread(model: ModelRecord, metric: str) -> str:
    """A metric over the folds."""
    mean, std = model.measured(metric, "mean"), model.measured(metric, "std")
    return number(mean) if mean is None or std is None else f"{number(mean)} ± {number(std)}"


def report_link(model: ModelRecord) -> str:
    """A link to the model's training report, as HTML. It is relative, so it holds wherever Airflow is served."""
    query = {"run_id": model.run_id, "task_id": model.task_id, "map_index": model.map_index}
    address = f"../report/{quote(model.dag_id, safe='')}?{urlencode(query)}"
    return f'<a href="{html.escape(address)}">report</a>'
