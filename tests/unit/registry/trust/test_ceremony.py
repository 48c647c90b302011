"""The file that goes from keyholder to keyholder until a root has its successor."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import ExistsError, HazlinkError, InvalidValueError, UntrustedError
from registry.identifier import Prefix
from registry.trust.ceremony import Ceremony, read_ceremony
from registry.trust.root import draft_root
from registry.trust.statement import Endpoints, StatementKey, draft, full_rights, read
from tests.support.trust import ALGS, DAY, NOW, a_root, a_signer

ROOT = a_root("a", "b", "c", threshold=2)
TOP = Prefix("88")


def reason(act, *args, kind=UntrustedError):
    with pytest.raises(kind) as refused:
        act(*args)
    assert refused.value.message("zh") != refused.value.message("en")
    return refused.value.code.removeprefix("registry.trust.")


def a_ceremony(*names, threshold=2, ver=2, top=None):
    keys = [a_signer(name) for name in names or ("c", "d", "e")]
    payload = draft_root(keys, threshold, algs=ALGS, iat=NOW, exp=NOW + 900 * DAY, ver=ver)
    return Ceremony(root=ROOT.document, payload=payload, top=top)


def a_top(**other):
    content = {
        "issuer": None,
        "subject": TOP,
        "keys": (StatementKey.of(a_signer("88"), nbf=NOW),),
        "perms": full_rights(TOP),
        "algs": ALGS,
        "max_path": 6,
        "endpoints": Endpoints(resolve=("https://top.example",)),
        "ver": 2,
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 90 * DAY,
    }
    return draft(**{**content, **other})


def signed(ceremony, *names):
    for name in names:
        ceremony = read_ceremony(ceremony.signed(a_signer(name)).text())
    return ceremony


def test_a_ceremony_goes_round_and_ends_in_the_next_root():
    made = signed(a_ceremony(), "a", "c", "d")
    progress = made.progress()
    assert set(progress.old) == {a_signer("a").kid, a_signer("c").kid}
    assert set(progress.new) == {a_signer("c").kid, a_signer("d").kid}
    assert progress.is_complete
    anchor = ROOT.anchor.advance(made.document())
    assert (anchor.root.ver, anchor.root.threshold) == (2, 2)
    assert anchor.fingerprint == ROOT.fingerprint


@pytest.mark.parametrize("names", [(), ("a",), ("a", "b"), ("a", "d", "e"), ("d", "e"), ("c",)])
def test_fault_05_one_signature_below_either_threshold_is_not_enough(names):
    made = signed(a_ceremony(), *names)
    assert not made.progress().is_complete
    assert reason(made.document, kind=InvalidValueError) == "ceremony_incomplete"


def test_fault_05_a_key_signs_once():
    made = signed(a_ceremony(), "a")
    assert reason(made.signed, a_signer("a"), kind=ExistsError) == "ceremony_signed"
    twice = orjson.loads(made.text())
    twice["signatures"] *= 2
    assert reason(read_ceremony, orjson.dumps(twice).decode()) == "ceremony_stranger"


def test_fault_05_a_version_is_not_skipped():
    assert reason(read_ceremony, a_ceremony(ver=3).text()) == "root_version"
    made = a_ceremony(ver=3)
    for name in ("a", "c", "d"):
        made = made.signed(a_signer(name))
    assert reason(ROOT.anchor.advance, made.document()) == "root_version"


def test_a_stranger_cannot_sign():
    assert reason(a_ceremony().signed, a_signer("mallory"), kind=InvalidValueError) == "ceremony_stranger"


def test_the_first_new_key_signs_the_statement_about_the_top():
    made = signed(a_ceremony(top=a_top()), "a")
    assert made.statement is None, "a key that leaves does not sign for the time after"
    made = signed(made, "d", "c")
    assert read(made.statement).kid == a_signer("d").kid


def test_a_statement_that_was_not_proposed_is_refused():
    made = signed(a_ceremony(top=a_top()), "d")
    other = signed(a_ceremony(top=a_top(ver=3)), "d")
    content = orjson.loads(made.text()) | {"statement": other.statement}
    assert reason(read_ceremony, orjson.dumps(content).decode()) == "ceremony_statement"


@given(st.data())
def test_a_changed_file_is_refused_or_says_the_same(data):
    text = signed(a_ceremony(top=a_top()), "a", "c").text()
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from('aZ0"{}[]:,\\é '))
    try:
        made = read_ceremony(text[:place] + letter + text[place + 1 :])
    except HazlinkError:
        return
    assert made.payload == a_ceremony().payload
    assert made.root.payload == ROOT.document.payload
