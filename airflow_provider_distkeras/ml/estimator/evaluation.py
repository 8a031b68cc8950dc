"""Metrics of DataFrames of predictions by the names of `contract.params`: by Spark ML's evaluators, or in this process."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.ml.evaluation import (
    BinaryClassificationEvaluator,
    Evaluator,
    MulticlassClassificationEvaluator,
    RegressionEvaluator,
)
from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import VectorUDT
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasLabelCol, HasPredictionCol, HasProbabilityCol, HasRawPredictionCol, HasWeightCol
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import choice, is_import_path
from airflow_provider_distkeras.contract.params.metrics import DIRECTIONS, EVALUATORS, check_metric, larger_is_better
from airflow_provider_distkeras.contract.params.objectives import check_judge
from airflow_provider_distkeras.ml.estimator.params import DistKerasParams
from airflow_provider_distkeras.ml.network.inference import OutputKind
from airflow_provider_distkeras.ml.network.metrics import Measurement, measure
from airflow_provider_distkeras.spark.imports import import_object

#: Per evaluator, Spark's class, the columns that it reads, and its metrics that are computed by it.
_SPARK: dict[str, tuple[type[Evaluator], tuple[str, ...], tuple[str, ...]]] = {
    "regression": (RegressionEvaluator, ("labelCol", "predictionCol"), ("r2", "rmse", "mse", "mae", "var")),
    "binary": (BinaryClassificationEvaluator, ("labelCol", "rawPredictionCol"), ("areaUnderROC", "areaUnderPR")),
    "multiclass": (
        MulticlassClassificationEvaluator, ("labelCol", "predictionCol", "probabilityCol"),
        ("f1", "accuracy", "weightedPrecision", "weightedRecall", "logLoss", "hammingLoss"),
    ),
}  # fmt: skip
#: Metrics that Spark computes for rows that count alike: its weighted r2 depends on the weights' scale, and is infinite for some.
_UNWEIGHTED_ONLY = ("r2",)
#: The evaluators' Params that name a metric or a column. Any other one changes how a metric is computed.
_NAMING_PARAMS = ("metricName", "labelCol", "predictionCol", "rawPredictionCol", "probabilityCol", "weightCol")
#: The most values, and the most rows, of the sample of predictions that a fit keeps for plots of its errors.
_SAMPLE_VALUES, _SAMPLE_ROWS = 3_000, 300


class MetricEvaluator(
    Evaluator, HasLabelCol, HasPredictionCol, HasProbabilityCol, HasRawPredictionCol, HasWeightCol,
    DefaultParamsReadable, DefaultParamsWritable,
):  # fmt: skip
    """Evaluates a metric of a name of `EVALUATORS`, or one of the user's own.

    Spark's evaluator computes what it can. The others are computed in this process, which collects the labels, the predictions
    and the weights of all rows.

    Several labels are judged together by the validators of this package, by the mean of each metric over them; `binary` is then
    for outputs that are a probability each.

    Args:
        evaluator: regression, binary or multiclass.
        metric: the evaluator's metric, by default its first; or an import path, 'package.module:name', of a function
            (labels, outputs, weights) -> float. It takes arrays: labels, (rows,); predictions, (rows,), or for classes their
            probabilities, (rows, classes); and weights, (rows,). Of several labels it takes (rows, labels), and the values of all
            outputs, (rows, values), both in the order of the outputs.
        direction: for a metric of the user's own, whether its "min" or "max" is best.
        **columns: labelCol, predictionCol, probabilityCol, rawPredictionCol, weightCol, as Spark's evaluators have them.

    Raises:
        SpecError: there is no such metric, or it cannot be imported.
    """

    __module__ = "airflow_provider_distkeras.ml"  # the public path, which Spark ML persistence writes

    evaluator: Param = Param(Params._dummy(), "evaluator", "regression, binary or multiclass.", TypeConverters.toString)
    metricName: Param = Param(Params._dummy(), "metricName", "The metric, as contract.params names it.", TypeConverters.toString)
    direction: Param = Param(Params._dummy(), "direction", "Of one's own metric, what is best.", TypeConverters.toString)

    def __init__(
        self, evaluator: str = "regression", metric: str | None = None, direction: str | None = None, **columns: str
    ) -> None:
        super().__init__()
        name = metric or next(iter(EVALUATORS[choice("evaluator", EVALUATORS)("evaluator", evaluator)]))
        if is_import_path(name):
            import_object(name, "metric")
        else:
            check_metric(evaluator, name)
            if direction is not None:
                raise SpecError(f"direction: it is known of {name}; leave direction out.")
        self._set(evaluator=evaluator, metricName=name, **columns)
        if direction is not None:
            self._set(direction=choice("direction", DIRECTIONS)("direction", direction))

    def setWeightCol(self, value: str) -> MetricEvaluator:
        """Set the column of the rows' weights."""
        self._set(weightCol=value)
        return self

    def isLargerBetter(self) -> bool:
        """Return whether a larger value of the metric is better. Raise SpecError if nothing says so."""
        metric = self.getOrDefault("metricName")
        if not is_import_path(metric):
            return larger_is_better(self.getOrDefault("evaluator"), metric)
        if not self.isDefined("direction"):
            raise SpecError(f"direction: the metric {metric!r} is your own; set direction to 'min' or 'max'.")
        return bool(self.getOrDefault("direction") == "max")

    def _evaluate(self, dataset: DataFrame) -> float:
        evaluator, metric = self.getOrDefault("evaluator"), self.getOrDefault("metricName")
        kind, columns, metrics = _SPARK[evaluator]
        weights = {"weightCol": self.getWeightCol()} if self.isDefined("weightCol") else {}
        if metric in metrics and not (weights and metric in _UNWEIGHTED_ONLY):
            make: Any = kind
            names = {name: self.getOrDefault(name) for name in columns}
            return float(make(metricName=metric, **names, **weights).evaluate(dataset))
        probability = self.getProbabilityCol()
        classifies = probability in dataset.columns if is_import_path(metric) else evaluator != "regression"
        predictions = probability if classifies else self.getPredictionCol()
        weight = F.col(self.getWeightCol()) if weights else F.lit(1.0)
        arrays = collected(dataset, _numbers(dataset, self.getLabelCol()), _numbers(dataset, predictions), weight)
        return measure(evaluator, metric, *arrays)


def _numbers(data: DataFrame, name: str) -> Column:
    """Return a column of numbers as doubles, or of vectors or arrays as arrays of doubles."""
    kind = data.schema[name].dataType
    if isinstance(kind, VectorUDT):
        return vector_to_array(F.col(name))
    return F.col(name).cast("array<double>" if kind.typeName() == "array" else "double")


def _as_array(column: pa.Array) -> NDArray[np.float64]:
    """Return a column of numbers as (rows,), of lists as (rows, values)."""
    if not pa.types.is_list(column.type):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False)).reshape(len(column), -1)


def evaluate_predictions(predictions: DataFrame, classifies: bool) -> dict[str, float]:
    """Return the usual metrics of a DataFrame of predictions, in one pass by Spark.

    Args:
        predictions: columns `label` (null where it is missing) and `prediction`, both double.
        classifies: whether these are class numbers.

    Returns:
        r2, rmse and mae, or for classes accuracy and f1 (weighted by the classes' rows), equal to those of Spark's evaluators;
        empty where no row has a label.
    """
    labelled = predictions.dropna()
    return _evaluate_classes(labelled) if classifies else _evaluate_numbers(labelled)


def _evaluate_numbers(predictions: DataFrame) -> dict[str, float]:
    error = F.col("label") - F.col("prediction")
    mse, mae, variance = predictions.agg(F.avg(error * error), F.avg(F.abs(error)), F.var_pop("label")).collect()[0]
    if mse is None:
        return {}
    r2 = 1 - mse / variance if variance else float(mse == 0)
    return {"r2": r2, "rmse": math.sqrt(mse), "mae": mae}


def _evaluate_classes(predictions: DataFrame) -> dict[str, float]:
    labels: Counter[float] = Counter()
    predicted: Counter[float] = Counter()
    correct: Counter[float] = Counter()
    for label, prediction, rows in predictions.groupBy("label", "prediction").count().collect():
        labels[label] += rows
        predicted[prediction] += rows
        correct[label] += rows if label == prediction else 0
    total = labels.total()
    if not total:
        return {}
    f1 = sum(rows / total * 2 * correct[label] / (rows + predicted[label]) for label, rows in labels.items())
    return {"accuracy": correct.total() / total, "f1": f1}


def measurement_of(
    evaluator: Evaluator, names: Sequence[str], params: DistKerasParams, kind: OutputKind, tasks: Sequence[str] = ()
) -> Measurement | None:
    """Return what computes in a task what an evaluator gives for these metrics of a network's predictions; None if nothing does.

    Of several labels that the evaluator is to judge together, it is the only thing that computes the metrics.

    Args:
        evaluator: any evaluator; only a `MetricEvaluator` or Spark's own, with none but naming Params set, can be matched.
        names: its metrics.
        params: the estimator's, whose columns the evaluator must read.
        kind: the network's kind of output.
        tasks: the tasks of its outputs, if a row has several labels.

    Raises:
        SpecError: the evaluator does not judge several labels of these tasks together.
    """
    own = isinstance(evaluator, MetricEvaluator)
    by_class = {each: name for name, (each, *_) in _SPARK.items()}
    name = evaluator.getOrDefault("evaluator") if own else by_class.get(type(evaluator))
    if name is None or (kind is OutputKind.ARRAYS and not tasks) or not (own or _has_naming_params_only(evaluator)):
        return None
    classifies, named = kind is OutputKind.CLASSES, [metric for metric in names if not is_import_path(metric)]
    has_all = all(metric.partition(":")[0] in EVALUATORS[name] for metric in named)
    if not has_all or (named and not tasks and classifies == (name == "regression")):
        return None
    weighted = evaluator.isDefined(evaluator.getParam("weightCol"))
    if weighted and not own and not {*names}.isdisjoint(_UNWEIGHTED_ONLY):
        return None
    columns = [*_SPARK[name][1], *(["predictionCol", "probabilityCol"] if own else []), *(["weightCol"] if weighted else [])]
    if any(not params.isDefined(each) or params.getOrDefault(each) != evaluator.getOrDefault(each) for each in columns):
        return None
    if named and tasks:
        check_judge(name, tasks, "of this network")
    return Measurement(name, tuple(names), classifies, weighted)


def collected(data: DataFrame, labels: Column, outputs: Column, weights: Column) -> list[NDArray[np.float64]]:
    """Return labels, (rows, labels), outputs, (rows, outputs), and weights, (rows,), of all rows in this process."""
    rows = data.select(labels.alias("label"), outputs.alias("output"), weights.cast("double").alias("weight")).toArrow()
    return [_as_array(column.combine_chunks()) for column in rows.columns]


def _has_naming_params_only(evaluator: Evaluator) -> bool:
    default = type(evaluator)()
    others = [param for param in evaluator.params if evaluator.isSet(param) and param.name not in _NAMING_PARAMS]
    return all(
        default.isDefined(param.name) and evaluator.getOrDefault(param) == default.getOrDefault(param.name) for param in others
    )


def sample_size(units: int) -> int:
    """Return how many rows of `units` outputs each are in the sample of predictions."""
    return min(_SAMPLE_ROWS, max(1, _SAMPLE_VALUES // (1 + units)))
