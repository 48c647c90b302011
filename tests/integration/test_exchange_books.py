"""The checks of the kill runs see what they are there for: a receipt that left a node and is not in its books."""

import hashlib

import orjson
import pytest

from federation.exchange.storage.tables import exchange_in
from registry.storage.engine import Database
from registry.trust.encoding import b64u
from tests.support.exchange_books import Receipts, database_url
from tests.support.fault_proxy import Message
from tests.support.processes import a_top_folder

_ENV = hashlib.sha256(b"an envelope").digest()


def _receipt(outcome: str = "accepted", code: str = "ok") -> bytes:
    claims = {"iss": "0.NA/88", "aud": "0.NA/88.107", "env": b64u(_ENV), "outcome": outcome, "code": code}
    return ".".join((b64u(b"{}"), b64u(orjson.dumps(claims)), "AAAA")).encode()


def _seen(token: bytes) -> Receipts:
    receipts = Receipts()
    line = orjson.dumps({"status": 200, "receipt": token.decode()}) + b"\n"
    receipts.take(
        Message("POST /exchange/register HTTP/1.1", b"", b"", closes=False),
        Message("HTTP/1.1 200 OK", line, line, closes=False),
    )
    return receipts


def _keep(folder, token: bytes) -> None:
    database = Database(database_url(folder))
    row = {
        "iss": "88.107",
        "aud": "88",
        "stream": "register",
        "epoch": 1,
        "seq": 1,
        "env": _ENV,
        "token": b"an envelope",
        "chain": bytes(32),
        "type": "t",
        "schema": "t/1",
        "outcome": "accepted",
        "code": "ok",
        "receipt": token,
        "leaf_index": 0,
        "applied": 1,
        "received_at": 0,
    }
    with database.write() as connection:
        connection.execute(exchange_in.insert().values(row))
    database.close()


def test_a_receipt_that_left_a_node_and_is_not_in_its_books_is_found(tmp_path):
    folder = tmp_path / "88"
    a_top_folder(folder)
    token = _receipt()
    with pytest.raises(AssertionError, match="no such receipt"):
        _seen(token).require_kept(folder)
    _keep(folder, token)
    seen = _seen(token)
    seen.require_kept(folder)
    assert seen.count == 1
    # another one for the same envelope: it was accepted twice
    with pytest.raises(AssertionError, match="no such receipt"):
        _seen(_receipt(code="again")).require_kept(folder)


def test_an_answer_that_says_come_again_promises_nothing(tmp_path):
    folder = tmp_path / "88"
    a_top_folder(folder)
    seen = _seen(_receipt("retry", "gap"))
    seen.require_kept(folder)
    assert seen.count == 0
