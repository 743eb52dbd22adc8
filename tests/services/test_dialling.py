"""Sockets for protocols other than HTTP: to judged addresses only."""

from __future__ import annotations

import asyncio
import socket
from typing import Annotated

import pytest

from areabox.errors import Permanent
from areabox.sdk import Connector, Field, Fields, Url
from areabox.services.accounts import route_of
from areabox.services.addresses import Refused
from areabox.services.catalogue import Catalogue
from areabox.services.wire import NotSent
from tests.services.loopback import names, opened

HOME = names({"home.example.org": ["127.0.0.1"], "two.example.org": ["127.0.0.2", "127.0.0.1"]})


@pytest.fixture
async def port():
    async def hello(reader, writer):
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_server(hello, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "home.example.org", "two.example.org"])
async def test_a_socket_is_connected_to_the_first_address_that_answers(clock, port, host):
    async with opened(clock, resolve=HOME) as egress:
        made = await egress.dial(host, port)
        with made:
            assert made.getblocking() is False
            assert await asyncio.get_running_loop().sock_recv(made, 5) == b"hello"


async def test_nobody_there_is_tried_again(clock):
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        port = made.getsockname()[1]
    async with opened(clock, resolve=HOME) as egress:
        with pytest.raises(NotSent, match="cannot be reached: connection refused"):
            await egress.dial("home.example.org", port)


async def test_the_policy_is_the_one_for_requests_but_for_the_ports(clock, port):
    async with opened(clock, resolve=HOME, allow=()) as egress:
        with pytest.raises(Refused, match="AREABOX_EGRESS_ALLOW"):
            await egress.dial("home.example.org", port)
        with pytest.raises(Refused, match="nobody typed this host"):
            await egress.dial("10.255.255.1", 25)
        assert await egress.addresses("10.255.255.1", 25, literal_hosts=frozenset({"10.255.255.1"})) == ["10.255.255.1"]


async def test_areabox_does_not_dial_itself(clock, port):
    async with opened(clock, resolve=HOME, own_ports={port}, allow=()) as egress:
        egress._policy._may = lambda *_, **__: True
        with pytest.raises(Refused, match="is areabox itself"):
            await egress.dial("home.example.org", port)


async def test_what_is_no_certificate_is_told(clock):
    async with opened(clock) as egress:
        with pytest.raises(Permanent, match="certificate cannot be read"):
            await egress.tls("not one")
        assert await egress.tls() is await egress.tls()


def test_a_host_that_a_trusted_person_typed_in_a_connection_may_be_at_home():
    catalogue = Catalogue()
    connector = Connector("box", "The box", auth=Fields(host=Annotated[str, Field(format="host")], url=Url))
    way = next(iter(catalogue.add(connector).ways.values()))
    view = way.view({"host": "Broker.LAN", "url": "http://nas.lan/"})
    assert route_of(connector, way, view, typed=True).literal == {"broker.lan", "nas.lan"}
    assert route_of(connector, way, view).literal == frozenset()
