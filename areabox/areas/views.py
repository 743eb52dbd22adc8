"""What the area language asks of the catalogue of operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from areabox.errors import Problem


class FieldView(Protocol):
    """One parameter of an operation."""

    @property
    def name(self) -> str:
        """Return the parameter's name."""
        ...

    @property
    def required(self) -> bool:
        """Return whether it has no default."""
        ...


class OperationView(Protocol):
    """An action or a reaction."""

    @property
    def id(self) -> str:
        """Return its name with the service's: `rss.new_entry`."""
        ...

    @property
    def kind(self) -> str:
        """Return how an action learns of events: poll, stream, schedule, hook or internal; for reactions `reaction`."""
        ...

    @property
    def fields(self) -> Mapping[str, FieldView]:
        """Return the parameters by name."""
        ...

    @property
    def needs_connection(self) -> bool:
        """Return whether it works only with a connection."""
        ...

    @property
    def takes_connection(self) -> bool:
        """Return whether it can be given a connection."""
        ...

    def upgraded(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return parameters that may be older in today's form."""
        ...

    def check(self, params: dict[str, Any]) -> list[Problem]:
        """Return what is wrong with literal parameters; pointers begin at the parameters."""
        ...

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the parameters."""
        ...


class CatalogueView(Protocol):
    """The operations that there are."""

    def action(self, name: str, /) -> OperationView | None:
        """Return the action of that name, or None."""
        ...

    def reaction(self, name: str, /) -> OperationView | None:
        """Return the reaction of that name, or None."""
        ...

    def names(self, kind: str, /) -> list[str]:
        """Return the names of all operations of a kind: `action` or `reaction`."""
        ...
