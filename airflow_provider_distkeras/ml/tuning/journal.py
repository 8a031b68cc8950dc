"""The journal of a study: a file per fit that has ended, so that a job that is cut off is resumed."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable
from dataclasses import asdict

from airflow_provider_distkeras.contract.errors import PERMANENT
from airflow_provider_distkeras.contract.files.storage import Storage
from airflow_provider_distkeras.ml.tuning.trial import FoldResult, TrialParams

logger = logging.getLogger(__name__)

#: Errors that the same fit would raise again; fits that failed otherwise are run again.
_PERMANENT_NAMES = {kind.__name__ for kind in PERMANENT}
_RECORD_NAME = re.compile(r"[0-9a-f]{24}\.json")


class Journal:
    """Records the results of fits in a folder, and reads those of earlier studies of the same spec.

    Args:
        storage: the file system of the folders.
        folder: where to record.
        earlier: folders of studies of the same spec, which were cut off.
        before_record: called before each record; raises an error if nothing may be written any more.
        within: a folder around that of the records, which must exist; None for any.
    """

    def __init__(
        self,
        storage: Storage,
        folder: str,
        earlier: list[str] | None = None,
        before_record: Callable[[], None] = lambda: None,
        within: str | None = None,
    ) -> None:
        self._storage, self._folder, self._before_record, self._within = storage, folder, before_record, within
        self._results: dict[str, FoldResult] = {}
        self._begun: dict[str, TrialParams] = {}
        for place in earlier or []:
            self._read(place)
        if self._results:
            logger.info("resuming: the results of %d fits of an earlier attempt are taken over", len(self._results))

    @property
    def begun(self) -> list[TrialParams]:
        """The params of the trials of which a result was read."""
        return [*self._begun.values()]

    def resume(self, params: TrialParams, fold: int) -> FoldResult | None:
        """Return the earlier result of a trial on a fold, recorded anew in this folder; None if there is none."""
        result = self._results.get(_record_name(params, fold))
        if result is not None:
            self.record(params, fold, result)  # the next attempt then reads this folder only
        return result

    def record(self, params: TrialParams, fold: int, result: FoldResult) -> None:
        """Write the result of a trial on a fold."""
        self._before_record()
        content = json.dumps({"params": params, "fold": fold, "outcome": asdict(result)})
        self._storage.write_bytes(f"{self._folder}/{_record_name(params, fold)}", content.encode(), within=self._within)

    def _read(self, folder: str) -> None:
        for name in filter(_RECORD_NAME.fullmatch, self._storage.list_names(folder)):  # a killed job leaves temporary files too
            record = json.loads(self._storage.read_bytes(f"{folder}/{name}"))
            result = FoldResult(**record["outcome"])
            if result.error is None or result.error.split(":")[0] in _PERMANENT_NAMES:
                self._results[name] = result
                self._begun[json.dumps(record["params"], sort_keys=True)] = record["params"]


def _record_name(params: TrialParams, fold: int) -> str:
    """Return a record's file name, a digest of what it is about."""
    identity = json.dumps([params, fold], sort_keys=True)
    return f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}.json"
