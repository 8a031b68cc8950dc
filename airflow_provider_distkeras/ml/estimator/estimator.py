"""`DistKeras`: a Spark ML Estimator that trains a Keras network on the whole cluster."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pyspark.ml import Estimator
from pyspark.ml.base import _FitMultipleIterator
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import DivergenceError, SpecError
from airflow_provider_distkeras.contract.fields import check_names
from airflow_provider_distkeras.contract.params.trainers import trainer_fields
from airflow_provider_distkeras.ml.estimator.fit import FitPlan
from airflow_provider_distkeras.ml.estimator.fold import PART, TEST, Fold
from airflow_provider_distkeras.ml.estimator.local_pool import FitRequest, LocalFitPool
from airflow_provider_distkeras.ml.estimator.model import DistKerasModel
from airflow_provider_distkeras.ml.estimator.network_cache import NetworkCache
from airflow_provider_distkeras.ml.estimator.params import DistKerasParams, trainer_name
from airflow_provider_distkeras.ml.estimator.row_cache import FoldSlice
from airflow_provider_distkeras.training import trainers
from airflow_provider_distkeras.training.trainers import Trainer

logger = logging.getLogger(__name__)


class DistKeras(Estimator, DistKerasParams, DefaultParamsWritable, DefaultParamsReadable):
    """A Spark ML Estimator of Keras networks, trained on all rows of a DataFrame by Spark tasks.

    Every name of `contract.params` is a Param, so each may be set here, by `setParams`, or varied in a grid. A cross
    entropy as `loss`, or `task`, makes the model a classifier, whose labels are the class numbers 0, 1, ....

    Args:
        trainer: a class of `training.trainers`, or its name.
        trainer_params: the trainer's parameters, such as batch_size, num_epoch, num_workers, communication_window.
        **params: any other Params, such as layer_dims, loss, featuresCol, seed, backend.

    Raises:
        SpecError: a name that does not exist, or a value of a wrong type or range.

    Example:
        >>> estimator = DistKeras(trainers.ADAG, {"batch_size": 256, "num_workers": 8}, layer_dims=[None, 64, 32, 1])
        >>> model = estimator.fit(df_train)
        >>> model.transform(df_test)  # with a double column "prediction"
    """

    __module__ = "airflow_provider_distkeras.ml"  # the public path, which Spark ML persistence writes

    def __init__(
        self, trainer: type[Trainer] | str = trainers.ADAG, trainer_params: Mapping[str, Any] | None = None, **params: Any
    ) -> None:
        super().__init__()
        self._set_contract_defaults()
        self._setDefault(trainer="ADAG", seed=0, predict_batch_size=4096)
        name = trainer_name(trainer)
        check_names(f"parameter of {name}", trainer_params or {}, trainer_fields(name))
        duplicates = sorted({*(trainer_params or {})} & {*params})
        if duplicates:
            raise SpecError(f"{duplicates[0]!r} is both in trainer_params and an argument of its own: leave it in one of them.")
        self.setParams(trainer=name, **(trainer_params or {}), **params)

    def setParams(self, **params: Any) -> DistKeras:
        """Set Params by name. Raise SpecError for a name that is not a Param."""
        check_names("Param of DistKeras", params, [p.name for p in self.params])
        self._set(**{name: value for name, value in params.items() if value is not None})
        return self

    def fitMultiple(self, dataset: DataFrame, paramMaps: Sequence[Any]) -> Iterator[tuple[int, DistKerasModel]]:
        """Fit one model per map of Params, as Spark's validators do.

        Fits of one worker are plain Spark tasks, which share the rows that their machine stores. A fit that diverges gives a
        model that predicts infinity, or no class, so that r2, the errors and the accuracies rank it last and the other fits
        are not lost; `fit` raises.
        """
        return _FitMultipleIterator(_SharedFits(self, dataset, paramMaps).fit, len(paramMaps))

    def diverged(self) -> DistKerasModel:
        """Return the model that stands for a training of this estimator that diverged: it predicts infinity, or no class."""
        model = DistKerasModel()
        model._resetUid(self.uid)
        return self._copyValues(model)

    def _fit(self, dataset: DataFrame) -> DistKerasModel:
        return FitPlan.of(self, dataset).fit(dataset)


class _SharedFits:
    """The fits of `fitMultiple`, which share networks and stored rows; the last one to end deletes the rows."""

    def __init__(self, estimator: DistKeras, dataset: DataFrame, param_maps: Sequence[Any]) -> None:
        self._estimator, self._dataset, self._param_maps = estimator, dataset, param_maps
        self._pool = LocalFitPool(dataset.withColumn(PART, F.lit(0)))  # all rows are of one training part
        self._networks = NetworkCache()
        self._remaining, self._lock = len(param_maps), threading.Lock()

    def fit(self, index: int) -> DistKerasModel:
        """Return the model of one map of Params."""
        estimator = self._estimator.copy(self._param_maps[index])
        try:
            plan = FitPlan.of(estimator, self._dataset, self._networks)
            return self._fit_in_task(plan) if plan.is_single_task else plan.fit(self._dataset)
        except DivergenceError as error:
            logger.warning("Param map %d ranks last: %s", index, str(error).splitlines()[0])
            return estimator.diverged()
        finally:
            with self._lock:
                self._remaining -= 1
                if not self._remaining:
                    self._pool.close()

    def _fit_in_task(self, plan: FitPlan) -> DistKerasModel:
        rows = FoldSlice(Fold((0,), (TEST,)), None, plan.class_weights, plan.class_sampling)
        (result,) = self._pool.run([FitRequest(plan, rows)], returns_weights=True)
        if isinstance(result, Exception):
            raise result
        return plan.model(result.members, result.summary)
