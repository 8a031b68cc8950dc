"""The errors of this package. Each message names the thing, what was expected, what was received, and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DistKerasError(Exception):
    """Base of every error this package raises on purpose."""


class SpecError(DistKerasError, ValueError):
    """A wrong argument: a name, a type or a range. A retry cannot help."""


class DataError(DistKerasError, ValueError):
    """Data that do not fit the arguments: files, columns or values. A retry cannot help."""


class ArtifactError(DistKerasError, RuntimeError):
    """An artifact that cannot be read, written or trusted."""


class MalformedError(ArtifactError, ValueError):
    """A file whose content is not what this package writes there."""


class SupersededError(ArtifactError):
    """A newer attempt has claimed the same period, and its result counts. A retry would take the period from that attempt."""


class TrainingError(DistKerasError, RuntimeError):
    """A worker that failed while training; the message carries the worker's traceback."""


class DivergenceError(TrainingError):
    """A loss or weights that are not finite any more. A retry with the same spec cannot help."""


class JobError(DistKerasError, RuntimeError):
    """A Spark job that failed by an error that is not this package's; the message holds it."""


#: Errors that the same spec on the same data causes again, so that a retry is useless.
PERMANENT = (SpecError, DataError, DivergenceError, SupersededError)


def unknown_name(kind: str, name: object, valid: Iterable[str]) -> SpecError:
    """Return the error for a name that is not one of `valid`; its message suggests the nearest one."""
    names = list(valid)
    close = difflib.get_close_matches(str(name).lower(), [n.lower() for n in names], n=1, cutoff=0.5)
    hint = next((f" Did you mean {n!r}?" for n in names if close and n.lower() == close[0]), "")
    return SpecError(f"Unknown {kind} {name!r}.{hint} Valid: {', '.join(names)}.")
