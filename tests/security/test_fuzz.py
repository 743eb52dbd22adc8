"""G16: the description of the API against what is served, by requests made of the description itself.

Schemathesis makes requests that fit the OpenAPI document and requests that do not. None may be answered by a failure of
ours, by a status or a media type that the document does not name, or by a body of another shape than it says.
"""

from __future__ import annotations

import contextlib
import socket
import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from tests.faults.daemon import Daemon, hook
from tests.security.figures import figure
from tests.support import FULL

CASES = 60_000 if FULL else 600  # over all operations
# What would end the others' run: a stream without end, a pause for everybody, the account that asks.
LEFT_OUT = {("get", "/api/v1/stream"), ("post", "/api/v1/system/maintenance"), ("post", "/api/v1/system/pause"), ("put", "/api/v1/me/password")}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    found = Daemon(tmp_path_factory.mktemp("fuzz"))
    found.own()
    try:
        found.start()
        yield found
    finally:
        found.kill()


@pytest.fixture(scope="module")
def things(daemon: Daemon) -> dict[str, str]:
    """Return one thing of every kind, by the word before it in an address."""
    address = daemon.apply(hook("hello", {"return": {"n": 1}}))["hello"]
    with daemon.local() as api:
        run = api.post("/areas/hello/runs?wait=30", json={}).json()["id"]
        event = api.post(address, json={"a": 1}).json()["event"]
        values = {"service": "http", "name": "c", "auth": "token", "values": {"site": "http://127.0.0.1:9", "key": "k"}, "test": False}
        connection = api.post("/connections", json=values).json()["id"]
        user = api.post("/users", json={"email": "n@example.org", "role": "viewer"}).json()["id"]
        token = api.post("/tokens", json={"name": "spare"}).json()["id"]
    return {"areas": "hello", "runs": run, "events": event, "connections": connection, "users": user, "tokens": token,
            "services": "webhook", "versions": "1", "steps": "s1", "hooks": address.rpartition("/")[2]}  # fmt: skip


def real(path: str, things: dict[str, str]) -> dict[str, str]:
    """Return what to put into an address so that there is something at it."""
    parts = path.split("/")
    return {part.strip("{}"): things[before] for before, part in pairwise(parts) if part.startswith("{") and before in things}


def operations(daemon: Daemon) -> tuple[list[Any], dict[str, str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import schemathesis

        token = daemon.cli("token", "add", "fuzz", "--user", "owner@example.org").strip()
        headers = {"Authorization": f"Bearer {token}"}
        schema = schemathesis.openapi.from_url(f"{daemon.url}/api/openapi.json", headers=headers)
        found = [result.ok() for result in schema.get_all_operations()]
    asked = [one for one in found if (one.method.lower(), one.path) not in LEFT_OUT]
    return sorted(asked, key=lambda one: one.method.lower() == "delete"), headers


def raw(random: Random, path: str) -> bytes:
    """Return what could be a request to a webhook: mostly well formed, with something odd in it."""
    method = random.choice(("POST", "POST", "POST", "GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "BREW", "post", ""))
    target = path + random.choice(("", "", "", "/", "/a/b", "?a=1&a=2", "?%ff", "/%00", "/../../x", "?" + "a=1&" * 2_000, "/" + "x" * 9_000, "#x", "//"))
    body = random.choice((b"", b"{}", b"[" * 50_000, b'{"a":' * 40 + b"1" + b"}" * 40, b"\xff\x00", b"a=1", random.randbytes(random.randrange(3_000)), b'"\\ud800"', b"1e999", b"null"))
    lines = [f"{method} {target} {random.choice(('HTTP/1.1',) * 8 + ('HTTP/1.0', 'HTTP/9.9'))}".encode("latin-1"), b"Host: localhost", b"Connection: close"]
    for _ in range(random.randrange(4)):
        name = random.choice((b"Content-Type", b"X-GitHub-Delivery", b"webhook-id", b"X", b"Cookie", b"Authorization", b"Expect", b"Upgrade", b"X-\xff", b"Content-Encoding"))
        value = random.choice((b"application/json", b"a" * 300, b"\xe4", b"", b"100-continue", b"gzip", b"websocket", b"multipart/form-data; boundary=", random.randbytes(20).replace(b"\n", b"").replace(b"\r", b"")))
        lines.append(name + b": " + value)
    framing = random.randrange(10)
    if framing < 7:
        lines.append(b"Content-Length: %d" % len(body))
    elif framing == 7:
        lines.append(b"Transfer-Encoding: chunked")
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    elif framing == 8:
        lines += [b"Content-Length: 5", b"Content-Length: 6"]
    else:
        lines.append(b"Content-Length: " + random.choice((b"-1", b"1e3", b"x", b"99999999999999999999", b"2000000")))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def test_whatever_comes_in_at_a_webhook_is_no_failure(daemon: Daemon, things: dict[str, str]) -> None:
    random, told = Random(7), Counter[int]()
    for _ in range(20_000 if FULL else 400):
        with socket.create_connection(("127.0.0.1", daemon.port), 30) as sock:
            with contextlib.suppress(OSError):  # it may hang up on what is too much, before all is sent
                sock.sendall(raw(random, f"/hooks/{things['hooks']}"))
            answer = b""
            with contextlib.suppress(OSError):
                while piece := sock.recv(65_536):
                    answer += piece
        status = int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0
        told[status] += 1
        assert status < 500, answer
    assert told[202] > 50
    assert daemon.ready()
    figure("G16", f"{told.total()} raw requests to a webhook: {dict(sorted(told.items()))}")


@pytest.mark.filterwarnings("ignore")  # of the tools that make the requests
def test_what_is_described_is_what_is_served(daemon: Daemon, things: dict[str, str]) -> None:
    from hypothesis import HealthCheck, Phase, given, settings, strategies
    from hypothesis.errors import Unsatisfiable
    from schemathesis import GenerationMode
    from schemathesis.checks import not_a_server_error
    from schemathesis.core.failures import Failure, FailureGroup
    from schemathesis.specs.openapi import checks

    held = [not_a_server_error, checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance]
    found, headers = operations(daemon)
    each = max(1, CASES // len(found) // 2)
    seen: Counter[int] = Counter()
    broken: list[str] = []
    for operation in found:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @settings(max_examples=each, derandomize=True, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode), there=strategies.integers(0, 3))
            def attempt(case: Any, there: int) -> None:
                if there and case.path_parameters:
                    case.path_parameters |= real(case.operation.path, things)
                answer = case.call(headers=headers, timeout=30)
                seen[answer.status_code] += 1
                case.validate_response(answer, checks=held)

            try:
                attempt()
            except Unsatisfiable:  # there is nothing that could be wrong in it
                continue
            except (FailureGroup, Failure, AssertionError) as error:
                broken.append(f"{operation.label} ({mode.name}): {error}")
    figure("G16", f"{sum(seen.values())} requests to {len(found)} operations: {dict(sorted(seen.items()))}, {len(broken)} broken")
    assert not broken, "\n\n".join(broken)
