"""Where is the next page of a list? Four habits that services have."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urljoin

import msgspec

from areabox.services.answers import Reply

Style = Literal["link", "cursor", "page", "offset"]
_PARAMS: dict[Style, str] = {"link": "", "cursor": "cursor", "page": "page", "offset": "offset"}


class Paging(msgspec.Struct, frozen=True):
    """How a service pages: `cursor` is a dotted path into its answer, `size` the items of a full page."""

    style: Style
    param: str
    cursor: str
    size: int

    def following(self, answer: Reply, body: Any, number: int, count: int) -> str | dict[str, Any] | None:
        """Return the address or the parameters of the page behind the `number`th (from 0); None if it was the last."""
        param = self.param or _PARAMS[self.style]
        match self.style:
            case "link":
                return _linked(answer)
            case "cursor":
                return _continued(answer, at(body, self.cursor), param)
            case "page":
                return {param: number + 2} if count >= self.size else None
            case "offset":
                return {param: (number + 1) * self.size} if count >= self.size else None


def at(value: Any, path: str) -> Any:
    """Return what lies at a dotted path in a JSON value, None if nothing does."""
    for part in path.split(".") if path else ():
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _linked(answer: Reply) -> str | None:
    """Return the next address by the Link header (RFC 8288)."""
    for part in answer.headers.get("link", "").split(","):
        address, _, relation = part.partition(";")
        if 'rel="next"' in relation or "rel=next" in relation:
            return urljoin(answer.url, address.strip().strip("<>"))
    return None


def _continued(answer: Reply, found: Any, param: str) -> str | dict[str, Any] | None:
    if not found:
        return None
    return urljoin(answer.url, found) if isinstance(found, str) and found.startswith(("http", "/")) else {param: found}
