"""The training report: one self-contained HTML page, drawn by matplotlib."""

from __future__ import annotations

import base64
import html
import io
import json
from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.manifest import Manifest
from airflow_provider_distkeras.contract.specs import TrainSpec
from airflow_provider_distkeras.ml.agenda import Cell
from airflow_provider_distkeras.ml.search import SearchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: How many of a column's texts are named.
_TOP = 3

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --dim: #5d6b7e; --line: #d9dfe7; --card: #f6f8fa; --accent: #2563c9; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --dim: #9aa7b8; --line: #333c48; --card: #1b2129; --accent: #7fb0ff; }
  body { background: #12161c; } figure img { filter: invert(0.9) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { color: var(--dim); margin: .25rem 0; overflow-wrap: anywhere; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); gap: .75rem; margin: 1.25rem 0; padding: 0; }
.facts div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; }
.facts dt { color: var(--dim); font-size: .85rem; } .facts dd { margin: 0; font-size: 1.25rem; font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .95rem; }
th, td { text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--dim); font-weight: 500; }
tr.best td { color: var(--accent); font-weight: 600; }
figure { margin: 0; } figure img { width: 100%; height: auto; }
pre { overflow-x: auto; background: var(--card); padding: .75rem; }
"""


def render(found: SearchResult, spec: TrainSpec, prepared: Manifest) -> str:
    """The page.

    Args:
        found: the search's result.
        spec: what was asked for.
        prepared: what the preprocess task said of the dataset.
    """
    rows, columns = prepared.result["rows"], prepared.result["feature_columns"]
    metric, summary = spec.metric_name, found.summary
    facts = {
        f"{metric}, mean of {spec.num_folds} folds": _spread(found.best, metric),
        **(
            {f"{metric}, on rows set aside": f"{found.tested.metrics[metric]:.4f}"}
            if found.tested and not found.tested.error
            else {}
        ),
        "rows": f"{rows:,}",
        "columns": str(len(columns)),
        "cells searched": str(len(found.cells)),
        "trainer": f"{spec.trainer}, {len(summary.workers)} workers",
        "training speed": f"{summary.samples_per_second:,.0f} rows/s",
    }
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Training report</title><style>{_STYLE}</style></head><body>
<h1>Training report</h1>
<p>Trained on {_text(spec.dataset_path)}</p>
<dl class="facts">{"".join(f"<div><dt>{_text(k)}</dt><dd>{_text(v)}</dd></div>" for k, v in facts.items())}</dl>
<h2>{_text(metric)} per cell, over {spec.num_folds} folds</h2>
{_figure(_draw_cells(found, metric))}
<div class="scroll">{_cells_table(found, metric)}</div>
<h2>Training loss of the refit, per epoch</h2>
{_figure(_draw_loss(found))}
<h2>Best parameters</h2>
<div class="scroll">{_table([[name, _json(value)] for name, value in sorted(found.best_params.items())], ["name", "value"])}</div>
<h2>Columns of the dataset</h2>
<div class="scroll">{_profile(prepared.details.get("profile", {}))}</div>
<h2>What was asked for</h2><pre>{_text(json.dumps(spec.to_dict(), indent=2))}</pre>
</body></html>
"""


def _plot_cells(axes: Axes, found: SearchResult, metric: str) -> None:
    """Draw the metric of every cell, the best on top, with its standard deviation over the folds."""
    ended = sorted((cell for cell in found.cells if cell.mean(metric) is not None), key=lambda cell: cell is found.best)
    colors = ["#2563c9" if cell is found.best else "#9db4d6" for cell in ended]
    means, stds = [cell.mean(metric) or 0.0 for cell in ended], [cell.std(metric) or 0.0 for cell in ended]
    axes.barh([_name(cell, found) for cell in ended], means, xerr=stds, color=colors, capsize=3)
    axes.set_xlabel(metric)


def _plot_loss(axes: Axes, found: SearchResult) -> None:
    """Draw the training loss of the refit over its epochs."""
    loss = found.summary.loss
    axes.plot(range(1, len(loss) + 1), loss, marker="o", color="#2563c9")
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"loss ({found.best_params.get('loss', 'mse')})")
    axes.set_yscale("log" if min(loss) > 0 else "linear")


def _draw_cells(found: SearchResult, metric: str) -> Figure:
    figure = _new_figure(1.0 + 0.45 * len(found.cells))
    _plot_cells(figure.subplots(), found, metric)
    return figure


def _draw_loss(found: SearchResult) -> Figure:
    figure = _new_figure(3.2)
    _plot_loss(figure.subplots(), found)
    return figure


def _new_figure(height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(9, height), layout="constrained")


def _figure(figure: Figure) -> str:
    svg = io.StringIO()
    figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    data = base64.b64encode(svg.getvalue().encode()).decode()
    return f'<figure><img alt="" src="data:image/svg+xml;base64,{data}"></figure>'


def _cells_table(found: SearchResult, metric: str) -> str:
    lines = []
    for cell in found.cells:
        folds = ", ".join("-" if value is None else f"{value:.4f}" for value in cell.values(metric))
        said = [_name(cell, found), _spread(cell, metric), folds, f"{sum(o.seconds for o in cell.outcomes.values()):.1f} s"]
        columns = "".join(f"<td>{_text(value)}</td>" for value in said)
        lines.append(f'<tr class="{"best" if cell is found.best else ""}">{columns}</tr>')
    header = "".join(f"<th>{_text(name)}</th>" for name in ("cell", f"{metric}, mean ± std", "per fold", "trained for"))
    return f"<table><tr>{header}</tr>{''.join(lines)}</table>"


def _spread(cell: Cell, metric: str) -> str:
    """A metric over the folds, or why there is none."""
    mean, std = cell.mean(metric), cell.std(metric)
    return cell.error or "not ended" if mean is None else f"{mean:.4f} ± {std:.4f}"


def _profile(profile: dict[str, dict[str, Any]]) -> str:
    """What went in, a column of the files in a row."""
    header = ["column", "holds", "values", "missing", "mean", "std", "min", "median", "max", "most frequent"]
    rows = []
    for name, column in profile.items():
        numbers = [column.get(key) for key in ("mean", "std", "min")]
        numbers += [column.get("quantiles", {}).get("0.5"), column.get("max")]
        top = ", ".join(f"{text} ({count:,})" for text, count in column.get("top", [])[:_TOP])
        counts = [f"{column['count']:,}", f"{column['missing']:,}"]
        rows.append([name, column["kind"], *counts, *map(_number, numbers), top])
    return _table(rows, header)


def _number(value: float | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.4g}"


def _table(rows: list[list[str]], header: list[str]) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{_text(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _name(cell: Cell, found: SearchResult) -> str:
    """What sets a cell apart from the others."""
    varied = {name: value for name, value in cell.params.items() if any(other.params.get(name) != value for other in found.cells)}
    return ", ".join(f"{name} = {_json(value)}" for name, value in varied.items()) or "the one cell"


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    return html.escape(value)
