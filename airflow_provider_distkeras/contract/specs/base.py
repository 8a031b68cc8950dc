"""The base of all specs: checked fields that an operator builds and a job reads, with JSON in between."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING as REQUIRED
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Self, get_type_hints

from airflow_provider_distkeras.contract.errors import ArtifactError, SpecError
from airflow_provider_distkeras.contract.fields import Check, Field, check_names
from airflow_provider_distkeras.contract.json_object import check_members
from airflow_provider_distkeras.contract.migration import Migration, migrate

_spec_classes: dict[str, type[Spec]] = {}


def spec_field(check: Check, doc: str, default: Any = REQUIRED, *, alias: str | None = None) -> Any:
    """Declare a field of a spec.

    Args:
        check: what checks and casts a value.
        doc: what the field means.
        default: the field's default; without one, the field is required.
        alias: the field's name in an earlier version, which is accepted too.
    """
    metadata = {"field": Field(check, None if default is REQUIRED else default, doc), "alias": alias}
    if default is REQUIRED:
        return field(metadata=metadata)
    return field(default_factory=lambda: default.copy() if hasattr(default, "copy") else default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class JobDetails:
    """Base of the details of a job that its manifest holds beside the result.

    Attributes:
        seconds: how long the job took.
        versions: the version of each package that made the result.
    """

    seconds: float | None = None
    versions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], what: str) -> Self:
        """Return the details that a manifest holds; names that are no field of this class are left out.

        Args:
            content: the details.
            what: what holds them, for messages.

        Raises:
            MalformedError: a field has another type.
        """
        types = get_type_hints(cls)
        check_members(content, types, what)
        return cls(**{name: value for name, value in content.items() if name in types})

    def to_dict(self) -> dict[str, Any]:
        """Return the details as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Base of all specs. A class with a `kind` of its own is the spec of a job and is registered under it.

    Attributes:
        kind: the name of the job, which its file in `jobs` has too.
        version: the version of the fields, raised when a job of the version before could not read them.
        migrations: per version that needs one, the step to the next version.
        result_fields: the keys of the job's result.
        main_artifact: the key of the result that asset events give as `uri`.
        artifacts: what lineage calls an artifact, per key of the result or the details that holds its path.
        details_class: the class of the details in the job's manifest.
        added_fields: fields that came later; while they have their default the digest leaves them out, and is what it was before.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    migrations: ClassVar[Mapping[int, Migration]] = {}
    result_fields: ClassVar[tuple[str, ...]]
    main_artifact: ClassVar[str]
    artifacts: ClassVar[Mapping[str, str]] = {}
    details_class: ClassVar[type[JobDetails]]
    added_fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        if "kind" in cls.__dict__:
            _spec_classes[cls.kind] = cls

    @classmethod
    def build(cls, **values: Any) -> Self:
        """Return the spec of these values, each checked and cast, and then the spec as a whole.

        Raises:
            SpecError: a value is wrong; the message names the field.
        """
        cast = cls.cast(values)
        missing = [name for name in cls.required() if name not in cast]
        if missing:
            raise SpecError(f"The {cls.kind} spec lacks {', '.join(missing)}.")
        spec = cls(**cast)
        spec.check_whole()
        return spec

    @classmethod
    def cast(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Return values of some fields, each checked and cast, under the fields' present names. Raises SpecError."""
        declared = {f.name: f for f in fields(cls)}
        values = cls._without_aliases(values)
        check_names(f"argument of the {cls.kind} spec", values, declared)
        return {name: declared[name].metadata["field"].cast(name, value) for name, value in values.items()}

    @classmethod
    def required(cls) -> list[str]:
        """Return the names of the fields that have no default, in their order."""
        return [f.name for f in fields(cls) if f.default is f.default_factory is REQUIRED]

    @classmethod
    def _without_aliases(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Return the values under the fields' present names."""
        names = {f.metadata["alias"]: f.name for f in fields(cls) if f.metadata["alias"]}
        for alias in names.keys() & values.keys():
            if names[alias] in values:
                raise SpecError(f"{names[alias]}: received {alias} too, which is its earlier name. Leave {alias} out.")
        return {names.get(name, name): value for name, value in values.items()}

    @classmethod
    def from_dict(cls, content: dict[str, Any], version: object) -> Self:
        """Return the spec that `to_dict` gave in this version or an earlier one, checked again.

        Raises:
            ArtifactError: the version is newer than this package's.
            SpecError: a value is wrong.
        """
        what = f"The {cls.kind} spec"
        return cls.build(**migrate(what, content, written=version, current=cls.version, migrations=cls.migrations))

    def check_whole(self) -> None:
        """Check the fields against each other. Raises SpecError."""

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain JSON values."""
        return asdict(self)

    @property
    def sha256(self) -> str:
        """A digest of the spec's values, whatever versions wrote them."""
        usual = {f.name: f.metadata["field"].default for f in fields(self) if f.name in self.added_fields}
        values = {name: value for name, value in self.to_dict().items() if name not in usual or value != usual[name]}
        canonical = json.dumps([self.kind, values], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


def spec_class_of(kind: object, what: str) -> type[Spec]:
    """Return the spec class of a kind of job.

    Args:
        kind: the kind.
        what: what the kind was read from, for the message.

    Raises:
        ArtifactError: there is no such kind of job.
    """
    if not isinstance(kind, str) or kind not in _spec_classes:
        raise ArtifactError(f"{what} is not valid: expected the kind {', '.join(_spec_classes)}, received {kind!r}.")
    return _spec_classes[kind]
