import contextlib
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.exchange.receipt import (
    CODES,
    FINAL,
    MAX_CREDIT,
    MAX_LINE_BYTES,
    MAX_RECEIPT_BYTES,
    RECEIPT_TYPE,
    Expected,
    Line,
    issue,
    read,
    require_answer,
    verify,
)
from registry.errors import (
    ForbiddenError,
    HazlinkError,
    InvalidValueError,
    LimitError,
    MalformedError,
    UntrustedError,
)
from registry.trust import jws
from registry.trust.algorithms import admit
from tests.support.exchange_wire import LEAF, PARK, TOP, WORKS, a_receipt, lane_of, sealed
from tests.support.trust import ALGS, NOW, a_signer

PARK_KEY = admit(a_signer("88.107").jwk, ALGS)
ONE, TWO = lane_of(2)
WAITING = {code: {"expected": Expected(1, 1)} for code in ("gap", "unknown_epoch")}


def resealed(receipt, *without, **change):
    claims = receipt.parsed.claims() | change
    for name in without:
        del claims[name]
    return jws.sign(a_signer("88.107"), RECEIPT_TYPE, orjson.dumps(claims))


def reason(act, *args, kind=HazlinkError, **kwargs):
    with pytest.raises(kind) as refused:
        act(*args, **kwargs)
    assert refused.value.message("zh") != refused.value.message("en")
    return refused.value.code


@pytest.mark.parametrize("code", CODES)
def test_every_row_of_the_table_can_be_signed_and_read(code):
    made = a_receipt(ONE, code, **WAITING.get(code, {}))
    verify(made, PARK_KEY)
    require_answer(made, ONE)
    assert (made.outcome, made.status) == (CODES[code].outcome, CODES[code].status)
    assert made.final == (made.outcome in FINAL) == (made.leaf_index is not None) == (made.status == 200)
    assert (made.iss, made.aud, made.env, made.stream) == (PARK, WORKS, ONE.env, "register")
    assert (made.epoch, made.seq, made.received_at, made.credit) == (1, 1, NOW, 256)
    assert made.expected == WAITING.get(code, {}).get("expected")


def test_the_table_is_the_one_of_the_specification():
    rows = {(row.outcome, row.status, code) for code, row in CODES.items()}
    assert rows == {
        ("accepted", 200, "ok"),
        *(("unapplied", 200, code) for code in ("unknown_type", "unknown_schema")),
        *(
            ("rejected", 200, code)
            for code in ("bad_json", "bad_schema", "forbidden_prefix", "forbidden_op", "bad_prev", "business")
        ),
        *(("retry", 425, code) for code in ("gap", "unknown_epoch", "stale_chain")),
        *(("misdirected", 421, code) for code in ("wrong_aud", "wrong_iss")),
        ("equivocation", 409, "equivocation"),
    }


def test_the_same_content_makes_the_same_bytes():
    assert a_receipt(ONE).token == a_receipt(ONE).token


@pytest.mark.parametrize("code", [code for code, row in CODES.items() if row.outcome in FINAL])
def test_a_final_receipt_names_its_leaf_and_another_none(code):
    assert reason(a_receipt, ONE, code, leaf=None) == "federation.exchange.receipt_leaf"
    reason(a_receipt, ONE, code, leaf_index=None, leaf=None, kind=InvalidValueError)
    reason(read, resealed(a_receipt(ONE, code), "leaf"), kind=MalformedError)
    reason(read, resealed(a_receipt(ONE, code), "leaf_index"), kind=MalformedError)


def test_a_receipt_that_is_not_final_names_no_leaf():
    for place in ({"leaf": LEAF, "leaf_index": 1}, {"leaf": LEAF}, {"leaf_index": 1}):
        reason(
            a_receipt, ONE, "wrong_aud", **{"leaf": None, "leaf_index": None} | place, kind=InvalidValueError
        )
        reason(read, resealed(a_receipt(ONE, "wrong_aud"), **place), kind=MalformedError)


@pytest.mark.parametrize(
    ("name", "value"),
    [("code", "fine"), ("outcome", "rejected"), ("iss", "88.107"), ("aud", None), ("env", "x"), ("stream", "x"), ("epoch", 0),
     ("seq", 0), ("received_at", -1), ("credit", -1), ("credit", 10**9), ("leaf_index", -1), ("leaf", "x"),
     ("expected", {"epoch": 0, "seq": 1}), ("expected", {"epoch": 1, "seq": 0}), ("expected", [1, 1]),
     ("credit", MAX_CREDIT + 1)],
)  # fmt: skip
def test_a_member_of_another_form_is_refused(name, value):
    reason(read, resealed(a_receipt(ONE), **{name: value}), kind=MalformedError)


def test_a_gap_without_what_is_expected_is_refused():
    for code in ("gap", "unknown_epoch"):
        made = a_receipt(ONE, code, expected=Expected(1, 1))
        assert reason(read, resealed(made, "expected"), kind=MalformedError) == "registry.trust.claim_missing"
    assert read(resealed(a_receipt(ONE, "stale_chain", expected=Expected(1, 1)), "expected")).expected is None


@pytest.mark.parametrize(
    ("name", "length", "short"), [("code", 64, "receipt_code"), ("outcome", 64, "receipt_outcome"), ("stream", 16, "stream")]
)  # fmt: skip
def test_a_word_has_its_length(name, length, short):
    for more, expected in ((0, f"federation.exchange.{short}"), (1, "registry.trust.claim_type")):
        word = "x" * (length + more)
        assert reason(read, resealed(a_receipt(ONE), **{name: word}), kind=MalformedError) == expected


def test_a_receipt_has_its_limits():
    assert (MAX_RECEIPT_BYTES, MAX_LINE_BYTES, MAX_CREDIT) == (4096, 16_384, 1_000_000)
    assert jws.parse(a_receipt(ONE).token, typ="hz-receipt+jws")
    assert read(resealed(a_receipt(ONE), credit=MAX_CREDIT)).credit == MAX_CREDIT
    assert reason(read, "x" * 4096, kind=MalformedError) == "registry.trust.jws_segments"
    assert reason(read, "x" * 4097, kind=LimitError) == "registry.trust.jws_size"


def test_an_unknown_code_is_not_signed():
    code = reason(
        issue, a_signer("88.107"), iss=PARK, aud=WORKS, env=ONE.env, stream="register", epoch=1, seq=1, code="fine",
        received_at=NOW, credit=1, kind=InvalidValueError,
    )  # fmt: skip
    assert code == "federation.exchange.receipt_code"


@pytest.mark.parametrize(
    ("change", "member"),
    [({"env": TWO.env}, "env"), ({"stream": "flow"}, "stream"), ({"seq": 2}, "seq"), ({"epoch": 2}, "seq"), ({"aud": TOP}, "aud"),
     ({"iss": TOP}, "iss")],
)  # fmt: skip
def test_a_receipt_for_something_else_is_no_answer(change, member):
    made = a_receipt(ONE, **change)
    assert reason(require_answer, made, ONE, kind=UntrustedError) == f"federation.exchange.other_{member}"


def test_who_was_not_meant_says_so_in_its_own_name():
    require_answer(a_receipt(ONE, "wrong_aud", iss=TOP), ONE)


def test_a_receipt_by_another_key_is_not_believed():
    with pytest.raises(UntrustedError):
        verify(a_receipt(ONE, signer=a_signer("88")), PARK_KEY)


def test_an_envelope_is_no_receipt():
    reason(read, sealed().token, kind=MalformedError)


@given(st.text(max_size=200))
def test_whatever_comes_as_a_receipt_is_refused_or_read(text):
    with pytest.raises(MalformedError):
        read(text)


def test_a_line_carries_a_receipt_as_it_is():
    token = a_receipt(ONE).token
    raw = Line(200, token).encode()
    assert json.loads(raw) == {"status": 200, "receipt": token}
    assert Line.decode(raw) == Line(200, token)


def test_a_line_has_its_limits():
    longest = b'{"status":200}'.ljust(MAX_LINE_BYTES)
    assert Line.decode(longest) == Line(200)
    assert reason(Line.decode, longest + b" ", kind=MalformedError) == "federation.exchange.line"
    assert Line.decode(b'{"status":200,"later":[[["deep"]]]}') == Line(200)
    assert reason(Line.decode, b'{"status":200,"later":[[[["deep"]]]]}') == "registry.trust.json_depth"
    assert [Line.decode(b'{"status":%d}' % status).status for status in (100, 599)] == [100, 599]
    for status in (99, 600):
        assert reason(Line.decode, b'{"status":%d}' % status) == "registry.trust.claim_type"
    for name, most in (("code", 64), ("detail_zh", 4096), ("detail_en", 4096), ("receipt", 4096)):
        assert getattr(Line.decode(orjson.dumps({"status": 200, name: "x" * most})), name) == "x" * most
        too_long = orjson.dumps({"status": 200, name: "x" * (most + 1)})
        assert reason(Line.decode, too_long) == "registry.trust.claim_type"
    for wait in (0, 0.5, 7):
        assert Line.decode(orjson.dumps({"status": 503, "retry_after": wait})).retry_after == wait


def test_what_a_line_does_not_say_is_left_out():
    assert json.loads(Line.refusal(503, "busy").encode()) == {"status": 503, "code": "busy"}
    error = ForbiddenError("federation.exchange.wrong_iss", field="iss", value="A", right="B", retry_after=7)
    assert Line.refusal(403, "x", error, retry_after=2).retry_after == 2
    assert Line.refusal(403, "x", error, retry_after=0).retry_after == 0


def test_a_line_without_a_receipt_says_why_in_both_languages():
    error = ForbiddenError("federation.exchange.wrong_iss", field="iss", value="A", right="B", retry_after=7)
    line = Line.refusal(403, "x", error)
    again = Line.decode(line.encode())
    assert again == line
    assert (again.status, again.code, again.retry_after) == (403, "x", 7)
    assert "会话" in again.detail_zh
    assert "session" in again.detail_en
    assert Line.refusal(503, "busy", retry_after=1.5) == Line.decode(
        b'{"status":503,"code":"busy","retry_after":1.5}'
    )


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"{}", b'{"status":"200"}', b'{"status":99}', b'{"status":200,"receipt":1}',
     b'{"status":503,"retry_after":-1}', b'{"status":503,"retry_after":"5"}', b'{"status":503,"retry_after":true}',
     b'{"status":200,"status":200}', b'{"status":200,"code":"' + b"x" * MAX_LINE_BYTES + b'"}'],
)  # fmt: skip
def test_a_broken_line_is_refused(raw):
    reason(Line.decode, raw, kind=MalformedError)


@given(st.binary(max_size=100))
def test_whatever_comes_as_a_line_is_refused_or_read(raw):
    with contextlib.suppress(MalformedError):
        Line.decode(raw)
