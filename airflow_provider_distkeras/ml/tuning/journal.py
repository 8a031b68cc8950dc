"""What a search has found out so far, a file per fit, so that a job that was cut off is gone on with."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from dataclasses import asdict

from airflow_provider_distkeras.contract.errors import PERMANENT
from airflow_provider_distkeras.contract.files.storage import Storage
from airflow_provider_distkeras.ml.tuning.samplers import Params
from airflow_provider_distkeras.ml.tuning.trial import FoldResult

logger = logging.getLogger(__name__)

#: Failures that the same cell would meet again; others are tried again.
_LASTING = {kind.__name__ for kind in PERMANENT}
_RECORD = re.compile(r"[0-9a-f]{24}\.json")


class Journal:
    """Records fits in a folder, and knows those in the folders of earlier searches for the same.

    Args:
        storage: the file system of the folders.
        folder: where to record.
        earlier: folders of searches with the same spec, which were cut off.
    """

    def __init__(self, storage: Storage, folder: str, earlier: list[str] | None = None) -> None:
        self._storage, self._folder = storage, folder
        self._known: dict[str, FoldResult] = {}
        self._cells: dict[str, Params] = {}
        for place in earlier or []:
            for name in filter(_RECORD.fullmatch, storage.list_names(place)):  # a killed job may have left half a file by another
                said = json.loads(storage.read_bytes(f"{place}/{name}"))
                outcome = FoldResult(**said["outcome"])
                if outcome.error is None or outcome.error.split(":")[0] in _LASTING:
                    self._known[name] = outcome
                    self._cells[json.dumps(said["params"], sort_keys=True)] = said["params"]
        if self._known:
            logger.info("going on: %d fits are known from an earlier attempt", len(self._known))

    @property
    def cells(self) -> list[Params]:
        """The cells of which a fit is known."""
        return [*self._cells.values()]

    def known(self, params: Params, fold: int) -> FoldResult | None:
        """What a cell came to on a fold, if that is known."""
        outcome = self._known.get(_name(params, fold))
        if outcome is not None:
            self.record(params, fold, outcome)  # the next attempt need only look here
        return outcome

    def record(self, params: Params, fold: int, outcome: FoldResult) -> None:
        """Record what a cell came to on a fold."""
        content = json.dumps({"params": params, "fold": fold, "outcome": asdict(outcome)})
        self._storage.write_bytes(f"{self._folder}/{_name(params, fold)}", content.encode())


def _name(params: Params, fold: int) -> str:
    said = json.dumps([params, fold], sort_keys=True)
    return f"{hashlib.sha256(said.encode()).hexdigest()[:24]}.json"
