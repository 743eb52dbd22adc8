"""G22: what does another machine on the network see of an areabox? Nothing, and later only what was switched on."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from areabox.gateway.http import routes
from areabox.users.policy import PUBLIC
from tests.faults.daemon import Daemon, free_port, hook
from tests.security.figures import figure

ASK = """
import http.client, json, sys
told = []
for host, port, method, path in json.load(sys.stdin):
    try:
        connection = http.client.HTTPConnection(host, port, timeout=10)
        connection.request(method, path, headers={"Accept": "text/html"})
        answer = connection.getresponse()
        told.append([answer.status, answer.read().decode(errors="replace")[:2000]])
    except OSError as error:
        told.append([0, type(error).__name__])
print(json.dumps(told))
"""


class Neighbour:
    """A network namespace of its own, joined to ours by one cable."""

    def __init__(self, number: int) -> None:
        self.name = f"abx{number}"
        self.here, self.there = f"10.{200 + number // 250 % 50}.{number % 250}.1", f"10.{200 + number // 250 % 50}.{number % 250}.2"

    def plug(self) -> None:
        near, far = f"{self.name}a", f"{self.name}b"
        for command in (
            f"ip netns add {self.name}", f"ip link add {near} type veth peer name {far} netns {self.name}", f"ip addr add {self.here}/30 dev {near}",
            f"ip link set {near} up", f"ip -n {self.name} addr add {self.there}/30 dev {far}", f"ip -n {self.name} link set {far} up",
        ):  # fmt: skip
            subprocess.run(command.split(), check=True, capture_output=True, timeout=30)

    def unplug(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True, timeout=30)

    def ask(self, port: int, *requests: tuple[str, str]) -> list[tuple[int, str]]:
        """Ask from there, and return status and body of each answer; 0 and the error where there is none."""
        given = json.dumps([[self.here, port, method, path] for method, path in requests])
        command = ["ip", "netns", "exec", self.name, sys.executable, "-c", ASK]
        done = subprocess.run(command, check=True, input=given, text=True, capture_output=True, timeout=300)
        return [(status, body) for status, body in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def neighbour() -> Iterator[Neighbour]:
    if shutil.which("ip") is None:
        pytest.skip("iproute2 is not installed")
    found = Neighbour(os.getpid() % 12_000)
    try:
        found.plug()
    except subprocess.CalledProcessError as error:
        found.unplug()
        pytest.skip(f"network namespaces cannot be made here: {error.stderr.decode().strip()}")
    yield found
    found.unplug()


def started(tmp_path: Path, *, owned: bool = False, **environ: str) -> Daemon:
    daemon = Daemon(tmp_path, **environ)
    if owned:
        daemon.own()
    try:
        daemon.start()
    except BaseException:
        daemon.kill()
        raise
    return daemon


EVERYTHING = [(route.method, re.sub(r"{\w+}", "x", route.path)) for route in routes() if route.path != "/api/v1/stream"]


def test_a_fresh_areabox_is_not_there_for_others(neighbour: Neighbour, tmp_path: Path) -> None:
    daemon = started(tmp_path)
    try:
        told = neighbour.ask(daemon.port, ("GET", "/"), ("GET", "/setup"), ("GET", "/health"), ("POST", "/hooks/x"))
        assert {status for status, _ in told} == {0}, told
    finally:
        daemon.kill()


def test_one_that_listens_for_others_gives_them_nothing_before_it_has_an_owner(neighbour: Neighbour, tmp_path: Path) -> None:
    daemon = started(tmp_path, AREABOX_HOST="0.0.0.0")
    try:
        told = dict(zip(EVERYTHING, neighbour.ask(daemon.port, *EVERYTHING), strict=True))
        public = {(route.method, re.sub(r"{\w+}", "x", route.path)) for route in routes() if route.permission == PUBLIC}
        given = {place for place, (status, _) in told.items() if 200 <= status < 300}
        assert given <= public
        assert given <= {("GET", "/setup"), ("GET", "/about.json"), ("GET", "/ready"), ("GET", "/favicon.ico"), ("GET", "/api/v1/schema/area.json")}
        assert {status for place, (status, _) in told.items() if place not in public} <= {401, 303, 421}, "all the rest asks who it is"
        token = (daemon.data / "setup-token").read_text().strip()
        assert token not in str(told)
        figure("G22", f"{len(told)} routes from another network namespace: {len(given)} open ones answered, 0 without a token")
    finally:
        daemon.kill()


def test_of_one_with_an_owner_they_see_what_was_switched_on(neighbour: Neighbour, tmp_path: Path) -> None:
    port = free_port()
    daemon = started(tmp_path, owned=True, AREABOX_HOOKS_LISTEN=f"{neighbour.here}:{port}")
    try:
        path = daemon.apply(hook("hello", {"return": 1}))["hello"].removeprefix(daemon.url)
        assert {status for status, _ in neighbour.ask(daemon.port, ("GET", "/"), ("POST", path))} == {0}, "pages and API stay at home"
        told = neighbour.ask(port, ("POST", path), ("GET", "/health"), *EVERYTHING)
        assert [status for status, _ in told[:2]] == [202, 200]
        assert {status for status, _ in told[2:]} == {404}
    finally:
        daemon.kill()


def test_networks_that_are_not_named_stay_out(neighbour: Neighbour, tmp_path: Path) -> None:
    daemon = started(tmp_path, owned=True, AREABOX_HOST="0.0.0.0", AREABOX_ALLOW_FROM="127.0.0.0/8", AREABOX_HOOKS_ALLOW_FROM=f"{neighbour.there}/32")
    try:
        path = daemon.apply(hook("hello", {"return": 1}))["hello"].removeprefix(daemon.url)
        told: list[Any] = neighbour.ask(daemon.port, ("GET", "/"), ("GET", "/login"), ("GET", "/api/v1/me"), ("POST", path))
        assert [status for status, _ in told] == [403, 403, 403, 202]
    finally:
        daemon.kill()
