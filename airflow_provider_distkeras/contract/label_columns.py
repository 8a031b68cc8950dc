"""The columns to predict: how a spec names one or several, and what they are called in a prepared dataset."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import list_of, text

_LABEL = "label"

#: The column to predict, or several.
LabelCol = str | list[str]


def label_col(name: str, value: Any) -> LabelCol:
    """Check for a column's name, or a list of several; a list of one is that one."""
    if isinstance(value, str) and not value.startswith('["'):  # which is a list as JSON, of a template
        return text(name, value)
    columns: list[str] = list_of(text, minimum=1)(name, value)
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise SpecError(f"{name}: {twice!r} is there twice in {columns!r}: expected each label once.")
    return columns if len(columns) > 1 else columns[0]


def label_names(columns: LabelCol) -> list[str]:
    """Return the labels' names, of one or several."""
    return [columns] if isinstance(columns, str) else list(columns)


def label_roles(names: Iterable[str]) -> dict[str, str]:
    """Return the labels by their columns in a prepared dataset: `label` for a single one, else `label_` and its name."""
    labels = list(names)
    return {_LABEL if len(labels) == 1 else f"{_LABEL}_{name}": name for name in labels}


def is_label(role: str) -> bool:
    """Return whether a column of a prepared dataset is a label."""
    return role == _LABEL or role.startswith(f"{_LABEL}_")


def option_of(role: str) -> str:
    """Return the field of a spec that names the columns of a role."""
    return f"{_LABEL if is_label(role) else role}_col"
