"""Claims, one by one: each of exactly its type, and what is wrong is named by its path."""

import pytest

from registry.errors import MalformedError, MalformedIdentifierError, UntrustedError
from registry.identifier import Prefix
from registry.trust.claims import Claims, check_crit
from registry.trust.strict_json import MAX_INTEGER


def refused(act, *args, kind=MalformedError, **kwargs):
    with pytest.raises(kind) as error:
        act(*args, **kwargs)
    assert error.value.message("zh") != error.value.message("en")
    return error.value.code.removeprefix("registry.trust."), error.value.field


def one(value, at=""):
    return Claims({"a": value}, at)


def right(value, method, *args, **kwargs):
    """Say what the refusal says would have been right."""
    with pytest.raises(MalformedError) as error:
        getattr(one(value), method)("a", *args, **kwargs)
    return error.value.params["right"]


def test_only_an_object_has_members():
    for wrong in ([], "x", None, 1):
        assert refused(Claims, wrong) == ("claim_type", "payload")
        assert refused(Claims, wrong, "ep") == ("claim_type", "ep")


def test_a_path_leads_to_the_member():
    assert Claims({}).where("a") == "a"
    assert Claims({}, "ep").where("a") == "ep.a"
    assert refused(Claims({}, "ep").get, "a") == ("claim_missing", "ep.a")
    assert one(None).get("a") is None


def test_a_text_has_something_in_it_and_an_end():
    assert one("x").text("a") == "x"
    assert one("x" * 512).text("a") == "x" * 512
    assert one("xyz").text("a", 3) == "xyz"
    for wrong in ("", "x" * 513, 1, None, True, ["x"]):
        assert refused(one(wrong).text, "a") == ("claim_type", "a")
    assert right("wxyz", "text", 3) == "text (1–3)"


def test_an_optional_text_may_be_missing_or_null_and_nothing_else():
    assert one(None).optional_text("a") is None
    assert Claims({}).optional_text("a") is None
    assert one("x" * 512).optional_text("a") == "x" * 512
    assert one("xyz").optional_text("a", 3) == "xyz"
    for wrong in ("", "x" * 513, 0, False):
        assert refused(one(wrong).optional_text, "a") == ("claim_type", "a")
    assert right("wxyz", "optional_text", 3) == "text (1–3)"


def test_an_integer_is_one_within_its_bounds():
    assert [one(value).integer("a") for value in (0, MAX_INTEGER)] == [0, MAX_INTEGER]
    assert [one(value).integer("a", least=2, most=4) for value in (2, 4)] == [2, 4]
    for wrong in (-1, MAX_INTEGER + 1, True, 1.0, "1", None):
        assert refused(one(wrong).integer, "a") == ("claim_type", "a")
    for wrong in (1, 5):
        assert right(wrong, "integer", least=2, most=4) == "integer (2–4)"


def test_an_array_and_an_object_are_what_they_are():
    assert one([1, 2]).array("a", most=2) == [1, 2]
    assert one([]).array("a", most=0) == []
    assert one({"b": 1}).object("a") == {"b": 1}
    for wrong in ([1, 2, 3], {}, "xy", (1,)):
        assert refused(one(wrong).array, "a", most=2) == ("claim_type", "a")
    assert right([1], "array", most=0) == "array (0–0)"
    for wrong in ([], "x", None):
        assert refused(one(wrong).object, "a") == ("claim_type", "a")
    assert right(1, "object") == "object"


def test_texts_are_different_and_there_is_one_at_least():
    assert one(["x", "y" * 512]).texts("a", most=2) == ["x", "y" * 512]
    for wrong in ([], ["x", "x"], ["x", ""], ["x", 1], ["y" * 513], ["x", "y", "z"], "x", [["x"]]):
        assert refused(one(wrong).texts, "a", most=2) == ("claim_type", "a")
    assert right([], "texts", most=2) == "array of different texts (1–2)"


def test_a_prefix_is_named_by_its_handle():
    assert one("0.NA/88.107").prefix("a") == Prefix("88.107")
    assert one("0.na/88.1a").prefix("a") == Prefix.parse("88.1A")
    assert one("0.NA/0.NA").prefix("a") is None
    assert one("0.na/0.na").prefix("a") is None
    for wrong in ("88.107", "0.NB/88", "x0.NA/88", "0.NA"):
        assert refused(one(wrong, "at").prefix, "a") == ("issuer", "at.a")


def test_a_reference_has_an_index_too():
    assert one("300:0.NA/88.107").reference("a", 300) == Prefix("88.107")
    assert one("300:0.NA/0.NA").reference("a", 300) is None
    for wrong in ("0.NA/88", "301:0.NA/88", "300", ":0.NA/88", "300:88", "0300:0.NA/88", "300:300:0.NA/88"):
        assert refused(one(wrong, "at").reference, "a", 300) == ("issuer", "at.a")
    assert refused(one("300:0.NA/88:1", "at").reference, "a", 300, kind=MalformedIdentifierError)[1] == "at.a"


def test_nobody_is_named_by_a_prefix_of_the_system_or_a_handle_within():
    for wrong in ("0.NA/0", "0.NA/0.1", "0.NA/0.NA.1"):
        assert refused(one(wrong, "at").prefix, "a", kind=MalformedIdentifierError) == (
            "prefix_reserved",
            "at.a",
        )
    for wrong in ("0.NA/0.NA/88", "0.NA/88/X", "0.NA/", "0.NA/88..1"):
        assert refused(one(wrong, "at").prefix, "a", kind=MalformedIdentifierError)[1] == "at.a"


def test_crit_names_what_must_be_understood():
    def check(names, *, required=("b",), understood=("b", "c"), **more):
        check_crit(Claims({"crit": names, "b": 1, **more}), required=required, understood=understood)

    check(["b"])
    check(["b", "c"], c=1)
    check(["c"], required=(), c=1)
    understood = [f"n{number}" for number in range(32)]
    check(understood, required=(), understood=understood, **dict.fromkeys(understood, 1))
    more = [*understood, "n32"]
    assert refused(check, more, understood=more, **dict.fromkeys(more, 1)) == ("claim_type", "crit")
    assert refused(check, ["b", "d"], d=1, kind=UntrustedError) == ("crit_unknown", "crit")
    assert refused(check, ["b", "c"]) == ("crit_absent", "crit")
    assert refused(check, ["c"], c=1) == ("crit_missing", "crit")
    assert refused(check, []) == ("claim_type", "crit")
