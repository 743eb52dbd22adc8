"""How does a connection prove who it is? Each way in is a form, and the headers that are made of it.

The headers go to the service's own hosts only, and the runtime adds them: connector code never sees them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from areabox.sdk.fields import Field


class Auth(msgspec.Struct, frozen=True, kw_only=True):
    """A way in. `fields` are what a person fills in; in `headers` `{name}` stands for a field's value.

    A header whose fields are all empty is not sent. `basic` names the fields of a user name and a password.
    """

    id: str
    label: str
    help: str = ""
    fields: Mapping[str, Any] = {}
    headers: Mapping[str, str] = {}
    basic: tuple[str, str] | None = None
    optional: bool = False  # works without a connection, too


def NoAuth() -> Auth:  # noqa: N802 -- the words of the connector API
    """Return the way of a service that asks nobody."""
    return Auth(id="none", label="Without an account", optional=True)


def Key(  # noqa: N802 -- the words of the connector API
    label: str = "API key",
    *,
    header: str = "Authorization",
    prefix: str = "Bearer ",
    help: str = "",
    id: str = "key",
    **fields: Any,
) -> Auth:
    """Return the way of a single key that is sent in a header; `fields` asks for more, as an address."""
    key = Annotated[str, Field(label, help, secret=True)]
    return Auth(id=id, label=label, help=help, fields={**fields, "key": key}, headers={header: prefix + "{key}"})


def Basic(label: str = "User name and password", *, help: str = "", id: str = "basic", **fields: Any) -> Auth:  # noqa: N802 -- the same
    """Return the way of a user name and a password (RFC 7617)."""
    asked = {
        **fields,
        "username": Annotated[str, Field("User name")],
        "password": Annotated[str, Field("Password", secret=True)],
    }
    return Auth(id=id, label=label, help=help, fields=asked, basic=("username", "password"))


def Fields(  # noqa: N802 -- the words of the connector API
    label: str = "Account",
    *,
    help: str = "",
    id: str = "fields",
    bearer: str | None = None,
    basic: tuple[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    **fields: Any,
) -> Auth:
    """Return a way with a form of its own: `Fields(url=Url, token=Secret, bearer="token")`.

    A field is a type, or a pair of a type and its default. `bearer` names the field that is sent as a bearer token.
    """
    sent = dict(headers or {})
    if bearer is not None:
        sent["Authorization"] = f"Bearer {{{bearer}}}"
    return Auth(id=id, label=label, help=help, fields=fields, headers=sent, basic=basic)
