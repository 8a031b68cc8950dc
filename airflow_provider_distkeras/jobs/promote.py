"""The promote job: compare a challenger with the present champion on the same rows."""

from __future__ import annotations

import logging

from pyspark.sql import SparkSession

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from airflow_provider_distkeras.contract.errors import ArtifactError, DistKerasError
from airflow_provider_distkeras.contract.specs import PromoteSpec
from airflow_provider_distkeras.contract.specs.promote import PromoteDetails
from airflow_provider_distkeras.jobs.runner import JobResult, main
from airflow_provider_distkeras.ml.scoring.comparison import compare
from airflow_provider_distkeras.ml.scoring.trained_model import TrainedModel
from airflow_provider_distkeras.spark.progress import ProgressReporter, tasks

logger = logging.getLogger("airflow_provider_distkeras.jobs")


def promote(spark: SparkSession, spec: PromoteSpec, _attempt: Attempt, reporter: ProgressReporter) -> JobResult:
    """Decide which model is the champion. Only the manifest is written; the operator records the champion.

    Raises:
        SpecError: the evaluator does not fit a model.
        DataError: the rows are not what the models take.
        ArtifactError: a model cannot be read.
    """
    reporter.begin("comparing", 1.0, tasks(spark.sparkContext))
    models = {"challenger": TrainedModel.load(spec.model_path)}
    if spec.champion_path is not None:
        models["champion"] = _load_champion(spec.champion, spec.champion_path)
    compared = compare(spark, spec, models)
    challenger, champion = (compared.metrics.get(name, {}).get(spec.metric_name) for name in ("challenger", "champion"))
    assert challenger is not None
    promoted, reason = spec.decide(challenger, champion, larger_is_better=compared.larger_is_better)
    logger.info("%s: %s, on %s rows", "promoted" if promoted else "not promoted", reason, f"{compared.rows:,}")
    return JobResult(
        result={
            "champion_path": spec.model_path if promoted else spec.champion_path,
            "promoted": promoted,
            "reason": reason,
            "metrics": compared.metrics,
            "rows": compared.rows,
        },
        inputs=compared.sizes,
        details=PromoteDetails(
            challenger_path=spec.model_path,
            champion_path=spec.champion_path,
            rows_left_out=compared.left_out,
            unknown_labels=compared.unknown_labels,
        ),
    )


def _load_champion(name: str, path: str) -> TrainedModel:
    try:
        return TrainedModel.load(path)
    except (DistKerasError, OSError, ValueError, KeyError) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArtifactError(
            f"The model of the champion of {name!r}, {path}, cannot be read: {cause} "
            "Restore it, or delete the newest record of that champion: then the one before it counts again."
        ) from error


if __name__ == "__main__":
    main(promote)
