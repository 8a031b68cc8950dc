"""Input files of jobs."""

import csv

import numpy as np
import pytest


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
                    "held_out": int(number % 5 == 0),
                }
                writer.writerow(row)
        return str(path)

    return write
