import contextlib
import json
import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import MalformedError
from registry.trust import strict_json
from registry.trust.strict_json import MAX_DIGITS, MAX_EXPONENT, MAX_INTEGER, loads, loads_exact

DOCUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(DOCUMENTS)
def test_what_json_writes_is_read_back(document):
    assert loads(json.dumps(document).encode()) == document
    assert loads(json.dumps(document, ensure_ascii=False, indent=1).encode()) == document


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a":1,"a":1}', "json_duplicate"),
        (b'{"x":[{"a":1,"\\u0061":2}]}', "json_duplicate"),
        (b"[NaN]", "json_number"),
        (b"[Infinity]", "json_number"),
        (b"[-Infinity]", "json_number"),
        (b"[1e999]", "json_number"),
        (b"[9007199254740992]", "json_integer"),
        (b"[-9007199254740992]", "json_integer"),
        (b"[" + b"9" * 10_000 + b"]", "json_integer"),
        (b'["\\ud800"]', "json_surrogate"),
        (b'{"\\udfff":1}', "json_surrogate"),
        (b'{"a":["\\u0061",{"b":"\\ud800"}]}', "json_surrogate"),
        (b'"\\\n' + b"[" * 40 + b'"', "json_syntax"),
        (b"[" + b"[]," * 40 + b"[" * 32, "json_depth"),
        (b'{"a":' + b"[{}," * 3 + b"[" * 29, "json_depth"),
        (b'"\xed\xa0\x80"', "json_utf8"),
        (b"\xff", "json_utf8"),
        (b"\xef\xbb\xbf{}", "json_syntax"),
        (b"", "json_syntax"),
        (b"{} {}", "json_syntax"),
        (b"{'a':1}", "json_syntax"),
        (b"[1,]", "json_syntax"),
        (b'"\x01"', "json_syntax"),
        (b"[" * 33 + b"]" * 33, "json_depth"),
        (b'{"a":' * 10_000, "json_depth"),
        (b'"\\\\"' + b"[" * 1000, "json_depth"),
    ],
)
def test_what_two_readers_could_understand_differently_is_refused(data, reason):
    with pytest.raises(MalformedError) as refused:
        loads(data)
    assert refused.value.code == f"registry.trust.{reason}"
    assert refused.value.message("zh")


def test_brackets_inside_texts_do_not_count_as_depth():
    assert loads(json.dumps(["[" * 100 + '"\\' + "{" * 100]).encode()) == ["[" * 100 + '"\\' + "{" * 100]


def test_what_stands_beside_one_another_is_not_deep():
    for inner in (b"[]", b"{}", b'[{"a":[]}]'):
        data = b"[" + b",".join([inner] * 100) + b"]"
        assert loads(data) == json.loads(data)
    deep = b"[" * 31 + b",".join([b"[]"] * 40) + b"]" * 31
    assert loads(deep) == json.loads(deep)


def test_a_member_that_stands_twice_is_named():
    with pytest.raises(MalformedError) as refused:
        loads(b'{"a":1,"b":2,"b":3}')
    assert refused.value.params["name"] == "b"


def test_the_deepest_allowed_document_is_read():
    assert loads(b"[" * 32 + b"]" * 32)
    with pytest.raises(MalformedError):
        loads(b"[[]]", max_depth=1)


@pytest.mark.parametrize(
    "hostile", [b'"' + b'\\"' * 120_000 + b"[" * 40, b'"' * 120_001 + b"[" * 40, b"\\" * 200_000]
)
def test_hostile_texts_cost_time_in_proportion_to_their_length(hostile):
    before = time.perf_counter()
    with pytest.raises(MalformedError):
        loads(hostile)
    assert time.perf_counter() - before < 2


@given(st.binary(max_size=80))
def test_whatever_the_bytes_are_the_answer_is_a_document_or_a_refusal(data):
    with contextlib.suppress(MalformedError):
        json.dumps(loads(data), allow_nan=False).encode()


#: Pieces of JSON, and every one that two readers like to differ about.
_PIECES = r"""{ } [ ] , : "a" "b" "\u0061" "\ud800" "é" "/" "\/" 0 -0 1 -1 1.0 1e2 1E2 -0.0 0.1 1e999 1e16
9007199254740991 9007199254740992 100000000000000000000 true false null NaN Infinity
"a":1 {"a":1,"b":2} {"a":1,"a":1} [1,{}]"""
_NEARLY = st.lists(st.sampled_from(_PIECES.split()) | st.just(" "), max_size=8).map("".join)


def _outcome(read, data):
    try:
        return "read", read(data)
    except MalformedError as refused:
        return "refused", refused.code


@given(
    _NEARLY | DOCUMENTS.map(lambda document: json.dumps(document, separators=(",", ":"), ensure_ascii=False))
)
def test_the_quick_way_says_what_the_careful_one_says(text):
    data = text.encode()
    quick = _outcome(loads, data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strict_json, "_as_written", lambda _: strict_json._OTHER)
        careful = _outcome(loads, data)
    assert quick == careful
    # 1, 1.0 and True are equal, but not the same
    assert repr(quick) == repr(careful)


def test_a_plain_document_takes_the_quick_way():
    assert strict_json._as_written(b'{"a":[1,2.5,null,true,"\xc3\xa9"]}') is not strict_json._OTHER


@given(
    st.builds(
        lambda whole, places: Decimal(whole).scaleb(-places),
        st.integers(-(10**27), 10**27),
        st.integers(0, 40),
    )
)
def test_an_exact_number_keeps_its_digits(number):
    assert str(loads_exact(f"[{number}]".encode())[0]) == str(number)


@pytest.mark.parametrize(
    "written", ["21.50", "0.000", "-0", "1E+5", "9007199254740993", "1" * MAX_DIGITS, "1E-308"]
)
def test_an_exact_number_is_spelled_as_it_was(written):
    assert str(loads_exact(f"[{written}]".encode())[0]) == written


@pytest.mark.parametrize(
    "written",
    [
        "1" * (MAX_DIGITS + 1),
        f"0.1{'0' * MAX_DIGITS}",
        f"1E{MAX_EXPONENT + 1}",
        "-1e-309",
        f"1e{'9' * 40}",
        f"1e-{'9' * 40}",
    ],
)
def test_an_exact_number_beyond_decimal_arithmetic_is_refused(written):
    with pytest.raises(MalformedError, match=str(MAX_DIGITS)):
        loads_exact(f"[{written}]".encode())


def test_exact_reading_refuses_what_plain_reading_refuses():
    for data in (b'{"a":1,"a":1}', b"[NaN]", b'["\\ud800"]', b"[" * 33 + b"]" * 33, b"\xff", b"{"):
        with pytest.raises(MalformedError):
            loads_exact(data)


@pytest.mark.parametrize(
    "written", ["-" + "1" * MAX_DIGITS, "1." + "1" * (MAX_DIGITS - 1), f"1E+{MAX_EXPONENT}"]
)
def test_an_exact_number_may_have_every_digit_there_is(written):
    assert str(loads_exact(f"[{written}]".encode())[0]) == written
