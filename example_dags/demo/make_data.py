"""The demo's data: hourly bike rentals of a town, drawn from a documented, seeded process; or the user's own CSV, split in two.

The process, for each hour of three years:

- the hour's shape: two commuting peaks on working days, one broad afternoon hump on the others;
- the weather: temperature follows the season and the time of day, and wanders from day to day; humidity falls as it warms;
  clear, mist, rain or snow, which lasts for hours;
- demand = shape x season's comfort (a bell around 23 degrees) x weather x wind x yearly growth, times log-normal noise of 12 %;
- one reading in a hundred of each instrument is missing.
"""

from __future__ import annotations

import csv
import math
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

SEED = 7
HELD_OUT = 0.2
FILES = 6
START, HOURS = datetime(2023, 1, 1), 3 * 365 * 24
HEADER = [
    "id", "timestamp", "year", "month", "hour", "weekday", "workingday",
    "weather", "temperature", "humidity", "windspeed", "rentals",
]  # fmt: skip
WEATHER = {"clear": 1.0, "mist": 0.85, "rain": 0.45, "snow": 0.3}
HOLIDAYS = {(1, 1), (5, 1), (7, 4), (11, 11), (12, 25), (12, 26)}
MAX_CATEGORIES = 50
#: What a file of the user's must have at least: a fifth is held out, and three folds are made of the rest.
MIN_ROWS = 20
_DATE = re.compile(r"^\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})(\D|$)")


class DemoError(Exception):
    """What the user gave cannot be used; the message says why."""


@dataclass(frozen=True)
class Prepared:
    """Where the demo's files lie, and what their columns are.

    Attributes:
        notices: what was decided for the user.
    """

    train: Path
    new: Path
    rows: int
    label: str
    excluded: list[str]
    categorical: list[str]
    notices: list[str]


def generate(folder: Path) -> Prepared:
    """Write the bike data."""
    train, new, rows = _split(folder, HEADER, _bike_rows())
    return Prepared(train, new, rows, "rentals", ["id", "timestamp"], ["weather"], [])


def split_own(folder: Path, path: Path, label: str, excluded: list[str], categorical: list[str]) -> Prepared:
    """Split the user's CSV file, and decide about the columns that no argument names.

    Raises:
        DemoError: the file, the label or another named column is not there, or the label is not a number.
    """
    header, rows = _read(path)
    for what, names in (("LABEL", [label]), ("EXCLUDE", excluded), ("CATEGORICAL", categorical)):
        for name in names:
            if name not in header:
                raise DemoError(f"{what}: {path} has no column {name!r}. Its columns: {', '.join(header)}.")
    if label in excluded:
        raise DemoError(f"EXCLUDE: {label!r} is the column to predict. Leave it out of EXCLUDE, or set another LABEL.")
    notices: list[str] = []
    excluded, categorical = list(excluded), list(categorical)
    for column, name in enumerate(header):
        values = {row[column].strip() for row in rows} - {""}
        if name in excluded or name in categorical or all(map(_is_number, values)):
            continue
        example = min(values)
        if name == label:
            raise DemoError(f"LABEL: column {name!r} holds text such as {example!r}; the demo predicts a number.")
        if any(map(_DATE.match, values)) or len(values) > MAX_CATEGORIES:
            excluded.append(name)
            notices.append(f"column {name!r} holds dates or free text (such as {example!r}): left out")
        else:
            categorical.append(name)
            notices.append(f"column {name!r} holds text, {len(values)} distinct values: one-hot encoded")
    train, new, count = _split(folder, header, rows)
    return Prepared(train, new, count, label, excluded, categorical, notices)


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    if not path.is_file():
        raise DemoError(f"CSV: {path} is a folder, expected a file." if path.is_dir() else f"CSV: there is no file {path}.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DemoError(f"CSV: {path} is no CSV file in UTF-8: {error}.") from error
    header = [name.strip() for name in header]
    twins = sorted(name for name, count in Counter(header).items() if count > 1)
    if twins:
        raise DemoError(f"CSV: {path} has several columns {twins[0]!r}: rename all but one.")
    if not rows:
        raise DemoError(f"CSV: {path} has no rows; expected a header line and rows, separated by commas.")
    uneven = next((number for number, row in enumerate(rows, start=2) if len(row) != len(header)), None)
    if uneven:
        raise DemoError(f"CSV: record {uneven} of {path} has {len(rows[uneven - 2])} values, the header has {len(header)}.")
    if len(rows) < MIN_ROWS:
        raise DemoError(
            f"CSV: {path} has {len(rows)} rows, expected at least {MIN_ROWS}: the demo trains on three folds of them."
        )
    return header, rows


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _split(folder: Path, header: list[str], rows: list[list[str]]) -> tuple[Path, Path, int]:
    """Write the rows into several training files and one of held-out rows; the seed decides which are held out."""
    train, new = folder / "train", folder / "new"
    for directory in (train, new):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
    draw = random.Random(SEED)
    training: list[list[str]] = []
    held_out: list[list[str]] = []
    for row in rows:
        (held_out if draw.random() < HELD_OUT else training).append(row)
    size = math.ceil(len(training) / FILES)
    for number in range(FILES):
        part = training[number * size : (number + 1) * size]
        if part:
            _write(train / f"part-{number + 1}.csv", header, part)
    _write(new / "held-out.csv", header, held_out)
    return train, new, len(training)


def _write(path: Path, header: list[str], rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def _bike_rows() -> list[list[str]]:
    draw = np.random.default_rng(SEED)
    hours = [START + timedelta(hours=number) for number in range(HOURS)]
    temperature = _temperature(hours, draw)
    humidity = np.clip(78 - 1.1 * (temperature - 12) + draw.normal(0, 9, HOURS), 15, 100)
    windspeed = draw.gamma(3.0, 4.5, HOURS)
    weather = _weather(temperature, humidity, draw)
    noise = np.exp(draw.normal(0, 0.12, HOURS))
    missing = draw.random((HOURS, 3)) < 0.01
    rows = []
    for number, hour in enumerate(hours):
        working = hour.weekday() < 5 and (hour.month, hour.day) not in HOLIDAYS
        comfort = 0.25 + math.exp(-(((temperature[number] - 23) / 14) ** 2))
        wind = max(0.5, 1 - windspeed[number] / 90)
        growth = 1 + 0.15 * number / (365 * 24)
        demand = 260 * _shape(hour.hour, working) * comfort * WEATHER[weather[number]] * wind * growth * noise[number]
        readings = [f"{value:.1f}" for value in (temperature[number], humidity[number], windspeed[number])]
        calendar = (hour.year, hour.month, hour.hour, hour.weekday(), int(working))
        shown = ["" if gone else text for text, gone in zip(readings, missing[number], strict=True)]
        moment = hour.strftime("%Y-%m-%d %H:%M")
        rows.append([str(number + 1), moment, *map(str, calendar), weather[number], *shown, str(round(demand))])
    return rows


def _shape(hour: int, working: bool) -> float:
    """Demand over the day, as a share of the highest."""
    bump: Callable[[float, float], float] = lambda centre, width: math.exp(-(((hour - centre) / width) ** 2))  # noqa: E731
    if working:
        return 0.03 + 0.75 * bump(8, 1.3) + 0.28 * bump(13, 3.0) + 0.95 * bump(17.5, 1.9)
    return 0.05 + 0.75 * bump(14, 4.5)


def _temperature(hours: list[datetime], draw: np.random.Generator) -> np.ndarray:
    """Degrees Celsius: season, time of day, and a slow wander."""
    day = np.array([hour.timetuple().tm_yday for hour in hours])
    clock = np.array([hour.hour for hour in hours])
    wander = np.zeros(HOURS)
    steps = draw.normal(0, 0.35, HOURS)
    for number in range(1, HOURS):
        wander[number] = 0.99 * wander[number - 1] + steps[number]
    return 12 - 12 * np.cos(2 * np.pi * (day - 20) / 365) - 4 * np.cos(2 * np.pi * (clock - 3) / 24) + wander


def _weather(temperature: np.ndarray, humidity: np.ndarray, draw: np.random.Generator) -> list[str]:
    """A category per hour that mostly stays as it was."""
    changes = draw.random(HOURS) < 0.15
    kinds = draw.random(HOURS)
    weather = ["clear"]
    for number in range(1, HOURS):
        if not changes[number]:
            weather.append(weather[-1])
            continue
        wet = 0.06 + 0.002 * max(0.0, humidity[number] - 50)
        bad = "snow" if temperature[number] < 0 else "rain"
        weather.append(bad if kinds[number] < wet else "mist" if kinds[number] < wet + 0.25 else "clear")
    return weather
