"""The operator that scores rows with a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.specs import ScoreSpec, TrainSpec
from airflow_provider_distkeras.hooks.storage import fingerprints, require_artifact
from airflow_provider_distkeras.operators.inputs import RowsInputOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import XComArg

    from airflow_provider_distkeras.operators.job_run import JobRun


class DistKerasScoreOperator(RowsInputOperator):
    """Score rows with a trained model: raw files, which it prepares as in training, or a prepared dataset.

    Returns `predictions_path`, `model_path`, `rows`, `quarantined_rows`, `metrics` and `manifest_path`. Takes the parameters of
    `RowsInputOperator` beside these.

    :param model_path: The `model_path` that a train task returned. (templated)
    :param champion: In its place, the name of a champion (see `DistKerasPromoteOperator`): the one it has when the task runs,
        promoted under the same `artifact_root`. (templated)
    :param input_path: Raw files, or the `dataset_path` that a preprocess task returned: a path, a glob, a directory, or a list
        of them. (templated)
    :param output_format: "parquet", "csv" or "json". (templated)
    :param key_columns: Columns of the input to write too; by default all. (templated)
    :param output_columns: The columns to write per row: "prediction", "probability", "label" (the class as text), "raw", "std"
        (of an ensemble's networks); by default what the model has, less "label" and "raw". (templated)
    :param partition_by: Columns whose values name the folders of the output, such as day=2026-01-01/. (templated)
    """

    spec_class = ScoreSpec
    path_fields = ("model_path", "input_path")
    template_fields = (
        *RowsInputOperator.template_fields, "model_path", "champion", "output_format", "key_columns", "output_columns",
        "partition_by",
    )  # fmt: skip

    def __init__(
        self,
        *,
        model_path: str | XComArg | None = None,
        champion: str | None = None,
        output_format: str = "parquet",
        key_columns: list[str] | str | None = None,
        output_columns: list[str] | str | None = None,
        partition_by: list[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_path = model_path
        self.champion = champion
        self.output_format = output_format
        self.key_columns = key_columns
        self.output_columns = output_columns
        self.partition_by = partition_by
        self.check_constants()

    def resolve(self, run: JobRun) -> dict[str, Any]:
        """Return the champion's model, if `champion` is set."""
        if bool(self.model_path) == bool(self.champion):
            raise SpecError(
                f"Expected either model_path or champion, received {self.model_path!r} and {self.champion!r}: set one of them."
            )
        if self.model_path:
            return {}
        champions = run.champions(self.champion)
        champion = champions.present()
        if champion is None:
            raise SpecError(
                f"champion: there is no champion of {self.champion!r} in {champions.folder}. Promote a model first (with a "
                "DistKerasPromoteOperator of the same artifact_root), or set model_path."
            )
        self.log.info(
            "Scoring with the champion of %r: %s, of period %s, promoted at %s by %s.",
            self.champion, champion.model_path, champion.period, champion.promoted_at, champion.task,
        )  # fmt: skip
        return {"model_path": champion.model_path}

    def check_inputs(self, run: JobRun) -> dict[str, str]:
        """Return a fingerprint per file of rows; raise SpecError if the model was not committed."""
        assert isinstance(run.spec, ScoreSpec)
        model = require_artifact(run.spec.model_path, TrainSpec, "model_path", run.root)
        return fingerprints(self.inspect_rows(run.spec, model))
