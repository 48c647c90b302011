from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.log import note as notes
from federation.log.note import (
    COSIGNATURE,
    ED25519,
    MAX_NOTE_BYTES,
    Note,
    NoteSignature,
    check_name,
    cosign,
    exact_base64,
    key_of,
    open_note,
    parse_note,
    parse_signatures,
    parse_vkey,
    sign_note,
)
from registry.errors import LimitError, MalformedError, NotSupportedError, UntrustedError
from tests.support.log import LOG_KEY, LOG_SIGNER, ORIGIN, WITNESS, WITNESS_KEY, WITNESS_SIGNER, a_log_signer
from tests.support.trust import a_signer

#: The example of the signed-note specification.
EXAMPLE_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()

LOG_VKEY = "node.example/log1+1933a767+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
WITNESS_VKEY = "top.example/w1+e8d7c123+BD1AF8PoQ4lakrcKp00bfrycmCzPLsSWjMDNVfEq9GYM"


def test_the_published_example_holds():
    key = parse_vkey(EXAMPLE_VKEY)
    note, (seen,) = open_note(EXAMPLE, [key])
    assert note.text == "This is an example message.\n"
    assert (seen.key, seen.at) == (key, None)
    assert note.encode() == EXAMPLE
    with pytest.raises(UntrustedError):
        open_note(EXAMPLE.replace(b"message", b"massage"), [key])


def test_verifier_keys_of_the_worked_example_come_out_and_are_read_back():
    assert LOG_KEY.vkey == LOG_VKEY
    assert WITNESS_KEY.vkey == WITNESS_VKEY
    assert parse_vkey(LOG_VKEY) == LOG_KEY
    assert parse_vkey(WITNESS_VKEY) == WITNESS_KEY
    assert LOG_KEY.kid == LOG_SIGNER.kid
    assert key_of(ORIGIN, LOG_SIGNER).as_witness() == key_of(ORIGIN, LOG_SIGNER, kind=COSIGNATURE)


@pytest.mark.parametrize(
    "vkey",
    [
        "", "a", "a+b", "+1933a767+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea",
        LOG_VKEY.replace("1933a767", "1933A767"), LOG_VKEY.replace("1933a767", "1933a768"),
        LOG_VKEY.replace("node", "nodf"), LOG_VKEY + "=", LOG_VKEY + "\n", LOG_VKEY[:-4],
        LOG_VKEY.replace("node", "no de"), "a+00000000+",
    ],
)  # fmt: skip
def test_what_is_no_verifier_key_is_refused(vkey):
    with pytest.raises((MalformedError, NotSupportedError)):
        parse_vkey(vkey)


def test_other_types_of_verifier_keys_are_not_supported_and_keys_of_low_order_not_admitted():
    for kind in (0, 2, 6, 255):
        with pytest.raises(NotSupportedError):
            parse_vkey(f"a+00000000+{b64encode(bytes([kind]) + bytes(32)).decode()}")
    with pytest.raises(UntrustedError):
        parse_vkey(f"a+00000000+{b64encode(bytes([ED25519, 1]) + bytes(31)).decode()}")


def test_a_note_is_signed_and_cosigned():
    text = "one\n\ntwo\n"
    note = Note(
        text, (sign_note(text, ORIGIN, LOG_SIGNER), cosign(text, WITNESS, WITNESS_SIGNER, 1_790_000_000))
    )
    assert parse_note(note.encode()) == note, "it is split at the last empty line"
    _, (first, second) = open_note(note.encode(), [WITNESS_KEY, LOG_KEY])
    assert (first.key, first.at) == (LOG_KEY, None)
    assert (second.key, second.at) == (WITNESS_KEY, 1_790_000_000)
    assert note.plus(note.signatures) == note


def test_unknown_keys_are_ignored_and_one_known_must_be_there():
    text = "text\n"
    stranger = sign_note(text, "stranger", a_log_signer("stranger"))
    other_type = NoteSignature(ORIGIN, b"\x00\x01\x02\x03", b"anything at all")
    note = Note(text, (stranger, other_type, sign_note(text, ORIGIN, LOG_SIGNER)))
    _, held = open_note(note.encode(), [LOG_KEY])
    assert [seen.key for seen in held] == [LOG_KEY]
    with pytest.raises(UntrustedError):
        open_note(note.encode(), [WITNESS_KEY])
    with pytest.raises(UntrustedError):
        open_note(note.encode(), [])


def test_a_wrong_signature_of_a_known_key_refuses_everything():
    text = "text\n"
    good, bad = sign_note(text, ORIGIN, LOG_SIGNER), sign_note("other\n", ORIGIN, LOG_SIGNER)
    for signatures in ((good, bad), (bad, good), (bad,)):
        with pytest.raises(UntrustedError):
            open_note(Note(text, signatures).encode(), [LOG_KEY])
    witnessed = cosign(text, WITNESS, WITNESS_SIGNER, 5)
    later = NoteSignature(WITNESS, witnessed.id, (6).to_bytes(8, "big") + witnessed.raw[8:])
    short = NoteSignature(WITNESS, witnessed.id, witnessed.raw[:-1])
    plain = NoteSignature(WITNESS, witnessed.id, WITNESS_SIGNER.sign(text.encode()))
    tiny = NoteSignature(WITNESS, witnessed.id, b"x")
    for forged in (later, short, plain, tiny):
        with pytest.raises(UntrustedError):
            open_note(Note(text, (good, forged)).encode(), [LOG_KEY, WITNESS_KEY])


def test_at_least_sixteen_signatures_are_taken_and_not_without_end():
    text = "text\n"
    good = sign_note(text, ORIGIN, LOG_SIGNER)
    many = [sign_note(text, f"n{number}", WITNESS_SIGNER) for number in range(99)]
    assert len(open_note(Note(text, (*many, good)).encode(), [LOG_KEY])[0].signatures) == 100
    with pytest.raises(LimitError):
        parse_note(Note(text, (*many, good, good)).encode())
    with pytest.raises(LimitError):
        parse_note(b"x" * (MAX_NOTE_BYTES + 1))


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\n", b"\n\n", b"text\n", b"text\n\n", EXAMPLE[:-1], EXAMPLE + b"\n", EXAMPLE.replace(b"\n\n", b"\n"),
        EXAMPLE.replace("—".encode(), b"-"), EXAMPLE.replace("— ".encode(), "—".encode()),
        EXAMPLE.replace(b"example.com/foo ", b"example.com/foo  "), EXAMPLE.replace(b"example.com/foo ", b" "),
        EXAMPLE.replace(b"example.com/foo", b"a+b"), EXAMPLE.replace(b"=\n", b"\n"), EXAMPLE.replace(b"\n", b"\r\n"),
        EXAMPLE.replace(b"This", b"Th\x00s"), EXAMPLE.replace(b"This", b"Th\x7fs"), EXAMPLE.replace(b"This", b"\xff"),
        EXAMPLE.replace(b"This", b"\tThis"), "text\n\n— name AAAA\n".encode(), "text\n\n— name\n".encode(),
    ],
)  # fmt: skip
def test_what_is_no_note_is_refused(raw):
    with pytest.raises(MalformedError):
        parse_note(raw)


@given(st.binary(max_size=200))
def test_garbage_is_no_note(raw):
    with pytest.raises((MalformedError, UntrustedError, LimitError)):
        open_note(raw, [LOG_KEY])


@given(st.integers(0, len(EXAMPLE) - 1), st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(place, flip):
    raw = bytearray(EXAMPLE)
    raw[place] ^= flip
    with pytest.raises((MalformedError, UntrustedError)):
        open_note(bytes(raw), [parse_vkey(EXAMPLE_VKEY)])


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u3000b", "x" * 129, "a\x7f"])
def test_a_name_that_no_line_can_hold_is_refused(name):
    with pytest.raises(MalformedError):
        check_name(name)


def test_only_ed25519_signs_notes_and_only_proper_text_is_signed():
    with pytest.raises(NotSupportedError):
        key_of(ORIGIN, a_signer("ec", "ES256"))
    for text in ("no end", "a\tb\n", ""):
        with pytest.raises(MalformedError):
            sign_note(text, ORIGIN, LOG_SIGNER)
        with pytest.raises(MalformedError):
            cosign(text, WITNESS, WITNESS_SIGNER, 1)


def test_lines_of_witnesses_are_read_alone():
    line = cosign("text\n", WITNESS, WITNESS_SIGNER, 5).line()
    assert parse_signatures(line * 2) == (cosign("text\n", WITNESS, WITNESS_SIGNER, 5),) * 2
    for tail in ("", line[:-1], f"\n{line}", line + "\n"):
        with pytest.raises(MalformedError):
            parse_signatures(tail)


#: The worked example of the facts: a checkpoint, and the line of its witness.
CHECKPOINT = "node.example/log1\n5\nGqaNMHSQWlgfhMu9D3U3lJBP2ARRvEwT5p2aU7xZUCw=\n"
COSIGNED = (
    "— top.example/w1 6NfBIwAAAABqsTuA/0hnkBEXsKAE4YyzwA+m5vMeZFizGTHF9EkKURBeud2z644d7Skx6fC1N41rCjY7"
    "+Ch+vXSS3pW0m1uxr1WlBA==\n"
)


def test_fault_21_the_cosignature_of_the_worked_example_comes_out_and_holds():
    assert cosign(CHECKPOINT, WITNESS, WITNESS_SIGNER, 1_790_000_000).line() == COSIGNED
    _, (seen,) = open_note(f"{CHECKPOINT}\n{COSIGNED}".encode(), [WITNESS_KEY])
    assert (seen.key, seen.at) == (WITNESS_KEY, 1_790_000_000)


def test_signatures_are_added_once():
    one, other = sign_note("text\n", ORIGIN, LOG_SIGNER), cosign("text\n", WITNESS, WITNESS_SIGNER, 9)
    note = Note("text\n", (one,)).plus([one, other, other])
    assert note.signatures == (one, other)
    assert len(open_note(note, [LOG_KEY, WITNESS_KEY])[1]) == 2


def test_names_and_notes_have_their_limits():
    assert check_name("n" * 128) == "n" * 128
    for name in ("n" * 129, "a\x00", "a\x01b", "\x1b"):
        with pytest.raises(MalformedError):
            check_name(name)
    assert MAX_NOTE_BYTES == 65_536
    longest = b"t" * (MAX_NOTE_BYTES - len(EXAMPLE)) + EXAMPLE
    assert parse_note(longest).encode() == longest
    with pytest.raises(LimitError):
        parse_note(b"t" + longest)


def test_signature_lines_alone_are_no_note():
    with pytest.raises(MalformedError):
        parse_note(COSIGNED.encode())


@pytest.mark.parametrize(
    ("line", "code"),
    [("— a b AAAAAAAA\n", "base64"), ("— a AAAAAA==\n", "note_form"), ("— a é\n", "base64")],
)
def test_a_signature_line_is_a_name_and_what_it_signed(line, code):
    with pytest.raises(MalformedError) as refused:
        parse_signatures(line)
    assert refused.value.code == f"federation.log.{code}"


def test_a_verifier_key_has_a_name_and_one_length():
    key = parse_vkey(EXAMPLE_VKEY)
    for wrong, code in (
        (notes._made("a b", ED25519, key.public).vkey, "note_name"),
        (f"a+00000000+{b64encode(bytes([ED25519])).decode()}", "note_vkey"),
        (f"a+00000000+{b64encode(bytes([ED25519]) + bytes(33)).decode()}", "note_vkey"),
    ):
        with pytest.raises(MalformedError) as refused:
            parse_vkey(wrong)
        assert refused.value.code == f"federation.log.{code}"


def test_a_signer_without_a_key_has_none():
    class Empty:
        alg, jwk = LOG_SIGNER.alg, LOG_SIGNER.jwk | {"x": "!"}

    with pytest.raises(UntrustedError):
        key_of(ORIGIN, Empty())


def test_base64_is_read_in_its_own_letters():
    for spelling in ("é", "AA", "AA==\n", "A A=", "-_=="):
        with pytest.raises(MalformedError):
            exact_base64(spelling, field="x")
