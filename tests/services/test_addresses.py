"""The address policy: what may be dialled, and what the refusal says."""

from __future__ import annotations

import ipaddress

import pytest

from areabox.services.addresses import Policy, Refused, Rights, kind_of, parse_address

_FORBIDDEN = """
0.0.0.0 0.1.2.3 127.0.0.1 127.1.2.3 127.255.255.255 169.254.0.1 169.254.169.254 169.254.170.2 100.64.0.1 100.100.100.200
100.127.255.255 168.63.129.16 192.0.0.1 192.0.0.192 192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1 192.175.48.1
198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::2 ::7f00:1 ::a00:1 ::ffff:0:0 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:0:127.0.0.1 64:ff9b::7f00:1
64:ff9b::a00:1 64:ff9b::808:808 64:ff9b:1::a00:1 100::1 2001::1 2001:0:53aa:64c::1 2001:10::1 2001:20::1 2001:db8::1
2002:7f00:1::1 2002:a00:1::1 2002:808:808::1 2620:4f:8000::1 3fff::1 4000::1 5f00::1 fd00:ec2::254 fd20:ce::254
fe80::1 febf::1 fec0::1 ff02::1 ff0e::1
"""
_LOCAL = "10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 ::ffff:192.168.0.1 fc00::1 fd12:3456::1"
_PUBLIC = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 93.184.216.34 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1
169.253.255.255 172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255
::ffff:8.8.8.8 2000::1 2001:200::1 2606:4700:4700::1111 2a00:1450:4001::1
"""
FORBIDDEN, LOCAL, PUBLIC = _FORBIDDEN.split(), _LOCAL.split(), _PUBLIC.split()
ANY = Rights()
TYPED = Rights(frozenset({"nas.lan", "box.lan:8123"}))


@pytest.mark.parametrize("text", FORBIDDEN)
def test_special_addresses_are_forbidden(text):
    assert kind_of(parse_address(text))[0] == "forbidden"


@pytest.mark.parametrize("text", LOCAL)
def test_the_local_network_is_local(text):
    assert kind_of(parse_address(text))[0] == "local"


@pytest.mark.parametrize("text", PUBLIC)
def test_the_rest_is_public(text):
    assert kind_of(parse_address(text)) == ("public", "")


@pytest.mark.parametrize("text", FORBIDDEN)
def test_typing_a_forbidden_address_does_not_open_it(text):
    with pytest.raises(Refused, match="AREABOX_EGRESS_ALLOW"):
        Policy().choose("nas.lan", 80, [text], TYPED)


@pytest.mark.parametrize("text", LOCAL)
def test_a_local_address_is_for_hosts_that_a_person_typed(text):
    assert Policy().choose("nas.lan", 80, [text], TYPED) == [parse_address(text)]
    with pytest.raises(Refused, match="nobody typed this host"):
        Policy().choose("evil.example.org", 80, [text], TYPED)


def test_a_host_typed_with_a_port_is_open_at_that_port_only():
    assert Policy().choose("box.lan", 8123, ["10.0.0.2"], TYPED)
    with pytest.raises(Refused):
        Policy().choose("box.lan", 80, ["10.0.0.2"], TYPED)


def test_behind_a_public_redirect_only_public_addresses_are_left():
    behind = Rights(frozenset({"nas.lan"}), public_only=True)
    policy = Policy([ipaddress.ip_network("127.0.0.0/8")])
    assert policy.choose("a.example.org", 80, ["8.8.8.8"], behind)
    with pytest.raises(Refused, match="a public service redirected there"):
        policy.choose("nas.lan", 80, ["10.0.0.1"], behind)
    with pytest.raises(Refused, match="a public service redirected there"):
        policy.choose("localhost", 80, ["127.0.0.1"], behind)


@pytest.mark.parametrize("bad", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "64:ff9b::7f00:1"])
def test_a_name_with_a_public_and_a_forbidden_address_is_refused_whole(bad):
    for resolved in (["8.8.8.8", bad], [bad, "8.8.8.8"]):
        with pytest.raises(Refused):
            Policy().choose("rebind.example.org", 80, resolved, ANY)


def test_the_setting_opens_exactly_its_networks():
    policy = Policy([ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("fd00::/8")])
    assert policy.choose("localhost", 80, ["127.0.0.1"], ANY)
    assert policy.choose("x", 80, ["fd00:ec2::254"], ANY)
    for other in ("10.0.0.1", "169.254.169.254", "::1"):
        with pytest.raises(Refused):
            policy.choose("x", 80, [other], ANY)


def test_of_a_name_with_no_public_address_those_that_are_allowed_are_used():
    policy = Policy([ipaddress.ip_network("127.0.0.0/8")])
    assert [str(address) for address in policy.choose("localhost", 80, ["::1", "127.0.0.1"], ANY)] == ["127.0.0.1"]


@pytest.mark.parametrize("port", [22, 25, 3306, 5432, 6379, 11211])
def test_ports_of_other_languages_are_closed_unless_the_setting_names_the_address(port):
    with pytest.raises(Refused, match=f"port {port}"):
        Policy().choose("a.example.org", port, ["8.8.8.8"], ANY)
    with pytest.raises(Refused, match=f"port {port}"):
        Policy().choose("nas.lan", port, ["10.0.0.1"], TYPED)
    assert Policy([ipaddress.ip_network("10.0.0.0/8")]).choose("nas.lan", port, ["10.0.0.1"], ANY)


def test_areabox_does_not_speak_to_itself_by_its_own_lan_address():
    policy = Policy(own_ports={8080})
    with pytest.raises(Refused, match="areabox itself"):
        policy.check_own("192.168.1.5", "192.168.1.5", 8080)
    policy.check_own("192.168.1.5", "192.168.1.5", 9000)
    policy.check_own("192.168.1.5", "192.168.1.6", 8080)
    Policy([ipaddress.ip_network("192.168.1.5/32")], own_ports={8080}).check_own("192.168.1.5", "192.168.1.5", 8080)


def test_the_refusal_names_host_address_and_the_setting_that_would_help():
    with pytest.raises(Refused) as refused:
        Policy().choose("printer.lan", 80, ["192.168.1.20"], ANY)
    assert str(refused.value) == (
        "printer.lan (192.168.1.20) is in the local network, and nobody typed this host in a connection or an area; "
        "AREABOX_EGRESS_ALLOW=192.168.1.20/32 would allow it"
    )


def test_a_scope_does_not_hide_a_link_local_address():
    assert kind_of(parse_address("fe80::1%eth0"))[0] == "forbidden"
