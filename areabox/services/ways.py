"""One way in to a service, ready to use: its form, and the headers and address that its values give."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from areabox.sdk import Auth, Connector
from areabox.services import forms
from areabox.services.forms import Form

_PLACE = re.compile(r"\{(\w+)\}")


class Way(msgspec.Struct, frozen=True):
    """A way in: what is asked for and what is made of it."""

    id: str
    label: str
    help: str
    optional: bool
    form: Form
    auth: Auth
    struct: type[msgspec.Struct]  # of the values, with a repr that shows no secrets

    def view(self, values: Mapping[str, Any]) -> Any:
        """Return what a connector sees as `ctx.auth`; raises InputError for values that do not fit."""
        return self.struct(**self.form.convert(values))

    def headers(self, values: Any) -> dict[str, str]:
        """Return the access headers that values give; a header whose fields are all empty is left out."""
        filled = {_filled(name, values): _filled(text, values) for name, text in self.auth.headers.items()}
        made = {name: text for name, text in filled.items() if name and text}
        if self.auth.basic is not None:
            user, password = (str(getattr(values, name)) for name in self.auth.basic)
            if user or password:
                made["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        return made


def way_of(connector: Connector, auth: Auth) -> Way:
    """Return a way in of a connector; raises TypeError where a field cannot be asked for."""
    form = forms.of_types(f"{connector.id}_{auth.id}", auth.fields)
    texts = [*auth.headers, *auth.headers.values()]
    used = {name for text in texts for name in _PLACE.findall(text)} | set(auth.basic or ())
    if unknown := used - form.fields.keys():
        raise TypeError(f"the way {auth.id} sends {', '.join(sorted(unknown))}, which it does not ask for")
    return Way(auth.id, auth.label, auth.help, auth.optional, form, auth, _masked(form))


def _masked(form: Form) -> type[msgspec.Struct]:
    """Return a struct of the form's values whose repr shows the names only."""
    shown = f"<credentials: {', '.join(form.fields)}>"
    members = [(name, Any) for name in form.fields]
    return msgspec.defstruct("Credentials", members, frozen=True, namespace={"__repr__": lambda self: shown})  # noqa: ARG005


def _filled(text: str, values: Any) -> str:
    """Return a header's text with the values in it, nothing where they are all empty."""
    found = {name: str(getattr(values, name) or "") for name in _PLACE.findall(text)}
    if found and not any(found.values()):
        return ""
    return _PLACE.sub(lambda place: found[place[1]], text)
