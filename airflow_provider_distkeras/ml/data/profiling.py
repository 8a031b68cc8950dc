"""Runs on executors. One pass over parsed rows that profiles columns and counts bad records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from airflow_provider_distkeras.ml.data.derived_features import DerivedFeature
from airflow_provider_distkeras.ml.data.profile import Profile, profile_for

#: The columns of what a task reports, see `profile_blocks`.
REPORT = "part string, name string, facts array<double>, values array<double>, texts array<string>, counts array<bigint>"
_EXAMPLES = 5
#: The content of a reported row: a column's profile in the training or the held-out rows, the counts, how many rows lack a
#: required column, or a bad record.
_TRAINING, _HELD_OUT, _COUNTS, _LACKING, _EXAMPLE = "training", "held out", "counts", "lacking", "example"


@dataclass(frozen=True)
class BadRecord:
    """A record that does not fit.

    Attributes:
        position: Position among the records of its block.
        text: How it begins.
        reason: What is wrong with it.
    """

    position: int
    text: str
    reason: str


class ParsedBlock(NamedTuple):
    """The batches of a parsed block, its records that do not fit, and how many headers were left out."""

    batches: list[pa.RecordBatch]
    bad: list[BadRecord]
    headers: int = 0


@dataclass(frozen=True)
class DataProfile:
    """Result of one pass over all files.

    Attributes:
        rows: Records that fit.
        complete: Those of them with a value in every required column.
        lacking: Number of rows without a value, per required column that some lack.
        profiles: Profile per column of the complete rows to train on.
        held_out: Profile per column of the other complete rows.
        bad: Records that do not fit.
        examples: Beginning of some of them, and the reason.
        headers: Lines that were left out, for they repeat the header.
    """

    rows: int
    complete: int
    lacking: dict[str, int]
    profiles: dict[str, Profile]
    held_out: dict[str, Profile]
    bad: int
    examples: list[tuple[str, str]]
    headers: int = 0

    def count(self, attribute: str) -> dict[str, int]:
        """Count the values that are `missing`, or `infinite`, in the complete rows, per column that has some."""
        counts = {
            name: getattr(profile, attribute, 0) + getattr(self.held_out[name], attribute, 0)
            for name, profile in self.profiles.items()
        }
        return {name: count for name, count in counts.items() if count}


@dataclass(frozen=True)
class ProfileRequest:
    """Columns to profile.

    Attributes:
        columns: The columns.
        required: Columns without whose values a row is left out.
        derived: Features that are computed of columns, to be profiled as well.
        held_out: The column that marks, by anything but 0, rows that are not trained on.
    """

    columns: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    derived: tuple[DerivedFeature, ...] = ()
    held_out: str | None = None


def profile_blocks(blocks: Iterator[ParsedBlock], request: ProfileRequest, kinds: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    """Profile the blocks of a task, and yield one batch of `REPORT` rows.

    A row each holds the counts, an example of a bad record, and a column's profile.
    """
    profiles = _empty_profiles(request, kinds)
    counts, examples = np.zeros(4, np.int64), list[BadRecord]()
    lacking = np.zeros(len(request.required), np.int64)
    for batches, bad, headers in blocks:
        examples += bad[: _EXAMPLES - len(examples)]
        counts[2:] += len(bad), headers
        for batch in batches:
            complete, without = _with_values(batch, request.required)
            lacking += without
            counts[:2] += batch.num_rows, complete.num_rows
            for part, rows in _parts(complete, request.held_out):
                for name in request.columns:
                    profiles[part][name].add(rows[name])
                for feature in request.derived:
                    profiles[part][feature.name].add(feature.values(rows[feature.column]))
    empty: dict[str, Any] = {"name": "", "facts": [], "values": [], "texts": [], "counts": []}
    report = [{**empty, "part": _COUNTS, "counts": counts}]
    report.append({**empty, "part": _LACKING, "texts": list(request.required), "counts": lacking})
    report += [{**empty, "part": _EXAMPLE, "texts": [record.text, record.reason]} for record in examples]
    report += [{"part": part, "name": n, **profile.to_row()} for part, each in profiles.items() for n, profile in each.items()]
    types = {"facts": pa.float64(), "values": pa.float64(), "texts": pa.string(), "counts": pa.int64()}
    texts = [("part", pa.string()), ("name", pa.string())]
    yield pa.RecordBatch.from_pylist(report, schema=pa.schema([*texts, *((n, pa.list_(kind)) for n, kind in types.items())]))


def merge_reports(report: Iterable[Mapping[str, Any]], request: ProfileRequest, kinds: Mapping[str, str]) -> DataProfile:
    """Merge the rows that `profile_blocks` yielded in all tasks."""
    profiles = _empty_profiles(request, kinds)
    counts, examples, lacking = np.zeros(4, np.int64), list[tuple[str, str]](), Counter[str]()
    for row in report:
        if row["part"] == _COUNTS:
            counts += row["counts"]
        elif row["part"] == _LACKING:
            lacking.update(dict(zip(row["texts"], row["counts"], strict=True)))
        elif row["part"] == _EXAMPLE:
            examples.append((row["texts"][0], row["texts"][1]))
        else:
            profiles[row["part"]][row["name"]].merge_row(dict(row))
    rows, complete, bad, headers = map(int, counts)
    return DataProfile(
        rows, complete, dict(+lacking), profiles[_TRAINING], profiles[_HELD_OUT], bad, examples[:_EXAMPLES], headers
    )


def _empty_profiles(request: ProfileRequest, kinds: Mapping[str, str]) -> dict[str, dict[str, Profile]]:
    """Return empty profiles of the columns and of the derived features, per part of the rows."""
    all_kinds = {name: kinds[name] for name in request.columns} | {feature.name: "number" for feature in request.derived}
    return {part: {name: profile_for(kind) for name, kind in all_kinds.items()} for part in (_TRAINING, _HELD_OUT)}


def _parts(batch: pa.RecordBatch, held_out: str | None) -> list[tuple[str, pa.RecordBatch]]:
    """Return the rows to train on, and those that are held out."""
    if held_out is None:
        return [(_TRAINING, batch)]
    in_training = pc.equal(batch[held_out], 0).fill_null(True)
    return [(_TRAINING, batch.filter(in_training)), (_HELD_OUT, batch.filter(pc.invert(in_training)))]


def _with_values(batch: pa.RecordBatch, required: tuple[str, ...]) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """Return the rows with a value in each of these columns, and how many rows lack each."""
    complete, lacking = np.ones(batch.num_rows, bool), np.zeros(len(required), np.int64)
    for position, column in enumerate(map(batch.column, required)):
        has_value = pc.invert(pc.is_null(column, nan_is_null=True)).to_numpy(zero_copy_only=False)
        lacking[position] = batch.num_rows - np.count_nonzero(has_value)
        complete &= has_value
    return batch.filter(pa.array(complete)) if required else batch, lacking
