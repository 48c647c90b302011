from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.log.checkpoint import Checkpoint, open_checkpoint, read_size, sign_checkpoint
from federation.log.merkle import EMPTY_ROOT
from federation.log.note import COSIGNATURE, Note, cosign, key_of, sign_note
from registry.errors import HazlinkError, MalformedError, UntrustedError
from tests.support.log import LOG_KEY, LOG_SIGNER, ORIGIN, WITNESS, WITNESS_KEY, WITNESS_SIGNER, a_log_signer

ROOT = bytes(range(32))
MADE = Checkpoint(ORIGIN, 5, ROOT)


@given(st.integers(1, (1 << 53) - 1), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_comes_back_as_it_was(size, root):
    made = Checkpoint(ORIGIN, size, root)
    assert Checkpoint.parse(made.text()) == made
    assert open_checkpoint(sign_checkpoint(made, LOG_SIGNER).encode(), LOG_KEY).checkpoint == made


@pytest.mark.parametrize(
    "text",
    [
        "", "\n", "a\n1\n", MADE.text()[:-1], MADE.text() + "more\n", MADE.text() + "\n", "\n" + MADE.text(),
        MADE.text().replace("\n5\n", "\n05\n"), MADE.text().replace("\n5\n", "\n+5\n"),
        MADE.text().replace("\n5\n", "\n-5\n"), MADE.text().replace("\n5\n", "\n٥\n"),
        MADE.text().replace("\n5\n", "\n\n"), MADE.text().replace("\n5\n", f"\n{1 << 53}\n"),
        MADE.text().replace("=", ""), MADE.text().replace("node", "no de"),
        "a\n5\nAAAA\n", MADE.text() + "more", f"a\n5\n{b64encode(bytes(33)).decode()}\n",
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(text):
    with pytest.raises(MalformedError):
        Checkpoint.parse(text)


def test_an_empty_log_has_the_empty_root():
    made = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert open_checkpoint(sign_checkpoint(made, LOG_SIGNER).encode(), LOG_KEY).checkpoint == made
    with pytest.raises(UntrustedError):
        open_checkpoint(sign_checkpoint(Checkpoint(ORIGIN, 0, ROOT), LOG_SIGNER).encode(), LOG_KEY)


def test_the_log_itself_must_have_signed():
    text = MADE.text()
    seen = cosign(text, WITNESS, WITNESS_SIGNER, 9)
    with pytest.raises(UntrustedError):
        open_checkpoint(Note(text, (seen,)).encode(), LOG_KEY, [WITNESS_KEY])
    other = key_of("other.example/log1", LOG_SIGNER)
    with pytest.raises(UntrustedError):
        open_checkpoint(Note(text, (sign_note(text, other.name, LOG_SIGNER),)).encode(), other)
    with pytest.raises(UntrustedError):
        open_checkpoint(sign_checkpoint(MADE, a_log_signer("other")).encode(), LOG_KEY)


def test_a_witness_that_calls_itself_as_the_log_does_not_stand_for_it():
    named_alike = key_of(ORIGIN, WITNESS_SIGNER, kind=COSIGNATURE)
    note = Note(MADE.text(), (cosign(MADE.text(), ORIGIN, WITNESS_SIGNER, 9),))
    with pytest.raises(UntrustedError):
        open_checkpoint(note.encode(), LOG_KEY, [named_alike])


def test_what_the_log_and_what_witnesses_without_a_time_signed_is_no_time():
    text = MADE.text()
    plain = key_of(WITNESS, WITNESS_SIGNER)
    note = sign_checkpoint(MADE, LOG_SIGNER).plus(
        [sign_note(text, WITNESS, WITNESS_SIGNER), cosign(text, WITNESS, WITNESS_SIGNER, 9)]
    )
    opened = open_checkpoint(note.encode(), LOG_KEY, [plain, WITNESS_KEY])
    assert [seen.key for seen in opened.cosignatures] == [plain, WITNESS_KEY]
    assert opened.witnessed_at == 9
    assert open_checkpoint(note.encode(), LOG_KEY, [plain]).witnessed_at is None


def test_the_earliest_time_a_known_witness_states_counts():
    text = MADE.text()
    second = key_of("w2", a_log_signer("w2"), kind=4)
    note = sign_checkpoint(MADE, LOG_SIGNER).plus(
        [cosign(text, WITNESS, WITNESS_SIGNER, 9), cosign(text, "w2", a_log_signer("w2"), 7)]
    )
    assert open_checkpoint(note.encode(), LOG_KEY).witnessed_at is None
    assert open_checkpoint(note.encode(), LOG_KEY, [WITNESS_KEY]).witnessed_at == 9
    assert open_checkpoint(note.encode(), [LOG_KEY], [WITNESS_KEY, second]).witnessed_at == 7


def test_sizes_have_one_spelling():
    assert [read_size(text, field="size") for text in ("0", "1", "9007199254740991")] == [0, 1, (1 << 53) - 1]
    for text in ("", "00", "1 ", " 1", "1.0", "1e3", "9007199254740992", "１"):
        with pytest.raises(MalformedError):
            read_size(text, field="size")


@given(st.data())
def test_no_changed_byte_of_a_signed_checkpoint_goes_unnoticed(data):
    raw = bytearray(sign_checkpoint(MADE, LOG_SIGNER).encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(HazlinkError):
        open_checkpoint(bytes(raw), LOG_KEY)
