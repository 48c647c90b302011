"""No statement and no invitation makes this node knock where it must not."""

import asyncio
import socket

import pytest

from registry.errors import UnavailableError, UntrustedError
from resolver.peer_guard import GuardConfig, PeerGuard

STRICT = PeerGuard(GuardConfig())
LOOPBACK = PeerGuard(GuardConfig(allow_loopback_peers=True))
PLANT = PeerGuard(GuardConfig(allowed_networks=("10.20.0.0/16", "fd00:20::/32")))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "not an address",
    ],
)
def test_fault_08_special_addresses_are_refused_in_every_disguise(address):
    assert not STRICT.admit(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "114.114.114.114", "2400:3200::1"])
def test_public_addresses_are_admitted(address):
    assert STRICT.admit(address)
    assert not STRICT.admit(address, plain=True)


def test_a_plants_own_network_is_admitted_and_nothing_beside_it():
    assert PLANT.admit("10.20.3.4")
    assert PLANT.admit("fd00:20::1")
    assert not PLANT.admit("10.21.0.1")
    assert not PLANT.admit("127.0.0.1")
    assert not PLANT.admit("10.20.3.4", plain=True)


def test_loopback_is_admitted_by_setting_alone():
    for address in ("127.0.0.1", "::1"):
        assert LOOPBACK.admit(address)
        assert LOOPBACK.admit(address, plain=True)
    assert not LOOPBACK.admit("10.0.0.1")


@pytest.mark.parametrize(
    "url",
    [
        "http://node.example",
        "http://127.0.0.1:80",
        "file:///etc/passwd",
        "ftp://node.example",
        "//node.example",
        "https://",
        "https://user:word@node.example",
        "https://node.example/#x",
        "https://node.example/\n",
        "https://node.example\\@127.0.0.1",
        "https://[::1",
        "https://node.example:99999",
        "https://例子.example",
    ],
)
def test_fault_08_odd_addresses_are_refused_before_anything_is_looked_up(url):
    with pytest.raises(UntrustedError):
        STRICT.check_url(url)


def test_plain_http_passes_the_spelling_check_by_setting_alone():
    LOOPBACK.check_url("http://127.0.0.1:8800/x")
    with pytest.raises(UntrustedError):
        PLANT.check_url("http://10.20.0.1")


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "localhost", "0177.0.0.1"])
async def test_fault_08_other_spellings_of_loopback_are_refused_by_what_they_mean(host):
    with pytest.raises(UntrustedError):
        await STRICT.addresses(host, 443)


async def test_fault_08_of_a_mixed_name_only_the_allowed_addresses_remain(monkeypatch):
    async def mixed(*_, **__):
        found = ["169.254.169.254", "10.20.0.7", "10.20.0.7", "::ffff:10.99.0.1"]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 443)) for one in found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", mixed)
    assert await PLANT.addresses("node.example", 443) == ["10.20.0.7"]


async def test_a_name_that_is_unknown_now_may_be_known_later(monkeypatch):
    async def unknown(*_, **__):
        raise socket.gaierror(-2, "unknown")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    with pytest.raises(UnavailableError):
        await STRICT.addresses("node.example", 443)


def test_a_translated_network_is_allowed_by_name_and_for_what_lies_behind_it():
    translating = PeerGuard(GuardConfig(allowed_networks=("64:ff9b::/96",)))
    assert translating.admit("64:ff9b::808:808")
    assert not translating.admit("64:ff9b::a00:1")
