"""Jobs, run inside the test's own Spark session."""

import csv
import itertools
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from airflow_provider_distkeras.contract.paths import Attempt
from airflow_provider_distkeras.contract.request import Request
from airflow_provider_distkeras.contract.storage import LocalStorage
from airflow_provider_distkeras.jobs import preprocess, runner, score, train

BODIES = {"preprocess": preprocess.preprocess, "train": train.train, "score": score.score}
STORAGE = LocalStorage()
_ticks = itertools.count()


def claim(root, spec, period="2026-03"):
    """A new attempt, newer than all before it."""
    claimed_at = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=next(_ticks))
    attempt = Attempt.claim(
        f"file://{root}", "dag", spec.kind, -1, period, claimed_at=claimed_at, generation=0, try_number=1, spec_sha256=spec.sha256
    )
    STORAGE.write_bytes(attempt.spec_path, Request(spec, attempt).to_json().encode())
    return attempt


@pytest.fixture
def run_job(spark, tmp_path):
    """Runs the job of a spec; returns its manifest."""

    def run(spec, attempt=None):
        attempt = attempt or claim(tmp_path / "out", spec)
        return runner.run(spark, attempt.spec_path, BODIES[spec.kind])

    return run


@pytest.fixture
def bikes(tmp_path):
    """240 rows with an id, a category, a number with gaps, and a count and a class that follow from them."""

    def write(name="bikes.csv", *, gaps=True, columns=("id", "season", "temp", "hum", "cnt", "busy"), delimiter=","):
        random = np.random.default_rng(7)
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore", delimiter=delimiter)
            writer.writeheader()
            for number in range(240):
                season, temp, hum = random.choice(["winter", "summer"]), random.uniform(), random.uniform()
                count = 10 + 5 * temp + (3 if season == "summer" else 0)
                row = {
                    "id": number,
                    "season": season,
                    "temp": round(temp, 6),
                    "hum": "" if gaps and number % 20 == 0 else round(hum, 6),
                    "cnt": round(count, 4),
                    "busy": "yes" if count > 14 else "no",
                }
                writer.writerow(row)
        return str(path)

    return write
