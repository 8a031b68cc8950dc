"""Why a job failed, as it leaves it for its operator."""

import pytest

from airflow_provider_distkeras.contract.artifacts.failure import Failure
from airflow_provider_distkeras.contract.errors import (
    ArtifactError,
    DataError,
    DistKerasError,
    JobError,
    SupersededError,
    TrainingError,
)


@pytest.mark.parametrize(
    ("error", "cause", "line"),
    [
        (DataError("No rows."), Failure("DataError", "No rows.", True), "DataError: No rows."),
        (SupersededError("Late."), Failure("SupersededError", "Late.", True), "SupersededError: Late."),
        (ArtifactError("Gone."), Failure("ArtifactError", "Gone.", False), "ArtifactError: Gone."),
        (
            TrainingError("Worker 0 failed.\n\nThe worker's traceback:\nx"),
            Failure("TrainingError", "Worker 0 failed.\n\nThe worker's traceback:\nx", False),
            "TrainingError: Worker 0 failed.",
        ),
        (OSError(28, "No space"), Failure("OSError", "OSError: [Errno 28] No space", False), "OSError: [Errno 28] No space"),
        (ValueError(), Failure("ValueError", "ValueError: ", False), "ValueError:"),
    ],
)
def test_an_error_has_a_line_and_comes_back_from_its_file(error, cause, line):
    assert Failure.of(error) == cause
    assert cause.line == line
    assert Failure.from_json(cause.to_json()) == cause
    again = cause.error
    assert type(again) is (type(error) if isinstance(error, DistKerasError) else JobError)
    assert Failure.of(again).line == line


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"type": "DataError"}',
        b'{"type": null, "message": "m", "permanent": true}',
        b'{"type": "DataError", "message": 7, "permanent": true}',
        b'{"type": "DataError", "message": "m", "permanent": NaN}',
        b"[" * 100_000,
    ],
)
def test_another_file_is_no_cause(content):
    with pytest.raises(ArtifactError, match="The cause of the job's failure"):
        Failure.from_json(content)
