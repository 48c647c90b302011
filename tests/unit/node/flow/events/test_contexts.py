import pytest

from node.flow.events.contexts import EPCIS_CONTEXT, KNOWN, PROTECTED, Context, resolve
from node.flow.events.faults import ROOT, Sink, pointer
from node.flow.events.members import COMMON, MEMBERS


def resolved(written, **options):
    sink = Sink(9)
    context = resolve(written, (ROOT, "@context"), sink, **options)
    return context, [(fault.pointer, fault.name) for fault in sink.faults]


@pytest.mark.parametrize("address", sorted(KNOWN))
def test_every_known_context_declares_the_prefixes_of_epcis(address):
    context, faults = resolved(address)
    assert faults == []
    assert context.expand("cbvmda:lotNumber") == "urn:epcglobal:cbv:mda:lotNumber"
    assert context.expand("gs1:Mass") == "https://gs1.org/voc/Mass"


def test_prefixes_written_out_are_taken_also_as_objects_and_by_other_prefixes():
    context, faults = resolved(
        [EPCIS_CONTEXT, {"hz": "https://ns.test/hz/", "q": {"@id": "https://ns.test/q#"}, "d": "hz:deep/"}]
    )
    assert faults == []
    assert [context.expand(name) for name in ("hz:a", "q:b", "d:c", "e:f", "plain", "https://x.test/")] == [
        "https://ns.test/hz/a", "https://ns.test/q#b", "https://ns.test/hz/deep/c", "e:f", "plain", "https://x.test/",
    ]  # fmt: skip


def test_an_unknown_address_is_refused_even_when_no_name_needs_it():
    assert resolved([EPCIS_CONTEXT, "https://away.test/c.jsonld"])[1] == [("/@context/1", "context_unknown")]


def test_an_address_that_the_operator_put_here_is_known():
    own = {**KNOWN, "https://away.test/c.jsonld": {"aw": "https://away.test/ns/"}}
    context, faults = resolved([EPCIS_CONTEXT, "https://away.test/c.jsonld"], known=own)
    assert faults == []
    assert context.expand("aw:x") == "https://away.test/ns/x"


@pytest.mark.parametrize(
    ("written", "where", "name"),
    [
        ({"hz": "https://ns.test/hz/"}, "/@context", "context_epcis"),
        ([], "/@context", "context_epcis"),
        (7, "/@context", "context_form"),
        ([EPCIS_CONTEXT, 7], "/@context/1", "context_form"),
        ([EPCIS_CONTEXT, {"hz": "no"}], "/@context/1/hz", "context_prefix"),
        ([EPCIS_CONTEXT, {"hz": None}], "/@context/1/hz", "context_prefix"),
        ([EPCIS_CONTEXT, {"hz": {"@type": "@id"}}], "/@context/1/hz", "context_prefix"),
        ([EPCIS_CONTEXT, {"cbv": "https://ns.test/"}], "/@context/1/cbv", "context_term"),
        ([EPCIS_CONTEXT, {"action": "https://ns.test/a"}], "/@context/1/action", "context_term"),
        ([EPCIS_CONTEXT, {"@import": "https://ns.test/a"}], "/@context/1/@import", "context_keyword"),
    ],
)
def test_what_is_wrong_in_a_context_is_told_with_its_place(written, where, name):
    assert (where, name) in resolved(written)[1]


def test_what_says_nothing_of_prefixes_is_passed_over():
    assert (
        resolved(
            [
                EPCIS_CONTEXT,
                {"@version": "1.1", "@vocab": "https://x.test/", "cbv": "https://ref.gs1.org/cbv/"},
            ]
        )[1]
        == []
    )


def test_an_inner_context_stands_on_the_outer_one():
    outer = Context({"hz": "https://ns.test/hz/"}, epcis=True)
    context, faults = resolved({"q": "https://ns.test/q/"}, base=outer)
    assert faults == []
    assert context.expand("hz:a") == "https://ns.test/hz/a"
    assert outer.prefixes == {"hz": "https://ns.test/hz/"}


def test_every_member_of_an_event_is_protected():
    assert {*COMMON, *MEMBERS} <= PROTECTED


def test_a_pointer_escapes_what_a_pointer_must():
    assert pointer(((ROOT, "a/b~c"), 3)) == "/a~1b~0c/3"
    assert pointer(ROOT) == ""
