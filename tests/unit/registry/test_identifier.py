import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import MalformedIdentifierError
from registry.identifier import (
    HANDLE_MAX_BYTES,
    Identifier,
    Prefix,
    ValueReference,
    fold,
    from_url_path,
    to_url_path,
)

labels = st.text(alphabet="abcXYZ0123456789-_", min_size=1, max_size=6)
prefixes = st.lists(labels, min_size=1, max_size=4).map(".".join)
suffixes = st.text(alphabet=st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=40).filter(
    lambda s: len(s.encode()) <= 160
)


def test_an_identifier_splits_at_the_first_slash():
    made = Identifier.parse("88.107.1001/a/b/")
    assert (made.prefix.key, made.suffix, made.text) == ("88.107.1001", "a/b/", "88.107.1001/a/b/")


def test_a_name_without_slash_stands_for_the_prefix_record():
    made = Identifier.parse("88.107")
    assert made.text == "0.NA/88.107"
    assert made.named_prefix == Prefix("88.107")
    assert made.authority == Prefix("88")


def test_matching_folds_ascii_letters_only():
    assert Identifier.parse("88.x/batch-é").key == "88.X/BATCH-é"
    assert fold("straße") == "STRAßE"


def test_a_prefix_contains_by_labels_not_by_characters():
    assert Prefix.parse("88.1").contains(Prefix.parse("88.1.5"))
    assert Prefix.parse("88.1").contains(Prefix.parse("88.1"))
    assert not Prefix.parse("88.1").contains(Prefix.parse("88.10"))
    assert not Prefix.parse("88.1.5").contains(Prefix.parse("88.1"))


def test_ancestors_run_from_the_longest_to_the_top():
    assert [p.key for p in Prefix.parse("88.107.1001").ancestors()] == ["88.107.1001", "88.107", "88"]
    assert Prefix.parse("88").parent is None


@pytest.mark.parametrize(
    ("spelling", "reason"),
    [
        ("88.107/", "suffix_empty"),
        ("/x", "prefix_empty"),
        ("88..1/x", "prefix_empty"),
        ("88.1./x", "prefix_empty"),
        (".88/x", "prefix_empty"),
        ("88.%31/x", "prefix_character"),
        ("88.1 /x", "prefix_character"),
        ("88.１/x", "prefix_character"),
        ("88.а/x", "prefix_character"),
        ("88/a\x00b", "control"),
        ("88/a\x7f", "control"),
        ("88/" + "x" * HANDLE_MAX_BYTES, "long"),
        ("8" * 65 + "/x", "prefix_long"),
        ("88/\ud800", "not_utf8"),
        ("0.NA/88..1", "prefix_empty"),
    ],
)
def test_a_malformed_identifier_is_refused_with_its_reason(spelling, reason):
    with pytest.raises(MalformedIdentifierError) as caught:
        Identifier.parse(spelling, field="identifier")
    assert caught.value.code == f"registry.identifier.{reason}"
    assert caught.value.field == "identifier"
    assert caught.value.message("zh")
    assert caught.value.message("en")


@pytest.mark.parametrize(
    ("spelling", "reason"),
    [
        ("88.107", "no_slash"),
        ("88/cafe\u0301", "not_nfc"),
        ("88/BATCH\u200b1", "invisible"),
        ("88/\u202eBATCH", "invisible"),
        ("88/a\u3000b", "invisible"),
        ("88/ВATCH", "look_alike"),  # Cyrillic Ve
        ("88/ΒATCH", "look_alike"),  # Greek Beta
        ("88/ＢATCH", "look_alike"),  # full-width B
        ("88/１", "look_alike"),
        ("88/𝐁", "look_alike"),
        ("88/a／b", "look_alike"),  # full-width solidus
    ],
)
def test_registering_refuses_what_looks_like_something_else(spelling, reason):
    with pytest.raises(MalformedIdentifierError) as caught:
        Identifier.parse_new(spelling)
    assert caught.value.code == f"registry.identifier.{reason}"


@pytest.mark.parametrize("spelling", ["88.107/批次-001", "88/甲醇〇一", "88.A_b-c/x y", "88/a/b"])
def test_registering_takes_ascii_and_chinese(spelling):
    assert Identifier.parse_new(spelling).text == spelling


@given(prefixes, suffixes)
def test_parsing_keeps_the_spelling(prefix, suffix):
    made = Identifier.parse(f"{prefix}/{suffix}")
    assert made.text == f"{prefix}/{suffix}"
    assert made.key == Identifier.parse(made.key).key


@given(prefixes, suffixes)
def test_a_url_path_brings_the_identifier_back(prefix, suffix):
    spelling = f"{prefix}/{suffix}"
    assert from_url_path(to_url_path(spelling).encode()) == spelling


@pytest.mark.parametrize(
    ("raw", "spelling"),
    [(b"88/a+b", "88/a+b"), (b"88%2Fa", "88/a"), (b"88/%2541", "88/%41"), ("88/批".encode(), "88/批")],
)
def test_a_url_path_is_decoded_once(raw, spelling):
    assert from_url_path(raw) == spelling


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"88/%", "percent"),
        (b"88/%4", "percent"),
        (b"88/%zz", "percent"),
        (b"88/%00", "control"),
        (b"88/%ff", "not_utf8"),
    ],
)
def test_a_broken_escape_is_refused(raw, reason):
    with pytest.raises(MalformedIdentifierError) as caught:
        from_url_path(raw)
    assert caught.value.code == f"registry.identifier.{reason}"


def test_a_value_reference_names_index_and_handle():
    made = ValueReference.parse("300:0.NA/88.107")
    assert (made.index, made.handle.text, str(made)) == (300, "0.NA/88.107", "300:0.NA/88.107")
    for wrong in ("0.NA/88", "x:0.NA/88", "-1:0.NA/88", "4294967296:0.NA/88", "１:0.NA/88"):
        with pytest.raises(MalformedIdentifierError):
            ValueReference.parse(wrong)


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused_never_a_crash(text):
    with contextlib.suppress(MalformedIdentifierError):
        assert Identifier.parse_new(text).text == text
