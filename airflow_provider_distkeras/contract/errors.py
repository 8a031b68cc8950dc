"""The errors a user may meet. Each message names the thing, what was expected, what was received, and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DistKerasError(Exception):
    """Base of every error this package raises on purpose."""


class SpecError(DistKerasError, ValueError):
    """What was asked for is wrong: a name, a type or a range. Trying again cannot help."""


class DataError(DistKerasError, ValueError):
    """The data is not what was asked for: files, columns or values. Trying again cannot help."""


class ArtifactError(DistKerasError, RuntimeError):
    """An artifact cannot be read, written or trusted."""


class SupersededError(ArtifactError):
    """Another attempt has claimed the same period since, and decides. Trying again would take it from that one."""


class TrainingError(DistKerasError, RuntimeError):
    """A worker failed while training; the message carries the worker's traceback."""


class DivergenceError(TrainingError):
    """The loss or the weights stopped being finite numbers. Trying again with the same spec cannot help."""


class JobError(DistKerasError, RuntimeError):
    """A Spark job failed of what no other error of this package says. Its message does."""


#: Errors that the same spec on the same data will meet again, so that a retry is a waste.
PERMANENT = (SpecError, DataError, DivergenceError, SupersededError)


def unknown_name(kind: str, name: object, valid: Iterable[str]) -> SpecError:
    """An error for a name that is not one of `valid`, suggesting the nearest that is."""
    names = list(valid)
    close = difflib.get_close_matches(str(name).lower(), [n.lower() for n in names], n=1, cutoff=0.5)
    hint = next((f" Did you mean {n!r}?" for n in names if close and n.lower() == close[0]), "")
    return SpecError(f"Unknown {kind} {name!r}.{hint} Valid: {', '.join(names)}.")
