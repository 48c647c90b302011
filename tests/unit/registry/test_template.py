import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import HazlinkError, InvalidValueError, LimitError
from registry.identifier import Identifier
from registry.record import Draft
from registry.template import TemplateCatalogue, load_templates
from registry.template_schema import Template
from registry.value import FEDERATION, PRIVATE, PUBLIC, Scope, Value

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "registry" / "templates").glob("*.json"))
TEMPLATES = load_templates()
KINDS = {
    "enterprise",
    "site",
    "device",
    "point",
    "substance",
    "batch",
    "container",
    "vehicle",
    "worker",
    "document",
}

GOOD = {
    "enterprise": {"NAME_ZH": "虚构海岸化工有限公司", "USCC": "91370200MA3C00000K", "HAZARD_LEVEL": "2"},
    "site": {"NAME_ZH": "虚构罐区", "SITE_TYPE": "tank-farm", "LONGITUDE": "120.31 °", "LATITUDE": "36.07 °"},
    "device": {"NAME_ZH": "虚构反应釜", "ASSET_NO": "SB-00001", "RATED_PRESSURE": "1.6 MPa", "INSPECTION_DUE": "2027-01-31"},
    "point": {
        "NAME_ZH": "虚构压力", "TAG": "PT-1001", "QUANTITY": "pressure", "UNIT": "MPa", "RANGE_LOW": "0 MPa",
        "RANGE_HIGH": "2.5 MPa", "ALARM_LL": "0.1 MPa", "ALARM_L": "0.2 MPa", "ALARM_H": "1.6 MPa", "ALARM_HH": "1.8 MPa",
    },
    "substance": {"NAME_ZH": "丙酮", "CAS_NO": "67-64-1", "ALIASES": "二甲基酮;木酮", "FLASH_POINT": "-18 °C", "UN_NO": "UN1090"},
    "batch": {"SUBSTANCE": "88.107.1001/SUBSTANCE-0001", "QUANTITY": "20 t", "MADE": "2026-11-01", "EXPIRES": "2027-11-01"},
    "container": {"CONTAINER_NO": "RQ-1", "CONTAINER_TYPE": "tank-container", "ISO6346": "CSQU3054383", "CAPACITY": "21 m³"},
    "vehicle": {"VEHICLE_TYPE": "trailer", "PLATE": "鲁Z0001挂", "CLASSES": "3;8"},
    "worker": {"ROLE": "guard", "CERTIFICATE_VALID_UNTIL": "2027-05-01", "NAME": "虚构人员", "EMPLOYEE_NO": "GH00001"},
    "document": {"TITLE": "虚构预案", "DOCUMENT_URL": "https://example.com/a.pdf", "SHA256": "0" * 64, "MIME": "application/pdf"},
}  # fmt: skip


def apply(kind, fields=None, suffix="X-1", values=()):
    draft = Draft(f"88.107.1001/{suffix}", kind, values, dict(fields or {}))
    return TEMPLATES.apply(draft, Identifier.parse_new(draft.identifier))


def refusal(kind, fields=None, suffix="X-1", values=()):
    with pytest.raises(HazlinkError) as caught:
        apply(kind, fields, suffix, values)
    assert caught.value.message("zh") != caught.value.message("en")
    return caught.value


def texts(values):
    return [(v.index, v.type, v.text) for v in values]


def test_every_kind_the_programme_speaks_of_has_a_template():
    assert set(TEMPLATES.kinds()) == KINDS | {"generic", "prefix"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_template_file_is_a_json_schema_and_says_what_it_is(path):
    document = json.loads(path.read_text("utf-8"))
    jsonschema_rs.meta.validate(document)
    assert path.name == f"{document['x-template']}.{document['x-version']}.json"
    assert set(document["x-title"]) == {"zh", "en"}
    assert document["additionalProperties"] is False
    template = Template(document)
    taken = [index for field in template.fields.values() for index in field.indexes]
    assert len(taken) == len(set(taken))
    assert not {100, 200, 300, 400, 500, 1000, 1001} & set(taken)
    for name, field in template.fields.items():
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*", name)
        assert set(field.title) == {"zh", "en"}
        assert field.visibility.scope >= field.widest.scope, name
    chained = [n for chain in template.ascending + template.not_descending for n in chain]
    assert set(chained) <= set(template.fields)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_good_record_of_each_kind_passes_and_names_its_template(kind):
    made, values = apply(kind, GOOD[kind])
    assert made == kind
    assert [v.index for v in values] == sorted(v.index for v in values)
    assert texts(values)[:2] == [(1000, "TEMPLATE", kind), (1001, "TEMPLATE_VERSION", "1")]
    assert {v.type for v in values} == set(GOOD[kind]) | {"TEMPLATE", "TEMPLATE_VERSION"}
    assert all((v.visibility == PUBLIC) == bool(v.permissions & 2) for v in values)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_passed_once_passes_again_as_values(kind):
    _, values = apply(kind, GOOD[kind])
    assert apply(None, values=values) == (kind, values)


def test_a_field_that_may_stand_several_times_becomes_several_values():
    _, values = apply("substance", {"NAME_ZH": "硅化镁", "CAS_NO": "22831-39-6;39404-03-0"})
    assert [(v.index, v.text) for v in values if v.type == "CAS_NO"] == [
        (2100, "22831-39-6"),
        (2101, "39404-03-0"),
    ]


def test_a_substance_may_lack_a_cas_number():
    assert apply("substance", {"NAME_ZH": "某种树脂"})[0] == "substance"


WRONG = [
    ("substance", {"CAS_NO": "67-64-2"}, "CAS_NO", "67-64-1"),
    ("substance", {"CAS_NO": "67641"}, "CAS_NO", "67-64-1"),
    ("substance", {"CAS_NO": "67-64-1;67-64-1"}, "CAS_NO", "twice"),
    ("substance", {"CAS_NO": "67-64-1；67-56-1"}, "CAS_NO", "digits"),
    ("substance", {"CAS_NO": ";".join(["67-64-1"] * 9)}, "CAS_NO", "more than 8"),
    ("substance", {"NAME_ZH": ""}, "NAME_ZH", "empty"),
    ("substance", {"NAME_ZH": "甲" * 501}, "NAME_ZH", "501"),
    ("substance", {"NAME_ZH": "a\x00b"}, "NAME_ZH", "control"),
    ("substance", {"NAME_ZH": "a\ud800"}, "NAME_ZH", "UTF-8"),
    ("substance", {"FLASH_POINT": "-18"}, "FLASH_POINT", "°C"),
    ("substance", {"FLASH_POINT": "-18 K"}, "FLASH_POINT", "°C"),
    ("substance", {"FLASH_POINT": "-18℃"}, "FLASH_POINT", "one space"),
    ("substance", {"FLASH_POINT": "-300 ℃"}, "FLASH_POINT", "-273.15"),
    ("substance", {"LOWER_EXPLOSION_LIMIT": "101 %"}, "LOWER_EXPLOSION_LIMIT", "100"),
    ("substance", {"UN_NO": "1090"}, "UN_NO", "UN1090"),
    ("substance", {"CAS": "67-64-1"}, "CAS", "did you mean CAS_NO"),
    ("substance", {"cas_no": "67-64-1"}, "cas_no", "did you mean CAS_NO"),
    ("substance", {"QQQQQQ": "1"}, "QQQQQQ", "its fields: "),
    ("enterprise", {"USCC": "91370200MA3C00000H"}, "USCC", "end in K"),
    ("enterprise", {"USCC": "91370200ma3c00000k"}, "USCC", "capital"),
    ("enterprise", {"USCC": "9137"}, "USCC", "18"),
    ("enterprise", {"HAZARD_LEVEL": "5"}, "HAZARD_LEVEL", "1, 2, 3, 4, none"),
    ("container", {"ISO6346": "CSQU3054384"}, "ISO6346", "3"),
    ("container", {"ISO6346": "CSQ"}, "ISO6346", "CSQU3054383"),
    ("site", {"LATITUDE": "91 °"}, "LATITUDE", "90"),
    ("device", {"RATED_PRESSURE": "16 bar"}, "RATED_PRESSURE", "MPa"),
    ("device", {"INSPECTION_DUE": "2026-02-30"}, "INSPECTION_DUE", "2026-11-22"),
    ("device", {"INSPECTION_DUE": "20260201"}, "INSPECTION_DUE", "2026-11-22"),
    ("device", {"SITE": "nowhere"}, "SITE", "88.107.1001/BATCH-1"),
    ("batch", {"QUANTITY": "-1 t"}, "QUANTITY", "less than 0"),
    ("batch", {"EXPIRES": "2025-01-01"}, "EXPIRES", "MADE"),
    ("point", {"UNIT": "furlong"}, "UNIT", "MPa"),
    ("point", {"ALARM_H": "160 kPa"}, "ALARM_H", "MPa"),
    ("point", {"ALARM_H": "much"}, "ALARM_H", "number"),
    ("point", {"ALARM_H": "1 furlong"}, "ALARM_H", "unknown"),
    ("point", {"ALARM_HH": "1.6 MPa"}, "ALARM_HH", "greater than ALARM_H"),
    ("point", {"RANGE_HIGH": "1.7 MPa"}, "RANGE_HIGH", "ALARM_HH"),
    ("vehicle", {"PLATE": "ABC"}, "PLATE", "挂"),
    ("document", {"DOCUMENT_URL": "ftp://example.com/a"}, "DOCUMENT_URL", "https://"),
    ("document", {"DOCUMENT_URL": "https://u:p@example.com/a"}, "DOCUMENT_URL", "https://"),
    ("document", {"DOCUMENT_URL": "https://example.com:x/a"}, "DOCUMENT_URL", "https://"),
    ("document", {"SHA256": "abc"}, "SHA256", "64"),
    ("worker", {"ID_NO": "11010519491231002X"}, "ID_NO", "no field"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "change", "field", "told"), WRONG)
def test_what_breaks_a_template_is_refused_naming_the_field_and_what_is_right(kind, change, field, told):
    error = refusal(kind, {**GOOD[kind], **change})
    assert isinstance(error, InvalidValueError)
    assert error.field == f"fields.{field}"
    assert told in str(error)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_required_field_that_is_missing_is_named(kind):
    first = TEMPLATES.newest(kind).document["required"][0]
    assert first in refusal(kind, {k: v for k, v in GOOD[kind].items() if k != first}).field


def test_an_unknown_kind_is_refused_with_the_nearest_known():
    assert "did you mean 'substance'" in str(refusal("substanc"))
    assert "known: batch" in str(refusal("zzzz"))
    assert len(str(refusal("z" * 10_000))) < 300
    assert len(refusal("batch", {"Z" * 10_000: "x"}).field) < 100


def test_a_kind_named_twice_must_be_named_alike():
    value = Value(1000, "TEMPLATE", b"batch")
    assert refusal("substance", GOOD["substance"], values=(value,)).field == "kind"


def test_without_a_kind_the_value_at_1000_decides_and_generic_otherwise():
    named = Value(1000, "whatever", b"Substance")
    kind, values = apply(None, GOOD["substance"], values=(named,))
    assert kind == "substance"
    assert values[0] == replace(named, data=b"substance")
    assert apply(None, {"URL": "https://example.com", "FOO": "y", "BAR": "z"}) == (
        "generic",
        (Value(1, "URL", b"https://example.com"), Value(2000, "FOO", b"y"), Value(2001, "BAR", b"z")),
    )
    assert refusal(None, {"": "x"}).field == "fields."


def test_only_prefix_records_are_of_kind_prefix():
    identifier = Identifier.parse("0.NA/88.107.1001")
    assert TEMPLATES.apply(Draft(identifier.text, None), identifier)[0] == "prefix"
    assert refusal("prefix").field == "kind"


@pytest.mark.parametrize(("version", "told"), [(b"7", "no version 7"), (b"one", "whole number")])
def test_a_template_version_that_is_not_there_is_refused(version, told):
    error = refusal("substance", GOOD["substance"], values=(Value(1001, "V", version),))
    assert error.field == "1001"
    assert told in str(error)


def test_an_older_version_goes_on_counting_for_those_who_name_it():
    first = TEMPLATES.newest("substance").document
    second = {**first, "x-version": 2, "required": ["NAME_ZH", "NAME_EN"]}
    both = TemplateCatalogue([Template(first), Template(second)])
    draft = Draft("88.1/X", "substance", (), GOOD["substance"])
    identifier = Identifier.parse(draft.identifier)
    with pytest.raises(InvalidValueError, match="NAME_EN"):
        both.apply(draft, identifier)
    _, values = both.apply(replace(draft, values=(Value(1001, "V", b"1"),)), identifier)
    assert next(v for v in values if v.index == 1001).text == "1"


@pytest.mark.parametrize(
    ("value", "path", "told"),
    [
        (Value(2005, "CAS_NO", b"67-64-1"), "values[0].index", "2100–2107"),
        (Value(2001, "FLASH_POINT", b"1 \xc2\xb0C"), "values[0].index", "2017"),
        (Value(2000, "TITLE", b"x"), "values[0].type", "NAME_ZH"),
        (Value(2999, "CAS", b"67-64-1"), "values[0].type", "CAS_NO"),
        (Value(1500, "CAS", b"67-64-1"), "values[0].type", "CAS_NO"),
        (Value(2100, "CAS_NO", b"\xff"), "values[0].data", "UTF-8"),
        (Value(2100, "CAS_NO", b"67-64-2"), "values[0].data", "67-64-1"),
        (Value(2001, "NAME_EN", b""), "values[0].data", "empty"),
    ],
)
def test_values_given_by_index_are_checked_like_fields(value, path, told):
    error = refusal("substance", {} if value.index == 2000 else {"NAME_ZH": "丙酮"}, values=(value,))
    assert error.field == path
    assert told in str(error)


def test_an_index_holds_one_value():
    value = Value(2000, "NAME_ZH", "丙酮".encode())
    assert refusal("substance", {"NAME_ZH": "丙酮"}, values=(value,)).field == "fields.NAME_ZH"
    assert refusal("substance", values=(value, value)).field == "values[1].index"


def test_indexes_of_the_handle_system_are_free_under_every_template():
    admin = Value(100, "HS_ADMIN", b"\x07\xf3")
    _, values = apply(
        "substance", {"NAME_ZH": "丙酮"}, values=(Value(1, "URL", b"https://example.com"), admin)
    )
    assert admin in values


def test_too_many_fields_are_a_limit():
    assert isinstance(refusal(None, {f"F{n}": "x" for n in range(501)}), LimitError)


def test_personal_data_of_a_worker_is_private_and_cannot_be_made_wider():
    _, values = apply("worker", GOOD["worker"])
    seen = {v.type: v.visibility.scope for v in values}
    assert seen["NAME"] is Scope.PRIVATE
    assert seen["EMPLOYEE_NO"] is Scope.PRIVATE
    assert {t for t, s in seen.items() if s is Scope.PUBLIC} == {
        "TEMPLATE",
        "TEMPLATE_VERSION",
        "ROLE",
        "CERTIFICATE_VALID_UNTIL",
    }
    for wider in (PUBLIC, FEDERATION):
        name = Value(2060, "NAME", b"x").seen_as(wider)
        assert refusal("worker", {"ROLE": "guard"}, values=(name,)).field == "values[0].visibility"
    name = Value(2060, "NAME", b"x").seen_as(PRIVATE)
    assert name in apply("worker", {"ROLE": "guard"}, values=(name,))[1]


def test_a_plate_is_for_the_federation_and_a_contact_not_for_the_public():
    for kind, field in (("vehicle", "PLATE"), ("enterprise", "CONTACT_PHONE")):
        assert TEMPLATES.newest(kind).fields[field].visibility is FEDERATION


@pytest.mark.parametrize("suffix", ["13912345678", "W-13912345678", "11010519491231002X", "虚构人员", "张三"])
def test_an_identifier_of_a_worker_holds_no_personal_data(suffix):
    assert refusal("worker", GOOD["worker"], suffix).field == "identifier"


def test_an_identifier_does_not_contain_what_is_not_public():
    assert refusal("vehicle", GOOD["vehicle"], "V-鲁z0001挂").field == "identifier"
    assert refusal("worker", GOOD["worker"], "W-gh00001").field == "identifier"
    assert apply("vehicle", GOOD["vehicle"], "V-1")[0] == "vehicle"


def test_the_numbers_of_a_plant_are_found_by_search_under_every_kind():
    for kind in KINDS - {"worker"}:
        assert {"ERP_NO", "ASSET_NO"} <= TEMPLATES.indexed(kind)
    assert "CAS_NO" in TEMPLATES.indexed("substance")
    assert "NAME" not in TEMPLATES.indexed("worker")
    assert TEMPLATES.indexed("generic") == {"*"}
    assert TEMPLATES.searchable("ERP_NO")
    assert TEMPLATES.searchable("URL")
    assert not TEMPLATES.searchable("FIRST_AID")
    assert not TEMPLATES.searchable("hs_admin")


def test_a_batch_goes_stale_within_five_minutes():
    assert TEMPLATES.greatest_staleness("batch") == 300
    assert all(TEMPLATES.greatest_staleness(kind) >= 300 for kind in TEMPLATES.kinds())


def test_plain_fields_become_values_without_a_whole_record():
    values = TEMPLATES.values_of("substance", {"CAS_NO": "67-64-1;67-56-1"})
    assert texts(values) == [(2100, "CAS_NO", "67-64-1"), (2101, "CAS_NO", "67-56-1")]


def test_every_example_in_a_template_obeys_it():
    for kind in KINDS:
        for name, field in TEMPLATES.newest(kind).fields.items():
            if field.example and not field.example.startswith("64 "):
                content = {**GOOD[kind], name: field.example}
                if field.unit_of:
                    content = {k: v for k, v in GOOD[kind].items() if v[-3:] != "MPa" or k == "UNIT"} | {
                        name: field.example
                    }
                content = {k: v for k, v in content.items() if k == name or k not in {"MADE", "EXPIRES"}}
                apply(kind, content)


def test_every_text_of_the_catalogue_is_used_and_every_used_one_is_there():
    source = "".join(
        (ROOT / "registry" / f"{m}.py").read_text("utf-8")
        for m in ("template", "template_check", "template_formats", "units")
    )
    for name in tomllib.loads((ROOT / "registry/messages/template.toml").read_text("utf-8")):
        assert re.search(rf'["."]{name.removesuffix("_plain")}"', source), name


@given(
    st.sampled_from(sorted(KINDS)),
    st.dictionaries(
        st.sampled_from(sorted({n for k in KINDS for n in TEMPLATES.newest(k).fields})),
        st.text(max_size=30),
        max_size=6,
    ),
)
def test_any_content_is_taken_whole_or_refused_in_both_languages(kind, fields):
    try:
        _, values = apply(kind, {**GOOD[kind], **fields})
    except HazlinkError as refused:
        told = refused.message("zh"), refused.message("en"), refused.field
        assert all(told)
    else:
        assert {v.type for v in values} >= set(fields)
