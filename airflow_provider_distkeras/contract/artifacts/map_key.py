"""Map keys: the text that names the segment of the data that a mapped task is about, such as a city, whatever its map index.

The map index depends on the order of a list, which may be another one in the next run; what is filed by it is mixed up then.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from airflow_provider_distkeras.contract.errors import MalformedError
from airflow_provider_distkeras.contract.json_object import build
from airflow_provider_distkeras.contract.period import slug

_MAX_LETTERS = 100
#: How the slug of a text with unsafe characters ends.
_DIGEST = re.compile(r"-[0-9a-f]{8}$")


@dataclass(frozen=True)
class MapKey:
    """The map key of a task instance, as the operator pushes it to XCom.

    Attributes:
        text: the key.
        map_index: the map index of the task instance; -1 if it is not mapped.
        clear_number: how often the DAG run was cleared before: of an earlier time, other keys may be left.
    """

    XCOM: ClassVar[str] = "distkeras_map_key"

    text: str
    map_index: int
    clear_number: int

    @classmethod
    def from_xcom(cls, value: object) -> MapKey | None:
        """Return the key that an XCom holds; None if it holds none."""
        if not isinstance(value, dict):
            return None
        try:
            return build(cls, value, {"text": str, "map_index": int, "clear_number": int}, "The map key")
        except MalformedError:
            return None

    def is_taken_by(self, other: MapKey) -> bool:
        """Return whether another task instance of the same run and time has the same key."""
        return (self.text, self.clear_number) == (other.text, other.clear_number) and self.map_index != other.map_index

    def to_dict(self) -> dict[str, Any]:
        """Return the key as plain JSON values."""
        return asdict(self)


def segment_folder(segment: int | str) -> str:
    """Return the folder of a segment below its task's; empty for a task that is not mapped.

    Args:
        segment: the map key, or the map index of a mapped task without one, or -1.
    """
    if isinstance(segment, int):
        return str(segment) if segment >= 0 else ""
    folder = slug(segment)
    # As a map index, as a period, as the slug of another key, or too long for a file.
    is_taken = folder.isdecimal() or "=" in folder or (folder == segment and _DIGEST.search(folder))
    if is_taken or len(folder) > _MAX_LETTERS:
        digest = hashlib.sha256(segment.encode()).hexdigest()[:8]
        return f"{folder[:_MAX_LETTERS].replace('=', '_')}-{digest}"
    return folder
