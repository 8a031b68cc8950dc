"""The demo's rentals, as files of a month each."""

import csv
import shutil
import sys
from collections import defaultdict

from .airflow_server import REPOSITORY


def write_months(folder):
    """Write 2026-01.csv to 2026-12.csv, and new/held-out.csv, whose rows are in none of them."""
    sys.path.insert(0, str(REPOSITORY / "example_dags" / "demo"))
    try:
        import make_data
    finally:
        sys.path.pop(0)
    made = make_data.generate(folder)
    months = defaultdict(list)
    for path in sorted(made.train.glob("*.csv")):
        with path.open(newline="") as file:
            header, *rows = csv.reader(file)
        for row in rows:
            year, month = row[header.index("timestamp")].split("-")[:2]
            if year == "2025":
                months[month].append(row)
    for month, rows in months.items():
        with (folder / f"2026-{month}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
    shutil.rmtree(made.train)
