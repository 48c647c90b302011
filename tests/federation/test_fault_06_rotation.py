"""A signing key changes while a thousand envelopes are on their way: none is lost, none refused, none dated back."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import select

from federation.exchange import envelope as wire
from federation.exchange import receipt as receipts
from federation.exchange.envelope import Envelope, Position, seal, uuid7
from federation.exchange.storage.sending_tables import exchange_out
from node.cli.base import at_node
from node.wiring import Node
from registry.errors import HazlinkError
from registry.storage.engine import Database
from registry.trust.chain import chain_sha256
from registry.trust.keys import Signer
from registry.trust.revocation import Reason
from tests.support.exchange_books import ABOVE, BELOW, database_url, opened, progress, require_equal
from tests.support.exchange_processes import an_alarm, an_entry, queue, two_nodes
from tests.support.fault_proxy import Weather
from tests.support.processes import Served, here, until

pytestmark = pytest.mark.slow

_SOME, _LATER = 1_000, 200


def envelopes(data: Path) -> list[Envelope]:
    """What the node below sealed, stream by stream, in order."""
    out = exchange_out.c
    asked = select(out.token).where(out.iss == BELOW.key).order_by(out.stream, out.epoch, out.seq)
    with opened(data) as connection:
        return [wire.read(wire.parse(bytes(token))) for (token,) in connection.execute(asked)]


def keys_of(data: Path) -> tuple[str, str | None]:
    """The key in use, and the one asked for."""
    with at_node(data) as node:
        home = node.prefixes.homes.home(BELOW)
    assert home is not None
    return home.kid, home.next_kid


def rotate(served: Served) -> str:
    """Ask for a new key from another process than the one that seals, as an operator does.

    Where the question is lost he asks again; once the next key is remembered, the node goes on asking by itself.
    """
    first, _ = keys_of(served.data)

    def done() -> bool:
        kid, asked = keys_of(served.data)
        if kid == first and asked is None:
            with suppress(HazlinkError):
                here(served.data, "rotate-key", "--prefix", BELOW.key)
        return keys_of(served.data)[0] != first

    until(done, "the superior answers", pause=0.5)
    return keys_of(served.data)[0]


def a_forgery(node: Node, signer: Signer, last: Envelope, position: Position) -> Envelope:
    """What a thief of the old key would write: at this position, dated back into the life of the key."""
    return seal(
        signer,
        an_entry(99_999),
        position,
        chain=chain_sha256(node.prefixes.homes.delegation(BELOW)),
        jti=uuid7(last.iat * 1_000, os.urandom),
        iat=last.iat,
    )


def test_fault_06_a_rotation_with_a_thousand_in_flight_loses_and_refuses_none_and_dates_none_back(tmp_path):
    with two_nodes(tmp_path, seed=6) as nodes:
        above, below = nodes.above, nodes.below
        first, _ = keys_of(below.data)
        nodes.proxy.part(silent=False)
        database = Database(database_url(below.data))
        queue(database, [an_entry(number) for number in range(_SOME)])
        queue(database, [an_alarm(number) for number in range(3)])
        until(lambda: progress(below.data).pending == 0, "everything is sealed")
        assert progress(below.data).left > _SOME
        nodes.proxy.weather = Weather(lose=0.3)
        nodes.proxy.rejoin()
        second = rotate(below)
        nodes.proxy.weather = Weather()
        assert second != first
        queue(database, [an_entry(_SOME + number) for number in range(_LATER)])
        database.close()
        nodes.settle()

        made = envelopes(below.data)
        by_kid = {kid: [one for one in made if one.kid == kid] for kid in (first, second)}
        assert len(by_kid[first]) + len(by_kid[second]) == len(made)
        loads = [one for one in made if one.stream == "register"]
        assert {one.kid for one in loads[:_SOME]} == {first}
        assert {one.kid for one in loads[-_LATER:]} == {second}
        require_equal(above.data, below.data, entries=_SOME + _LATER, alarms=3)

        with at_node(below.data) as node:
            thief = node.prefixes._office.keys.load(first)
        with at_node(above.data) as node:
            entry = node.prefixes.homes.book.find(ABOVE, first)
            assert entry is not None
            assert entry.reason is Reason.SUPERSEDED
            for stream, last in entry.last_good.items():
                signed = [one for one in by_kid[first] if one.stream == stream]
                assert (last.epoch, last.seq) == (signed[-1].epoch, signed[-1].seq)
            last = loads[-1]
            receiver = node.exchanging.receiver
            forged = a_forgery(node, thief, by_kid[first][-1], last.position.after(last.env))
            (line,) = receiver.receive(BELOW, "register", [forged.token.encode()], receiver=ABOVE)
            assert (line.status, line.code, line.receipt) == (403, "revoked", None)
            # what the old key rightfully signed still has its receipt
            (line,) = receiver.receive(BELOW, "register", [loads[0].token.encode()], receiver=ABOVE)
            assert line.receipt is not None
            assert receipts.read(line.receipt).outcome == "accepted"
