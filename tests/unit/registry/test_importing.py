import csv
import json
import re
import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import (
    HazlinkError,
    LimitError,
    MalformedError,
    NotFoundError,
    NotSupportedError,
    UnavailableError,
)
from registry.identifier import Prefix
from registry.importing import reading
from registry.importing.catalogue import CatalogueRows
from registry.importing.report import Report
from registry.importing.rows import PlainRows
from registry.importing.service import import_file
from registry.importing.survey import survey
from registry.record import Draft
from registry.results import IfPresent
from registry.value import FEDERATION, Scope, Value, Visibility
from tests.support.importing import EDITOR, MemoryRegistrar

ROOT = Path(__file__).parents[3]
HEADER = "identifier,kind,NAME_ZH,CAS_NO,FLASH_POINT\n"
ACETONE = "88.107.1001/S-1,substance,丙酮,67-64-1,-18 °C\n"
METHANOL = "88.107.1001/S-2,substance,甲醇,67-56-1,11 °C\n"


@pytest.fixture
def registrar():
    return MemoryRegistrar()


def write(folder, content, name="in.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def report_of(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def run(registrar, folder, content, name="in.csv", **options):
    """Import and return the summary and the report's lines."""
    report = folder / "report.csv"
    summary = import_file(registrar, EDITOR, write(folder, content, name), report_path=report, **options)
    return summary, report_of(report)


def counts(summary):
    return summary.created, summary.changed, summary.unchanged, summary.refused, summary.warnings


def test_a_csv_becomes_records(registrar, tmp_path):
    summary, lines = run(registrar, tmp_path, HEADER + ACETONE + METHANOL)
    assert counts(summary) == (2, 0, 0, 0, 0)
    assert lines == []
    kind, values = registrar.records["88.107.1001/S-1"]
    assert kind == "substance"
    assert {v.type: v.text for v in values}["CAS_NO"] == "67-64-1"


def test_a_second_run_changes_nothing(registrar, tmp_path):
    run(registrar, tmp_path, HEADER + ACETONE + METHANOL)
    assert counts(run(registrar, tmp_path, HEADER + ACETONE + METHANOL)[0]) == (0, 0, 2, 0, 0)


def test_a_dry_run_checks_everything_and_stores_nothing(registrar, tmp_path):
    state = tmp_path / "state"
    content = HEADER + ACETONE + METHANOL.replace("67-56-1", "67-56-2")
    summary, lines = run(registrar, tmp_path, content, dry_run=True, state_path=state)
    assert counts(summary) == (1, 0, 0, 1, 0)
    assert lines[0]["field"] == "fields.CAS_NO"
    assert registrar.records == {}
    assert not state.exists()


def test_other_content_is_refused_or_replaces_as_asked(registrar, tmp_path):
    run(registrar, tmp_path, HEADER + ACETONE)
    other = HEADER + ACETONE.replace("丙酮", "二甲基酮")
    assert counts(run(registrar, tmp_path, other)[0]) == (0, 0, 0, 1, 0)
    assert counts(run(registrar, tmp_path, other, if_present=IfPresent.REPLACE)[0]) == (0, 1, 0, 0, 0)


BAD_LINES = [
    ("88.107.1001/S-9,substance,丙酮,67-64-2,\n", "fields.CAS_NO", "67-64-1"),
    ("88.107.1001/S-9,substance,丙酮,,-18\n", "fields.FLASH_POINT", "°C"),
    ("88.107.1001/S-9,substanz,丙酮,,\n", "kind", "substance"),
    ("nothing,substance,丙酮,,\n", "identifier", "'/'"),
    ("88.107.1001/\u0405-9,substance,丙酮,,\n", "identifier", "U+0405"),
    (",substance,丙酮,,\n", "identifier", "missing"),
    ("88.107.1001/s-1,substance,丙酮,,\n", "identifier", "line 2"),
    ("88.107.1001/S-9,substance,丙酮\n", "", "3 cells"),
    ('88.107.1001/S-9,substance,"丙酮" x,,\n', "", "quotation mark"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "field", "told"), BAD_LINES)
def test_a_bad_line_is_reported_with_its_number_and_the_rest_goes_on(registrar, tmp_path, line, field, told):
    summary, lines = run(registrar, tmp_path, HEADER + ACETONE + line + METHANOL)
    assert counts(summary) == (2, 0, 0, 1, 0)
    assert [(entry["line"], entry["level"], entry["field"]) for entry in lines] == [("3", "error", field)]
    assert told in lines[0]["message_en"]
    assert lines[0]["message_zh"] != lines[0]["message_en"]


def test_lines_are_counted_as_an_editor_counts_them(registrar, tmp_path):
    content = HEADER + '88.107.1001/S-1,substance,"丙\n酮",,\n\n' + METHANOL.replace("11 °C", "11")
    assert run(registrar, tmp_path, content)[1][0]["line"] == "5"


def test_a_byte_order_mark_is_no_part_of_the_first_column(registrar, tmp_path):
    summary, _ = run(registrar, tmp_path, ("\ufeff" + HEADER + ACETONE).encode())
    assert (summary.created, summary.guessed) == (1, False)


def test_a_spreadsheets_gbk_is_read_and_said_so(registrar, tmp_path):
    summary, _ = run(registrar, tmp_path, (HEADER + ACETONE.replace("°C", "℃")).encode("gbk"))
    assert (summary.created, summary.encoding, summary.guessed) == (1, "gb18030", True)
    assert any(v.text == "丙酮" for v in registrar.records["88.107.1001/S-1"][1])


def test_damaged_utf8_is_refused_line_by_line_and_never_taken_for_gbk(registrar, tmp_path):
    content = (HEADER + ACETONE).encode() + METHANOL.encode().replace("醇".encode(), b"\xe9\x86")
    summary, lines = run(registrar, tmp_path, content)
    assert counts(summary) == (1, 0, 0, 1, 0)
    assert "UTF-8" in lines[0]["message_en"]
    assert lines[0]["field"] == "NAME_ZH"


def test_rare_characters_in_gbk_need_the_encoding_by_name(registrar, tmp_path):
    content = (HEADER + ACETONE.replace("丙酮", "镕丂").replace("°C", "℃")).encode("gb18030")
    assert run(registrar, tmp_path, content)[0].refused == 1
    summary, _ = run(registrar, tmp_path, content, encoding="gb18030")
    assert (summary.created, summary.guessed) == (1, False)


@pytest.mark.parametrize(
    ("content", "name", "error", "told"),
    [
        (b"", "in.csv", MalformedError, "empty"),
        (b"PK\x03\x04xxxx", "in.csv", NotSupportedError, "spreadsheet"),
        (HEADER.encode("utf-16"), "in.csv", NotSupportedError, "UTF-16"),
        (b"x", "in.xlsx", NotSupportedError, ".ndjson"),
        (HEADER.replace(",", ";"), "in.csv", MalformedError, "commas"),
        ("id,kind\n", "in.csv", MalformedError, "identifier"),
        ("identifier,kind,A,A\n", "in.csv", MalformedError, "twice"),
        ("identifier,kind,\n", "in.csv", MalformedError, "column 3"),
        ('"identifier\n', "in.csv", MalformedError, "quotation"),
        ("identifier," + ",".join(f"A{n}" for n in range(1000)) + "\n", "in.csv", LimitError, "1001"),
        ("{}", "in.json", MalformedError, ".ndjson"),
        ("[1", "in.json", MalformedError, "array"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_as_a_whole(tmp_path, content, name, error, told):
    registrar = MemoryRegistrar()
    with pytest.raises(error, match=re.escape(told)) as caught:
        run(registrar, tmp_path, content, name)
    assert caught.value.message("zh")
    assert registrar.calls == 0


def test_a_file_that_is_not_there_and_an_unknown_encoding_are_told(registrar, tmp_path):
    with pytest.raises(NotFoundError):
        import_file(registrar, EDITOR, tmp_path / "none.csv")
    with pytest.raises(NotSupportedError, match="gb18030"):
        import_file(registrar, EDITOR, write(tmp_path, HEADER), encoding="latin-1")


def test_ndjson_takes_fields_flat_members_and_values(registrar, tmp_path):
    rows = [
        {"identifier": "88.107.1001/S-1", "kind": "substance", "fields": {"NAME_ZH": "丙酮", "CAS_NO": ["67-64-1", "67-56-1"]}},
        {"identifier": "88.107.1001/S-2", "kind": "substance", "NAME_ZH": "甲醇", "HIGHLY_TOXIC": False, "CATALOGUE_NO": 7, "NAME_EN": None},
        {
            "identifier": "88.107.1001/G-1",
            "values": [
                {"index": 1, "type": "URL", "data": "https://example.com", "ttl": 60},
                {"index": 2, "type": "RAW", "data": {"format": "base64", "value": "AAE="}, "visibility": "federation"},
                {"index": 3, "type": "RAW", "data": {"format": "hex", "value": "00ff"}, "visibility": ["88.107.1002"]},
                {"index": 100, "type": "HS_ADMIN", "data": {"format": "admin", "value": {"handle": "0.NA/88.107.1001", "index": 300, "permissions": "011111110011"}}},
                {"index": 4, "type": "T", "data": {"format": "string", "value": "x"}},
            ],
        },
    ]  # fmt: skip
    summary, lines = run(registrar, tmp_path, "\n".join(map(json.dumps, rows)), "in.ndjson")
    assert (summary.created, lines) == (3, [])
    _, values = registrar.records["88.107.1001/G-1"]
    assert values[0] == Value(1, "URL", b"https://example.com", ttl=60)
    assert values[1] == Value(2, "RAW", b"\x00\x01").seen_as(FEDERATION)
    assert values[2].visibility == Visibility(Scope.PREFIXES, ("88.107.1002",))
    assert values[4].data[:2] == b"\x07\xf3"
    assert {v.type: v.text for v in registrar.records["88.107.1001/S-2"][1]}["HIGHLY_TOXIC"] == "false"


GOOD_JSON = '{"identifier":"88.107.1001/S-1","kind":"substance","NAME_ZH":"丙酮"}'


@pytest.mark.parametrize(
    ("line", "field", "told"),
    [
        ("{", "", "JSON"),
        ("[]", "", "object"),
        ('{"identifier":"88.107.1001/X","identifier":"88.107.1001/Y"}', "", "twice"),
        ('{"identifier":"88.107.1001/X","A":NaN}', "", "NaN"),
        ('{"identifier":' + "[" * 20 + "]" * 20 + "}", "", "nested"),
        ("[" * 100_000, "", "JSON"),
        ('{"identifier":1}', "identifier", "missing"),
        ('{"identifier":"88.107.1001/X","kind":1}', "kind", "name of a kind"),
        ('{"identifier":"88.107.1001/X","fields":[1]}', "fields", "object"),
        ('{"identifier":"88.107.1001/X","fields":{"A":"1"},"B":"2"}', "B", "'fields'"),
        ('{"identifier":"88.107.1001/X","A":{"b":1}}', "fields.A", "text"),
        ('{"identifier":"88.107.1001/X","A":"\\ud800"}', "fields.A", "UTF-8"),
        ('{"identifier":"88.107.1001/\\ud800"}', "identifier", "UTF-8"),
        ('{"identifier":"88.107.1001/X","values":{}}', "values", "array"),
        ('{"identifier":"88.107.1001/X","values":[1]}', "values[0]", "object"),
        ('{"identifier":"88.107.1001/X","values":[{"index":0,"type":"A","data":""}]}', "values[0].index", "1 to 4294967295"),
        ('{"identifier":"88.107.1001/X","values":[{"index":true,"type":"A","data":""}]}', "values[0].index", "1 to"),
        ('{"identifier":"88.107.1001/X","values":[{"index":1,"type":"","data":""}]}', "values[0].type", "type"),
        ('{"identifier":"88.107.1001/X","values":[{"index":1,"type":"A","data":5}]}', "values[0].data", "format"),
        ('{"identifier":"88.107.1001/X","values":[{"index":1,"type":"A","data":"\\ud800"}]}', "values[0].data", "format"),
        ('{"identifier":"88.107.1001/X","values":[{"index":1,"type":"A","data":{"format":"hex","value":"x"}}]}', "values[0].data", "hex"),
        ('{"identifier":"88.107.1001/X","values":[{"index":1,"type":"A","data":"","ttl":-1}]}', "values[0].ttl", "0 to"),
        ('{"identifier":"88.107.1001/X","values":[{"index":1,"type":"A","data":"","secret":1}]}', "values[0].secret", "known"),
        ('{"identifier":"88.107.1001/X","values":[{"index":1,"type":"A","data":"","visibility":"all"}]}', "values[0].visibility", "public"),
        ('{"identifier":"88.107.1001/X","values":[{"index":1,"type":"A","data":"","visibility":["88..1"]}]}', "values[0].visibility[0]", "empty label"),
    ],
)  # fmt: skip
def test_a_bad_line_of_ndjson_is_reported_and_the_rest_goes_on(registrar, tmp_path, line, field, told):
    summary, lines = run(
        registrar, tmp_path, f"{GOOD_JSON}\n{line}\n{GOOD_JSON.replace('S-1', 'S-2')}\n", "in.ndjson"
    )
    assert (summary.created, summary.refused) == (2, 1)
    assert (lines[0]["line"], lines[0]["field"]) == ("2", field)
    assert told in lines[0]["message_en"]


def test_ndjson_with_broken_text_or_an_endless_line_goes_on(registrar, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_LINE", 200)
    content = (
        GOOD_JSON.encode()
        + b'\n{"identifier":"\xff"}\n'
        + b"x" * 1000
        + b"\n"
        + GOOD_JSON.replace("S-1", "S-2").encode()
    )
    summary, lines = run(registrar, tmp_path, content, "in.ndjson")
    assert (summary.created, summary.rows) == (2, 4)
    assert [entry["line"] for entry in lines] == ["2", "3"]


def test_progress_reaches_the_last_line(registrar, tmp_path):
    seen = []
    content = HEADER + "".join(f"88.107.1001/S-{n},substance,丙酮,,\n" for n in range(25))
    run(registrar, tmp_path, content, batch_size=10, on_progress=seen.append)
    assert [(p.line, p.lines, p.rows) for p in seen] == [(11, 26, 10), (21, 26, 20), (26, 26, 25)]


def many(count=30):
    lines = [f"88.107.1001/S-{n},substance,丙酮,{'67-64-2' if n % 7 == 3 else ''},\n" for n in range(count)]
    return HEADER + "".join(lines) + "88.107.1001/S-1,substance,丙酮,,\n"


@pytest.mark.parametrize("how", [{"breaks_before": 3}, {"breaks_after": 2}])
def test_an_interrupted_run_goes_on_and_ends_like_an_undisturbed_one(tmp_path, how):
    undisturbed = MemoryRegistrar()
    whole, lines = run(undisturbed, tmp_path, many(), batch_size=10)
    state = tmp_path / "state.json"
    broken = MemoryRegistrar(**how)
    with pytest.raises((UnavailableError, KeyboardInterrupt)):
        run(broken, tmp_path, many(), batch_size=10, state_path=state)
    assert state.exists()
    broken.breaks_after = None
    with (tmp_path / "report.csv").open("ab") as half_written:
        half_written.write(b"3,written after the last finished batch")
    again, lines_again = run(broken, tmp_path, many(), batch_size=10, state_path=state)
    assert broken.records == undisturbed.records
    assert lines_again == lines
    assert again.resumed_after in {10, 20}
    assert again.created + again.unchanged == whole.created
    assert (again.rows, again.refused) == (whole.rows, whole.refused)
    assert not state.exists()


@pytest.mark.parametrize("damage", [b"", b"{", b'{"version":1}', b'{"version":9}', b"[]"])
def test_a_state_that_is_damaged_or_of_another_file_is_not_followed(registrar, tmp_path, damage):
    state = tmp_path / "state.json"
    state.write_bytes(damage)
    assert run(registrar, tmp_path, HEADER + ACETONE, state_path=state)[0].created == 1
    registrar.breaks_before = registrar.calls + 2
    with pytest.raises(UnavailableError):
        run(registrar, tmp_path, many(), batch_size=10, state_path=state)
    summary, _ = run(registrar, tmp_path, many(20), batch_size=10, state_path=state)
    assert summary.resumed_after == 0


def test_a_report_cell_is_no_formula(tmp_path):
    with Report(tmp_path / "r.csv") as report:
        report.add(1, "=cmd|'/c calc'!A1", "error", MalformedError("registry.importing.refused", field="@x"))
        report.add(2, "\ud800", "error", MalformedError("registry.importing.refused"))
        assert report.sync() == (tmp_path / "r.csv").stat().st_size
    lines = report_of(tmp_path / "r.csv")
    assert lines[0]["identifier"].startswith("'=")
    assert lines[1]["identifier"] == "\\ud800"
    with Report(None) as silent:
        silent.add(1, "x", "error", MalformedError("registry.importing.refused"))
        assert silent.sync() == 0


#: Rows typed by hand in the form of the catalogue; names and numbers chosen to break every rule once.
CATALOGUE = [
    {"no": 1, "name_zh": "样品甲", "qualifier_zh": "含量＞5%", "aliases_zh": ["甲一", "1,4;5,8-甲", "甲一"], "cas": ["67-64-1"], "highly_toxic": True, "generic": False, "notes": None},
    {"no": 2, "name_zh": "样品乙", "qualifier_zh": None, "aliases_zh": [], "cas": [], "highly_toxic": False, "generic": True, "notes": "补记"},
    {"no": 3, "name_zh": "样品丙", "aliases_zh": [], "cas": ["67-64-2", "67-56-1"], "highly_toxic": False},
    {"no": 4, "name_zh": "样品丁", "cas": ["67-64-1", "64-17-5", "64-17-5"]},
    {"no": 0, "name_zh": "坏"},
    {"no": 6, "name_zh": " "},
    {"no": 7, "name_zh": "坏", "cas": [5]},
]  # fmt: skip


def test_catalogue_rows_become_substances_and_none_is_lost(registrar, tmp_path):
    mapping = CatalogueRows(Prefix("88.107.1001"))
    summary, lines = run(registrar, tmp_path, json.dumps(CATALOGUE), "catalogue.json", mapping=mapping)
    assert counts(summary) == (4, 0, 0, 3, 3)
    told = [(entry["line"], entry["level"], entry["field"]) for entry in lines]
    assert told == [
        ("2", "warning", "cas"), ("3", "warning", "cas"), ("4", "warning", "cas"),
        ("5", "error", "no"), ("6", "error", "name_zh"), ("7", "error", "cas"),
    ]  # fmt: skip
    first, second, third, fourth = (
        {(v.index, v.type): v.text for v in registrar.records[f"88.107.1001/CATALOGUE-000{n}"][1]}
        for n in (1, 2, 3, 4)
    )
    assert first[2120, "ALIASES"] == "甲一"
    assert first[2008, "NOTES"] == "1,4;5,8-甲"
    assert first[2012, "HIGHLY_TOXIC"] == "true"
    assert second[2013, "GENERIC"] == "true"
    assert (third[2100, "CAS_NO"], third[2008, "NOTES"]) == ("67-56-1", "CAS 67-64-2")
    assert (fourth[2100, "CAS_NO"], fourth[2101, "CAS_NO"]) == ("67-64-1", "64-17-5")


def test_the_catalogue_of_2833_entries_is_imported_whole(registrar, tmp_path):
    source = ROOT.parent / "shared" / "data" / "cn_hazchem_catalogue_2833.json"
    if not source.exists():
        pytest.skip("the reference data folder is not beside this checkout")
    for run_number, expected in enumerate([(2833, 0), (0, 2833)]):
        summary = import_file(
            registrar, EDITOR, source, report_path=tmp_path / f"{run_number}.csv", mapping=CatalogueRows(Prefix("88.107.1001"))
        )  # fmt: skip
        assert (summary.created, summary.unchanged, summary.refused) == (*expected, 0)
        lines = report_of(tmp_path / f"{run_number}.csv")
        assert sum("no CAS number" in entry["message_en"] for entry in lines) == 153
        assert sum("is also that of entry" in entry["message_en"] for entry in lines) == 8
        assert summary.warnings == len(lines) == 161
    rows = json.loads(source.read_text("utf-8"))
    for row in rows:
        _, values = registrar.records[f"88.107.1001/CATALOGUE-{row['no']:04d}"]
        texts = [v.text for v in values]
        assert [v.text for v in values if v.type == "CAS_NO"] == row["cas"]
        assert row["name_zh"] in texts
        assert set(row["aliases_zh"]) <= set(texts)


def test_every_text_of_the_catalogue_is_used():
    source = "".join(p.read_text("utf-8") for p in (ROOT / "registry" / "importing").glob("*.py"))
    for name in tomllib.loads((ROOT / "registry/messages/importing.toml").read_text("utf-8")):
        assert f'"registry.importing.{name}"' in source, name


@settings(max_examples=60)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused_line_by_line(content):
    for suffix in (".csv", ".ndjson", ".json"):
        _read_all(content, suffix)


def _read_all(content, suffix):
    with tempfile.NamedTemporaryFile(suffix=suffix) as file:
        file.write((HEADER.encode() if suffix == ".csv" else b"") + content)
        file.flush()
        path = Path(file.name)
        try:
            rows = list(reading.read_rows(path, survey(path)))
        except HazlinkError as error:
            assert error.message("zh")  # noqa: PT017 — either answer is right, both must be told
            return
        assert all((row.content is None) != (row.error is None) for row in rows)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=10),
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.text(max_size=10), st.lists(st.integers(), max_size=2)
        ),
        max_size=5,
    )
)
def test_any_flat_row_becomes_a_draft_or_is_refused_by_field(row):
    try:
        mapped = PlainRows().draft({"identifier": "88.1/X", **row})
    except HazlinkError as error:
        refused = error
        assert refused.field
    else:
        assert isinstance(mapped.draft, Draft)
        assert all(isinstance(text, str) and text for text in mapped.draft.fields.values())
