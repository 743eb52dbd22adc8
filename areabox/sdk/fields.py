"""One line of a form, as a connector declares it: how it is asked for, and what it may be.

    Topic = Annotated[str, Field("Topic", "Letters and digits.", pattern=r"^[A-Za-z0-9]{1,64}$")]

Several `Field`s on one type add up; the last to say something wins. So `Annotated[Url, Field("Server")]` is an address
that is labelled Server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec

Format = Literal[
    "url", "host", "target", "email", "cron", "duration", "datetime", "timezone", "color", "path", "template"
]  # fmt: skip


class _Label(msgspec.Struct, frozen=True):
    label: str = ""
    help: str = ""


class Field(_Label, frozen=True, kw_only=True):
    """How a parameter is asked for, and what it may be.

    `options` is an async function `(ctx, …, q) -> list[Option]`; the names of its parameters are the fields that its
    choices depend on. `check` is a function of the value that raises ValueError with what is wrong. `example` is a
    value that is valid, for the contract kit; the default or the placeholder is taken where it is left out.
    `fixed` refuses templates: for what must never be put together from data, as a statement of SQL.
    """

    secret: bool = False
    multiline: bool = False
    fixed: bool = False
    format: Format | None = None
    placeholder: str = ""
    options: Callable[..., Any] | None = None
    check: Callable[[Any], object] | None = None
    example: Any = msgspec.UNSET
    pattern: str | None = None
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    min_length: int | None = None
    max_length: int | None = None

    def over(self, below: Field) -> Field:
        """Return the two as one, in which this one wins."""
        defaults = zip(self.__struct_fields__, self.__struct_defaults__, strict=True)
        said = {name: value for name, default in defaults if (value := getattr(self, name)) is not default}
        return msgspec.structs.replace(below, **said)


class Option(msgspec.Struct, frozen=True):
    """One of the choices of a field: what is stored, and what a person reads."""

    value: str
    label: str = ""


Url = Annotated[str, Field(format="url", placeholder="https://example.org/")]
Text = Annotated[str, Field(multiline=True)]
Secret = Annotated[str, Field(secret=True)]
