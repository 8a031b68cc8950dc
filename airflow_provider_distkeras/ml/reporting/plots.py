"""The figures of a training report, drawn by matplotlib."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.ml.network.metrics import cumulative_positives
from airflow_provider_distkeras.ml.reporting.formatting import format_value, varied_params
from airflow_provider_distkeras.ml.tuning.trial import Trial
from airflow_provider_distkeras.training.summary import TrainingSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BEST, _OTHER, _LINE = "#2563c9", "#9db4d6", "#5d6b7e"
#: The most trials that have a row of their own, the best of them.
_MAX_ROWS = 30
#: Inches: the width of the page, and half of it.
WIDE, _HALF = 9.0, 4.5
#: Longer labels, in characters, need a wide figure.
_MAX_SHORT_LABEL = 24
#: The box that sets a text apart from the lines behind it.
_BOX = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
#: The most characters of a text of the data that are drawn.
_MAX_TEXT = 48
#: The most trials that have a line of their own, the best of them.
_MAX_LINES = 300
#: Intervals of probability in a calibration curve.
_BINS = 10

#: Rows that a network was measured on: the label, then its prediction; of classes, the class number, then the probabilities.
Sample = NDArray[np.float64]


def metric_by_trial(ranked: Sequence[Trial], metric: str, names: Sequence[str]) -> Figure:
    """Draw the metric of the best trials with its standard deviation over the folds, the best on top.

    Args:
        ranked: trials that have ended, the best first.
        metric: the metric's name.
        names: the parameters that vary.
    """
    shown = ranked[:_MAX_ROWS]
    labels = [_literal(", ".join(format_value(trial.params.get(name)) for name in names)) for trial in shown]
    axes = _axes(1.0 + 0.3 * len(shown), _HALF if max(map(len, labels)) < _MAX_SHORT_LABEL else WIDE)
    for place, trial in enumerate(shown):
        color = _BEST if place == 0 else _OTHER
        axes.errorbar(trial.mean(metric) or 0.0, place, xerr=trial.std(metric) or 0.0, fmt="o", color=color, capsize=3)
    axes.set_yticks(range(len(shown)), labels)
    axes.set_title(_literal(", ".join(names)) or "the one trial", fontsize="medium", loc="left")
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.grid(axis="x", linewidth=0.4)
    axes.set_xlabel(f"{metric}, mean ± std over the folds")
    return _figure_of(axes)


def parallel_coordinates(ranked: Sequence[Trial], metric: str) -> Figure | None:
    """Draw a line per trial through its parameters, coloured by the metric; None if fewer than two parameters vary.

    Args:
        ranked: trials that have ended, the best first.
        metric: the metric's name.
    """
    shown = ranked[:_MAX_LINES]
    scales = {name: _Scale([trial.params.get(name) for trial in shown]) for name in varied_params(shown)}
    if len(scales) < 2 or len(shown) < 2:
        return None
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    axes = _axes(3.6)
    places = range(len(scales))
    means = [trial.mean(metric) or 0.0 for trial in shown]
    scale_of_colors = Normalize(min(means), max(means))
    colors = colormaps["viridis"](scale_of_colors(np.array(means)))
    for rank, trial in reversed(list(enumerate(shown))):
        # A shift by rank separates lines through the same values.
        heights = [scale.height(trial.params.get(name)) for name, scale in scales.items()]
        shift = 0.05 * (rank / max(len(shown) - 1, 1) - 0.5)
        axes.plot(places, [height + shift for height in heights], color=colors[rank], linewidth=2.6 if rank == 0 else 1.2)
    _figure_of(axes).colorbar(ScalarMappable(scale_of_colors, "viridis"), ax=axes, label=metric, pad=0.02)
    for place, scale in zip(places, scales.values(), strict=True):
        axes.axvline(place, color=_LINE, linewidth=0.8)
        for height, text in scale.ticks():
            axes.annotate(
                _literal(text),
                (place, height),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize="small",
                bbox=_BOX,
            )
    axes.set_xticks(list(places), [_literal(name) for name in scales])
    axes.set_yticks([])
    axes.set_ylim(-0.06, 1.06)
    axes.set_xlim(-0.1, len(scales) - 0.6)
    axes.set_title(f"Best {metric}: the thick line", fontsize="medium")
    return _figure_of(axes)


def learning_curves(best: Trial, refit: TrainingSummary, loss: str) -> Figure:
    """Draw the loss per epoch of the best trial in every fold, and of the refit on all rows."""
    from matplotlib.ticker import MaxNLocator

    axes = _axes(3.4, _HALF)
    for number, fold in sorted(best.results.items()):
        _curve(axes, fold.history.get("loss", []), f"fold {number}", color=_OTHER, linewidth=1.0)
    _curve(axes, refit.history["loss"], "all rows", color=_BEST, linewidth=2.0)
    _curve(axes, refit.history.get("val_loss", []), "all rows, on validation rows", color=_BEST, linestyle="--")
    scale = "log" if min(refit.history["loss"]) > 0 else "linear"
    axes.set(xlabel="epoch", ylabel=f"loss ({_literal(loss)}){refit.loss_unit}", yscale=scale)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize="small")
    return _figure_of(axes)


def predictions(sample: Sample) -> Figure:
    """Draw predicted against actual values.

    Args:
        sample: (rows, 2), labels and predictions.
    """
    actual, predicted = sample.T
    axes = _scatter(actual, predicted, xlabel="actual", ylabel="predicted", title="Predicted against actual")
    ends = [min(actual.min(), predicted.min()), max(actual.max(), predicted.max())]
    axes.plot(ends, ends, color=_LINE, linewidth=0.8, zorder=0)
    return _figure_of(axes)


def residuals(sample: Sample) -> Figure:
    """Draw the differences of actual and predicted values.

    Args:
        sample: (rows, 2), labels and predictions.
    """
    actual, predicted = sample.T
    axes = _scatter(predicted, actual - predicted, xlabel="predicted", ylabel="actual - predicted", title="Residuals")
    axes.axhline(0, color=_LINE, linewidth=0.8, zorder=0)
    return _figure_of(axes)


def confusion(sample: Sample, classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix.

    Args:
        sample: (rows, 1 + classes), class numbers and probabilities.
        classes: the names of the classes.
    """
    actual, predicted = sample[:, 0].astype(int), sample[:, 1:].argmax(axis=1)
    count = max(len(classes), actual.max() + 1, predicted.max() + 1)
    matrix = np.zeros((count, count), int)
    np.add.at(matrix, (actual, predicted), 1)
    names = [_literal(classes[number]) if number < len(classes) else str(number) for number in range(count)]
    fits_half = count <= 6 and max(map(len, names)) < _MAX_SHORT_LABEL
    axes = _axes(3.8, _HALF) if fits_half else _axes(min(2.2 + 0.4 * max(count, 6), WIDE))
    axes.imshow(matrix, cmap="Blues", vmin=0)
    if count <= 12:
        for (row, column), number in np.ndenumerate(matrix):
            axes.text(column, row, str(number), ha="center", va="center", color="white" if number > matrix.max() / 2 else "black")
    axes.set_xticks(range(count), names, rotation=0 if fits_half else 45, ha="center" if fits_half else "right")
    axes.set_yticks(range(count), names)
    axes.set(xlabel="predicted", ylabel="actual")
    return _figure_of(axes)


def roc(sample: Sample) -> Figure:
    """Draw the ROC curve, true against false positives, of the second of two classes.

    Args:
        sample: (rows, 3), class numbers and probabilities.
    """
    positives, negatives = cumulative_positives(sample[:, 0], sample[:, 2])
    axes = _axes(3.8, _HALF)
    axes.plot([0, 1], [0, 1], color=_LINE, linewidth=0.8)
    axes.plot(*(np.append(0.0, counts / max(counts[-1], 1.0)) for counts in (negatives, positives)), color=_BEST)
    axes.set(xlabel="false positives", ylabel="true positives", title="ROC")
    return _figure_of(axes)


def calibration(sample: Sample) -> Figure:
    """Draw how often the second of two classes was true by its predicted probability; larger points stand for more rows.

    Args:
        sample: (rows, 3), class numbers and probabilities.
    """
    actual, predicted = sample[:, 0], sample[:, 2]
    axes = _axes(3.8, _HALF)
    axes.plot([0, 1], [0, 1], color=_LINE, linewidth=0.8)
    bins = np.minimum((predicted * _BINS).astype(int), _BINS - 1)
    rows = np.bincount(bins, minlength=_BINS)
    filled = rows > 0
    mean, share = (np.bincount(bins, values, _BINS)[filled] / rows[filled] for values in (predicted, actual == 1))
    axes.plot(mean, share, color=_BEST, linewidth=0.8)
    axes.scatter(mean, share, s=15 + 120 * rows[filled] / rows.max(), color=_BEST)
    axes.set(xlabel="predicted probability", ylabel="share of true cases", title="Calibration")
    return _figure_of(axes)


class _Scale:
    """The places of a parameter's values between 0 and 1: numbers by size, others in turn."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
        distinct = {json.dumps(value, sort_keys=True): value for value in values}
        self._values = sorted(distinct.values()) if self._numeric else [distinct[key] for key in sorted(distinct)]
        self._log = self._numeric and self._values[0] > 0 and self._values[-1] / self._values[0] > 20

    def height(self, value: Any) -> float:
        """Return the place of a value."""
        if not self._numeric:
            return self._values.index(value) / max(len(self._values) - 1, 1)
        low, high = self._size(self._values[0]), self._size(self._values[-1])
        return (self._size(value) - low) / (high - low or 1.0)

    def ticks(self) -> list[tuple[float, str]]:
        """Return values to label with their places: all, or the first and the last of many."""
        shown = self._values if len(self._values) <= 6 else [self._values[0], self._values[-1]]
        return [(self.height(value), format_value(value)) for value in shown]

    def _size(self, value: float) -> float:
        return math.log(value) if self._log else value


def _literal(text: str) -> str:
    """Return a text that matplotlib draws as it stands: no mathematics between dollars, one line, of bounded length."""
    shown = text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…"
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in shown).replace("$", r"\$")


def _curve(axes: Axes, values: Sequence[float], label: str, **style: Any) -> None:
    if values:
        axes.plot(range(1, len(values) + 1), values, label=label, **style)


def _scatter(x: NDArray[np.float64], y: NDArray[np.float64], **labels: str) -> Axes:
    """Draw a point per row."""
    axes = _axes(3.8, _HALF)
    axes.scatter(x, y, s=9, alpha=0.5, color=_BEST, linewidths=0)
    axes.set(**labels)
    return axes


def _axes(height: float, width: float = WIDE) -> Axes:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").subplots()


def _figure_of(axes: Axes) -> Figure:
    return axes.figure  # type: ignore[return-value]
