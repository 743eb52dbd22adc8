"""What does a request look like on the wire, and where does it go? URLs and heads, without any I/O.

A URL is read once (IDNA, percent-encoding: httpx2's own parser) and kept in a small table, since areas ask for the same
few addresses all day.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import quote, unquote

import httpx2
import msgspec

from areabox import __version__
from areabox.errors import Permanent
from areabox.services.bodies import ACCEPTED
from areabox.services.wire import Header

Headers = Mapping[str, str] | Iterable[tuple[str, str]]

URL_MAX = 1 << 16
SOCKET = "http+unix://"
USER_AGENT = f"areabox/{__version__}"
_DEFAULTS = {
    "user-agent": f"User-Agent: {USER_AGENT}",
    "accept": "Accept: */*",
    "accept-encoding": f"Accept-Encoding: {ACCEPTED}",
}
_TABLE_MAX = 512
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")
_HOST = re.compile(r"[a-z0-9._-]{1,253}|[0-9a-f:.]{2,45}(%[a-z0-9._-]{1,32})?")
_BREAK = re.compile(r"[\0\r\n]")
_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "REPORT", "PROPFIND", "MKCOL", "MOVE"}
)
_REPEATABLE = frozenset(
    {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PROPFIND", "REPORT"}
)  # RFC 9110 §9.2.2: idempotent
_OURS = frozenset(  # the connection's own business, never the caller's
    {"connection", "content-length", "host", "http2-settings", "keep-alive", "proxy-connection"}
    | {"te", "trailer", "transfer-encoding", "upgrade"}
)


class Target(msgspec.Struct, frozen=True):
    """Where a request goes. `host` is in lower case and ASCII, `authority` is `host:port`, `userinfo` of the URL."""

    url: str
    scheme: str
    host: str
    port: int
    path: bytes
    host_header: str
    userinfo: str = ""
    socket: str = ""  # the path of a Unix socket; `host` is then that behind `unix:`, which nobody can type

    @property
    def origin(self) -> tuple[str, str, int]:
        """Return what must be equal for two requests to go to the same party."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """Return host and port as a name for people and for the limits."""
        return self.socket or self.host_header


class Targets:
    """Reads URLs, and remembers the last few hundred."""

    def __init__(self) -> None:
        self._table: dict[str, Target] = {}

    def read(self, url: str) -> Target:
        """Return where a URL leads; raises `Permanent` with a sentence if it is none that a request can go to."""
        target = self._table.get(url)
        if target is None:
            if len(self._table) >= _TABLE_MAX:
                self._table.clear()
            target = self._table[url] = read_url(url)
        return target


def read_url(url: str) -> Target:
    """Return where a URL leads; raises `Permanent`."""
    if len(url) > URL_MAX:
        raise Permanent(f"the address is {len(url)} characters long")
    if url.startswith(SOCKET):
        return _read_socket(url)
    try:
        parsed = httpx2.URL(url.strip())
    except (httpx2.InvalidURL, ValueError, TypeError) as error:
        raise Permanent(f"{_shown(url)} is no address that can be read") from error
    scheme, host = parsed.scheme, parsed.raw_host.decode("ascii").lower().rstrip(".")
    if scheme not in {"http", "https"}:
        raise Permanent(f"{_shown(url)} does not begin with http:// or https://")
    port = parsed.port or (443 if scheme == "https" else 80)
    if _HOST.fullmatch(host) is None or not 0 < port < 65536:
        raise Permanent(f"{_shown(url)} names no host")
    shown = f"[{host}]" if ":" in host else host
    default = port == (443 if scheme == "https" else 80)
    return Target(
        url=str(parsed.copy_with(fragment=None, username=None, password=None)),
        scheme=scheme,
        host=host,
        port=port,
        path=parsed.raw_path,
        host_header=shown if default else f"{shown}:{port}",
        userinfo=parsed.userinfo.decode("ascii", "replace"),
    )


def socket_url(path: str) -> str:
    """Return the address behind which the paths of a service at a Unix socket lie."""
    return SOCKET + quote(path, safe="")


def host_key(path: str) -> str:
    """Return what a socket is called among the hosts that a person typed; no host is spelt so."""
    return f"unix:{path}"


def _read_socket(url: str) -> Target:
    """Return where `http+unix://%2Frun%2Fa.sock/path` leads."""
    place, _, rest = url.removeprefix(SOCKET).partition("/")
    path, asked = unquote(place), quote(f"/{rest.partition('#')[0]}", safe="/?&=%:@!$'()*+,;-._~")
    if not path.startswith("/") or "\0" in path:
        raise Permanent(f"{_shown(url)} names no socket")
    return Target(url, SOCKET.partition(":")[0], host_key(path), 0, asked.encode(), "localhost", socket=path)


def join_url(base: str, location: str) -> str:
    """Return the absolute URL that a `Location` means; raises `Permanent`."""
    try:
        return str(httpx2.URL(base).join(location))
    except (httpx2.InvalidURL, ValueError) as error:
        raise Permanent(f"{_shown(base)} redirects to {_shown(location)}, which is no address") from error


def host_of(text: str) -> str:
    """Return the host of a URL, or of `host` or `host:port`, as rights and credentials name it; raises `Permanent`."""
    return read_url(text if "://" in text else f"http://{text}").host


def check_method(method: str) -> str:
    """Return the method in capitals; raises `Permanent` for one that is not spoken here."""
    if method in _METHODS:
        return method
    upper = method.upper()
    if upper not in _METHODS:
        raise Permanent(f"{method[:40]!r} is no method that areabox speaks; there are {', '.join(sorted(_METHODS))}")
    return upper


def repeatable(method: str) -> bool:
    """Tell whether sending such a request twice does the same as sending it once."""
    return method in _REPEATABLE


def header_list(headers: Headers) -> list[tuple[str, str]]:
    """Return headers as pairs, without those that are the connection's own; raises `Permanent` if one is malformed."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    checked = []
    for name, value in pairs:
        if _BREAK.search(value) is not None:
            raise Permanent(f"the header {name[:60]} holds a line break")
        if _lower(name) not in _OURS:
            checked.append((name, value))
    return checked


@lru_cache(maxsize=1024)
def _lower(name: str) -> str:
    """Return a header's name in lower case; raises `Permanent` if it is none."""
    if _TOKEN.fullmatch(name) is None:
        raise Permanent(f"{name[:60]!r} is no name of a header")
    return name.lower()


def request_head(method: str, target: Target, headers: list[tuple[str, str]], length: int | None) -> bytes:
    """Return the head of a request; `length` is that of its body, None if there is none."""
    names = {_lower(name) for name, _ in headers}
    lines = [f"Host: {target.host_header}"]
    lines += [line for name, line in _DEFAULTS.items() if name not in names]
    lines += [f"{name}: {value}" for name, value in headers]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    text = "\r\n".join(lines)
    return b"%b %b HTTP/1.1\r\n%b\r\n\r\n" % (method.encode(), target.path, text.encode())


def value_of(headers: list[Header], name: bytes) -> bytes | None:
    """Return a header of an answer, the last one if there are several."""
    found = None
    for key, value in headers:
        if key == name:
            found = value
    return found


def _shown(url: str) -> str:
    """Return what of a URL may stand in a message: no query and no password, they are often secret."""
    return repr(re.sub(r"//[^/@]*@", "//", re.split(r"[?#]", url, maxsplit=1)[0])[:120])


def basic(userinfo: str) -> str:
    """Return the Authorization header of a URL's `name:password` (RFC 7617)."""
    name, _, password = userinfo.partition(":")
    return "Basic " + base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
