"""The operator that compares a challenger with the champion and promotes the better one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_distkeras.contract.artifacts.champions import Champion
from airflow_provider_distkeras.contract.errors import ArtifactError, SpecError
from airflow_provider_distkeras.contract.specs import PromoteSpec, TrainSpec
from airflow_provider_distkeras.hooks.storage import fingerprints, require_artifact
from airflow_provider_distkeras.operators.inputs import RowsInputOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import XComArg
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_distkeras.operators.job_run import JobRun


class DistKerasPromoteOperator(RowsInputOperator):
    """Make a model the champion of a name, if it is better than the present one on the same rows.

    Both models score rows that neither was trained on. The challenger becomes the champion if its metric is better by more than
    `margin`, or if there is no champion yet. If it does not, the task is skipped, after its XComs were pushed: assets among its
    outlets are not updated, and what follows in the DAG is skipped too, unless its trigger rule is "none_failed". A run of an
    older period than the champion's, such as a backfill, never replaces it, unless `allow_older` is set. A challenger that is
    the champion already, as when a task is cleared, stays it without another comparison.

    Returns `champion_path`, `promoted`, `reason`, `metrics` (of challenger and champion), `rows` and `manifest_path`. Takes the
    parameters of `RowsInputOperator` beside these.

    :param champion: The name to keep the champion under, in `artifact_root`. (templated)
    :param model_path: The challenger: the `model_path` that a train task returned. (templated)
    :param input_path: Raw files with labels: a path, a glob, a directory, or a list of them. (templated)
    :param evaluator: "regression", "binary" or "multiclass". (templated)
    :param metric: The evaluator's metric that decides, by default its first; or your own, "package.module:name", a function
        (labels, outputs, weights) -> float. (templated)
    :param metric_direction: Of your own metric, whether "min" or "max" is best. (templated)
    :param metrics: Further metrics to measure. (templated)
    :param margin: By how much more than this the challenger must be better. (templated)
    :param threshold: The metric that a challenger must reach, whether or not there is a champion. (templated)
    :param allow_older: Whether a challenger may replace a champion of a newer period. (templated)
    """

    spec_class = PromoteSpec
    path_fields = ("model_path", "champion_path", "input_path")
    template_fields = (
        *RowsInputOperator.template_fields, "champion", "model_path", "evaluator", "metric", "metric_direction", "metrics",
        "margin", "threshold", "allow_older",
    )  # fmt: skip

    def __init__(
        self,
        *,
        champion: str,
        model_path: str | XComArg,
        evaluator: str = "regression",
        metric: str | None = None,
        metric_direction: str | None = None,
        metrics: list[str] | str | None = None,
        margin: float | str = 0.0,
        threshold: float | str | None = None,
        allow_older: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.champion = champion
        self.model_path = model_path
        self.evaluator = evaluator
        self.metric = metric
        self.metric_direction = metric_direction
        self.metrics = metrics
        self.margin = margin
        self.threshold = threshold
        self.allow_older = allow_older
        self.check_constants()

    def resolve(self, run: JobRun) -> dict[str, Any]:
        """Return the challenger's period, and the champion to compare it with."""
        run.resolved = champion = run.champions(self.champion).present()
        if champion is None:
            return {"period": run.period, "champion_path": None, "champion_period": None}
        return {"period": run.period, "champion_path": champion.model_path, "champion_period": champion.period}

    def check_inputs(self, run: JobRun) -> dict[str, str]:
        """Return a fingerprint per file of rows; raise SpecError or ArtifactError if a model was not committed.

        A challenger that is the champion already needs no comparison: the run's result is that of its promotion.
        """
        spec, champion = run.spec, run.resolved
        assert isinstance(spec, PromoteSpec)
        challenger = require_artifact(spec.model_path, TrainSpec, "model_path", run.root)
        if champion is not None:
            try:
                require_artifact(champion.model_path, TrainSpec, "champion", run.root)
            except (ArtifactError, SpecError) as error:
                raise ArtifactError(
                    f"The model of the champion of {spec.champion!r} cannot be read. {error} Restore it, or delete the record "
                    f"{champion.record_path}: then the champion before it counts again."
                ) from error
            if champion.model_path == spec.model_path:
                run.result = _result_of(champion)
        return fingerprints(self.inspect_rows(spec, challenger))

    def conclude(self, run: JobRun) -> dict[str, Any]:
        """Promote the challenger if it won, then return the result as every operator.

        Raises:
            AirflowSkipException: The challenger is not promoted.
            ArtifactError: Another model was promoted while the two were compared.
        """
        spec, result = run.spec, run.result
        assert isinstance(spec, PromoteSpec)
        assert result is not None
        champions = run.champions(spec.champion)
        champion = champions.present()
        if result["promoted"] and (champion is None or champion.model_path != spec.model_path):
            beaten = champion if champion is not None and champion.model_path == spec.champion_path else None
            champions.promote(_record(run, spec, result), over=beaten)
            self.log.info("%s is the champion of %r from now on.", spec.model_path, spec.champion)
        run.event_details = {"champion": spec.champion, "margin": spec.margin, "threshold": spec.threshold}
        super().conclude(run)
        if result["promoted"]:
            return result
        if self.do_xcom_push:  # Airflow pushes nothing for a task that is skipped
            for key, value in {**(result if self.multiple_outputs else {}), "return_value": result}.items():
                run.context["ti"].xcom_push(key=key, value=value)
        raise AirflowSkipException(f"Not promoted: {result['reason']}.")

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage:
        """Return the lineage of every operator, and the champion if the challenger has become it."""
        from airflow_provider_distkeras.lineage import facets

        lineage, run = super().get_openlineage_facets_on_complete(task_instance), self._run
        if run is not None and self._finished is not None and self._finished[1]["promoted"]:
            request, result = self._finished
            assert isinstance(request.spec, PromoteSpec)
            folder = run.champions(request.spec.champion).folder
            lineage.outputs.append(facets.champion(request, folder, result["champion_path"]))
        return lineage


def _result_of(champion: Champion) -> dict[str, Any]:
    """Return the result of the task that promoted a champion."""
    return {
        "champion_path": champion.model_path,
        "promoted": True,
        "reason": champion.reason,
        "metrics": champion.metrics,
        "rows": champion.rows,
        "manifest_path": champion.manifest_path,
    }


def _record(run: JobRun, spec: PromoteSpec, result: dict[str, Any]) -> Champion:
    """Return the record of a promotion."""
    ti = run.context["ti"]
    return Champion(
        model_path=spec.model_path,
        period=spec.period,
        metrics=result["metrics"],
        reason=result["reason"],
        rows=result["rows"],
        manifest_path=result["manifest_path"],
        task=f"{ti.dag_id}.{ti.task_id}",
        run_id=ti.run_id,
        user=getattr(run.context["dag_run"], "triggering_user_name", None),
        promoted_at=datetime.now(UTC).isoformat(),
    )
