"""A challenger and the champion to the better of the two."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_distkeras.contract.artifacts.champions import Champion, Champions
from airflow_provider_distkeras.contract.errors import ArtifactError, SpecError
from airflow_provider_distkeras.contract.fields import text
from airflow_provider_distkeras.contract.specs import PromoteSpec
from airflow_provider_distkeras.hooks.storage import require_artifact, storage_for
from airflow_provider_distkeras.operators.inputs import RowsInputOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_distkeras.contract.artifacts.request import Request
    from airflow_provider_distkeras.contract.specs import Spec


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
    :param input_path: Raw CSV or Parquet files with labels: a path, a glob, a directory, or a list of them. (templated)
    :param evaluator: "regression", "binary" or "multiclass". (templated)
    :param metric: The evaluator's metric that decides; its first if not given. (templated)
    :param metrics: Further metrics of the evaluator to measure. (templated)
    :param margin: By how much more than this the challenger must be better. (templated)
    :param threshold: The metric that a challenger must reach, whether or not there is a champion. (templated)
    :param allow_older: Whether a challenger may replace a champion of a newer period. (templated)
    """

    spec_class = PromoteSpec
    path_fields = ("model_path", "champion_path", "input_path")
    template_fields = (
        *RowsInputOperator.template_fields, "champion", "model_path", "evaluator", "metric", "metrics", "margin", "threshold",
        "allow_older",
    )  # fmt: skip

    def __init__(
        self,
        *,
        champion: str,
        model_path: str | XComArg,
        evaluator: str = "regression",
        metric: str | None = None,
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
        self.metrics = metrics
        self.margin = margin
        self.threshold = threshold
        self.allow_older = allow_older
        self._champions: Champions | None = None
        self._present: Champion | None = None

    def conclude(self, context: Context, request: Request, result: dict[str, Any]) -> dict[str, Any]:
        """As for every operator; the task is skipped if the challenger is not promoted."""
        super().conclude(context, request, result)
        if result["promoted"]:
            return result
        if self.do_xcom_push:  # Airflow pushes nothing for a task that is skipped
            for key, value in {**(result if self.multiple_outputs else {}), "return_value": result}.items():
                context["ti"].xcom_push(key=key, value=value)
        raise AirflowSkipException(f"Not promoted: {result['reason']}.")

    def resume(self, context: Context, request: Request) -> None:
        """The champion that was to be beaten. If there is another one by now, the challenger is not promoted."""
        ti, spec = context["ti"], request.spec
        assert isinstance(spec, PromoteSpec)
        root = request.attempt.root_of(ti.dag_id, ti.task_id, -1 if ti.map_index is None else ti.map_index)
        assert root is not None
        self._champions = Champions(storage_for(root), root, spec.champion)
        held = [champion for champion in self._champions.history() if champion.model_path == spec.champion_path]
        self._present = held[-1] if held else None

    def resolve(self, context: Context, root: str) -> dict[str, Any]:
        """The period of the challenger, and the champion that it has to beat."""
        self._champions = Champions(storage_for(root), root, text("champion", self.champion))
        self._present = present = self._champions.present()
        period = self.period(context)
        if present is None:
            return {"period": period, "champion_path": None, "champion_period": None}
        return {"period": period, "champion_path": present.model_path, "champion_period": present.period}

    def check_inputs(self, spec: Spec) -> dict[str, str]:
        """The models must have been committed, and the files must be there."""
        assert isinstance(spec, PromoteSpec)
        require_artifact(spec.model_path, "train", "model_path")
        if self._present is not None:
            try:
                require_artifact(self._present.model_path, "train", "champion")
            except (ArtifactError, SpecError) as error:
                raise ArtifactError(
                    f"The model of the champion of {spec.champion!r} cannot be read. {error} Restore it, or delete the record "
                    f"{self._present.record_path}: then the champion before it counts again."
                ) from error
        return self.inspect_rows(spec)

    def existing_result(self, request: Request, if_exists: str) -> dict[str, Any] | None:
        """As for every operator; and what made the challenger the champion, if it is that already."""
        existing = super().existing_result(request, if_exists)
        assert isinstance(request.spec, PromoteSpec)
        present = self._present
        if existing is not None or present is None or present.model_path != request.spec.model_path:
            return existing
        self.log.info("%s is the champion of %r already.", present.model_path, request.spec.champion)
        return {
            "champion_path": present.model_path,
            "promoted": True,
            "reason": present.reason,
            "metrics": present.metrics,
            "rows": present.rows,
            "manifest_path": present.manifest_path,
        }

    def publish(self, context: Context, request: Request, result: dict[str, Any]) -> None:
        """The champion moves; then as for every operator."""
        assert isinstance(request.spec, PromoteSpec)
        assert self._champions is not None
        present = self._present
        if result["promoted"] and (present is None or present.model_path != request.spec.model_path):
            self._champions.promote(self._record(context, request.spec, result), over=present)
            self.log.info("%s is the champion of %r from now on.", request.spec.model_path, request.spec.champion)
        super().publish(context, request, result)

    def event_details(self, spec: Spec) -> dict[str, Any]:
        """Whose champion it is, and what it had to reach."""
        assert isinstance(spec, PromoteSpec)
        return {"champion": spec.champion, "margin": spec.margin, "threshold": spec.threshold}

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage:
        """As for every operator; and the champion, if it is the challenger from now on."""
        from airflow_provider_distkeras.lineage import facets

        lineage = super().get_openlineage_facets_on_complete(task_instance)
        if self._champions is not None and self._published is not None and self._published[1]["promoted"]:
            request, result = self._published
            lineage.outputs.append(facets.champion(request, self._champions.folder, result["champion_path"]))
        return lineage

    @staticmethod
    def _record(context: Context, spec: PromoteSpec, result: dict[str, Any]) -> Champion:
        ti = context["ti"]
        return Champion(
            model_path=spec.model_path,
            period=spec.period,
            metrics=result["metrics"],
            reason=result["reason"],
            rows=result["rows"],
            manifest_path=result["manifest_path"],
            task=f"{ti.dag_id}.{ti.task_id}",
            run_id=ti.run_id,
            user=getattr(context["dag_run"], "triggering_user_name", None),
            promoted_at=datetime.now(UTC).isoformat(),
        )
