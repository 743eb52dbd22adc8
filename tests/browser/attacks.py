"""What a hostile page sends, and what hostile text looks like."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from areabox.gateway.http import routes

RUN = "window.__ran=(window.__ran||0)+1"

# Each runs `RUN` in a page that takes text for markup somewhere; %s is the script.
VECTORS = (
    "<script>%s</script>", "<img src=x onerror='%s'>", "<svg onload='%s'>", "<svg><script>%s</script></svg>", "<body onload='%s'>",
    "<iframe srcdoc='<script>parent.%s</script>'></iframe>", "<iframe src='javascript:parent.%s'></iframe>", "<details open ontoggle='%s'>x</details>",
    "<video src=x onerror='%s'></video>", "<audio src=x onerror='%s'>", "<input autofocus onfocus='%s'>", "<select autofocus onfocus='%s'>",
    "<marquee onstart='%s'>x</marquee>", "<object data='javascript:%s'></object>", "<embed src='javascript:%s'>", "<a href='javascript:%s' id=c>x</a>",
    "<form action='javascript:%s'><button id=c>x</button></form>", "<math href='javascript:%s'>x</math>", "<style>@import 'javascript:%s';</style>",
    "<link rel=stylesheet href='javascript:%s'>", "<meta http-equiv=refresh content='0;url=javascript:%s'>", "<base href='javascript:%s//'>",
    "<template><script>%s</script></template>", "<noscript><p title='</noscript><img src=x onerror=%s>'>", "<svg><animate onbegin='%s' attributeName=x dur=1s>",
    "<div style='background:url(javascript:%s)'>x</div>", "<p style='animation-name:x' onanimationstart='%s'>", "<svg><a xlink:href='javascript:%s'><text>x</text></a></svg>",
    "[x](javascript:%s)", '![x](x"onerror="%s)', "<javascript:%s>", "[x]: javascript:%s\n[x]", "`<script>%s</script>`", "{{ constructor.constructor('%s')() }}", "${%s}",
    "<x onclick='%s' id=c>x</x>", "<button popovertarget=x onbeforetoggle='%s'>", "<img srcset='x' onerror='%s'>", "<script src='data:text/javascript,%s'></script>", "<isindex type=image src=1 onerror='%s'>",
)  # fmt: skip
WRAPPERS = ("%s", "\"'>%s", "</title></textarea></script>%s", "--><![CDATA[%s]]>", "\u003c/pre>\u2028%s")
PAYLOADS = [wrapper.replace("%s", vector.replace("%s", RUN)) for vector in VECTORS for wrapper in WRAPPERS]

BODIES = [["text/plain", '{"x":1}'], ["application/x-www-form-urlencoded", "a=1&choice=x&as=done&csrf="], ["multipart/form-data; boundary=b", "--b--"]]
HEAD = b"<!doctype html><meta charset=utf-8><title>busy</title><body>"


def hostile(target: str, things: dict[str, str], *, every: bool) -> str:
    """Return a page that tries what a page elsewhere can make a browser send to `target`; `every` kind of body of it."""
    bodies = BODIES if every else BODIES[:1]
    enctypes = ["text/plain", "application/x-www-form-urlencoded"] if every else ["application/x-www-form-urlencoded"]
    changing = [(route.method, filled(route.path, things)) for route in routes() if route.method != "GET"]
    reading = [filled(route.path, things) for route in routes() if route.method == "GET" and route.path != "/api/v1/stream"]
    return f"""<script>
const target = {json.dumps(target)}, changing = {json.dumps(changing)}, reading = {json.dumps(reading)};
const bodies = {json.dumps(bodies)}, enctypes = {json.dumps(enctypes)};
const sent = [];
const credentials = "include", read = [];
for (const [method, path] of changing) {{
  for (const [type, body] of bodies) {{
    sent.push(fetch(target + path, {{method: "POST", mode: "no-cors", credentials, headers: {{"content-type": type}}, body}}));
    sent.push(fetch(target + path, {{method: "POST", mode: "no-cors", credentials, referrerPolicy: "no-referrer", body}}));
  }}
  sent.push(fetch(target + path, {{method, mode: "cors", credentials, headers: {{"content-type": "application/json"}}, body: "{{}}"}}).then((a) => a.text()).then((t) => read.push(t)));
  navigator.sendBeacon(target + path, new Blob(["{{}}"], {{type: "text/plain"}}));
  for (const enctype of enctypes) {{
    const frame = Object.assign(document.createElement("iframe"), {{name: `f${{sent.length}}`, sandbox: ""}});
    frame.removeAttribute("sandbox");
    document.body.append(frame);
    const form = Object.assign(document.createElement("form"), {{method: "post", action: target + path, target: frame.name, enctype}});
    form.append(Object.assign(document.createElement("input"), {{name: '{{"a":"', value: '"}}'}}));
    document.body.append(form);
    sent.push(new Promise((done) => {{ frame.addEventListener("load", () => setTimeout(done, 0)); frame.addEventListener("error", done); }}));
    form.submit();
  }}
}}
for (const path of reading) {{
  sent.push(fetch(target + path, {{mode: "no-cors", credentials}}));
  sent.push(fetch(target + path, {{mode: "cors", credentials}}).then((a) => a.text()).then((t) => read.push(t)));
  new Image().src = target + path;
}}
const source = new EventSource(target + "/api/v1/stream", {{withCredentials: true}});
source.onmessage = source.onopen = () => read.push("stream");
const patience = new Promise((done) => setTimeout(done, 10000));
Promise.race([Promise.allSettled(sent), patience]).then(() => {{ window.read = read; document.title = "done"; }});
</script>"""


def filled(path: str, things: dict[str, str]) -> str:
    """Return a route's address with what there is in it."""
    parts, before = [], ""
    for part in path.split("/"):
        parts.append(re.sub(r"{\w+}", things.get(before, "x"), part))
        before = part
    return "/".join(parts)


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page = self.server.page  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(HEAD + page.encode())

    def log_message(self, *_: Any) -> None:
        pass


class Elsewhere(ThreadingHTTPServer):
    """A server that shows one page, whatever is asked."""

    page = ""


@contextmanager
def elsewhere() -> Iterator[Elsewhere]:
    server = Elsewhere(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(30)
