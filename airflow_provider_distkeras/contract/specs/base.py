"""What every job is told: checked fields, built by an operator, read by the job; JSON in between."""

from __future__ import annotations

import hashlib
import json
from dataclasses import MISSING as REQUIRED
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Self

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import Check, Field, check_names

CONTRACT_VERSION = 1


def spec_field(check: Check, doc: str, default: Any = REQUIRED) -> Any:
    """A spec's field: how it is checked, what it means, and its default, if it has one."""
    metadata = {"field": Field(check, None if default is REQUIRED else default, doc)}
    if default is REQUIRED:
        return field(metadata=metadata)
    return field(default_factory=lambda: default.copy() if hasattr(default, "copy") else default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Base of all specs."""

    kind: ClassVar[str]

    @classmethod
    def build(cls, **said: Any) -> Self:
        """Check and cast every value, then the spec as a whole. Raises SpecError, naming the field."""
        declared = {f.name: f for f in fields(cls)}
        check_names(f"argument of the {cls.kind} spec", said, declared)
        cast = {name: declared[name].metadata["field"].cast(name, value) for name, value in said.items()}
        required = [name for name, f in declared.items() if f.default is f.default_factory is REQUIRED and name not in said]
        if required:
            raise SpecError(f"The {cls.kind} spec lacks {', '.join(required)}.")
        spec = cls(**cast)
        spec.check_whole()
        return spec

    def check_whole(self) -> None:
        """Check what only several fields together can say."""

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain JSON values."""
        return asdict(self)

    @property
    def sha256(self) -> str:
        """A digest of what is asked for: the same for the same request, whoever asks and whenever."""
        canonical = json.dumps([self.kind, CONTRACT_VERSION, self.to_dict()], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()
