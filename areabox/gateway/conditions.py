"""May this change be made to what is there now? `If-Match` names what the client has seen; 412 if it is another by now.

It is compared with what the route that shows the thing answers at this moment: by the version where there is one, which
the handler looks at again when it writes, else by the digest. `If-None-Match: *` makes a PUT create and never replace.
With the setting `preconditions` a change without `If-Match` is refused (428).
"""

from __future__ import annotations

import msgspec

from areabox.gateway.answering import tag_of, tags
from areabox.gateway.problems import RefusedError
from areabox.gateway.routes import Answer, Ask, Route


def check(route: Route, ask: Ask, reader: Route | None, now: Answer | None, *, required: bool) -> None:
    """Raise `RefusedError` (412, 428) unless a change fits what the client has seen; `now` is what is there."""
    if reader is None or route.page or reader.path != route.path:
        return
    wanted, unwanted = ask.headers.get("if-match", "").strip(), ask.headers.get("if-none-match", "").strip()
    if unwanted == "*" and now is not None:
        raise RefusedError(412, "If-None-Match: there is one already")
    if wanted and now is None:
        raise RefusedError(412, "If-Match: there is none any more")
    if not wanted and required and now is not None:
        raise RefusedError(428, "say by If-Match what you have seen: the ETag of what you change")
    if wanted in ("", "*") or now is None:
        return
    if now.etag is not None:
        fits = now.etag in [tag.strip('"').partition("-")[0] for tag in tags(wanted)]
    else:
        fits = tag_of(None, msgspec.json.encode(now.value)) in tags(wanted)
    if not fits:
        raise RefusedError(412, "If-Match: it was changed meanwhile; read it again")
