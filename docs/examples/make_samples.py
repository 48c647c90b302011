# ruff: noqa: INP001 — a script beside its output, not a module of a package
"""Writes the sample objects beside this file: every kind of record, for one large and two small enterprises.

Run `python docs/examples/make_samples.py` from the root of the repository. The output is the same on every run: all
figures come from counting, nothing is drawn by lot. Enterprises, people, numbers and addresses are made up; check
digits are right. Substance data is common knowledge of a few everyday chemicals and no substitute for a data sheet.
"""

import csv
import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

from stdnum import iso6346
from stdnum.cn import uscc

FOLDER = Path(__file__).parent
TODAY = date(2026, 11, 22)
PHONE = "0532-00000119"

Row = dict[str, str]


class Chemical(NamedTuple):
    """An everyday chemical; `flash` is its flash point in °C, or nothing."""

    zh: str
    en: str
    cas: str
    un: str
    aliases: str
    hazards: str
    aid: str
    flash: str


#: A handful of everyday chemicals, typed by hand.
CHEMICALS = tuple(
    Chemical(**row) for row in json.loads((FOLDER / "chemicals.json").read_text(encoding="utf-8"))
)
DEVICES = (
    ("储罐", "tank"),
    ("反应釜", "reactor"),
    ("换热器", "heat-exchanger"),
    ("输送泵", "pump"),
    ("压缩机", "compressor"),
)
SITES = (("罐区", "tank-farm"), ("车间", "workshop"), ("仓库", "warehouse"), ("装卸站", "loading-station"))
ROLES = (
    "operator",
    "special-operator",
    "guard",
    "gas-analyst",
    "safety-officer",
    "maintenance",
    "driver",
    "escort",
)
DOCUMENTS = (
    ("应急预案", "emergency-plan"),
    ("操作规程", "procedure"),
    ("检验报告", "inspection-report"),
    ("安全技术说明书", "sds"),
)
GAUGES = (
    ("压力", "pressure", "MPa", "PT", ("0", "2.5", "0.1", "0.2", "1.6", "1.8")),
    ("温度", "temperature", "°C", "TT", ("-40", "200", "-20", "-10", "60", "80")),
    ("液位", "level", "%", "LT", ("0", "100", "10", "15", "85", "90")),
    ("可燃气体浓度", "concentration-combustible", "%LEL", "GT", ("0", "100", "", "", "25", "50")),
)


def day(offset: int) -> str:
    """Return a date so many days from the samples' today."""
    return (TODAY + timedelta(days=offset)).isoformat()


def credit_code(number: int) -> str:
    """Return a well-formed credit code of an enterprise that does not exist."""
    body = f"91370299MA{number:07d}"
    return body + str(uscc.calc_check_digit(body))


def tank_number(number: int) -> str:
    """Return a well-formed number of a tank container with a made-up owner."""
    body = f"HZLU{number:06d}"
    return body + str(iso6346.calc_check_digit(body))


def enterprise(prefix: str, number: int, name: str, level: str) -> Row:
    """Return the enterprise itself."""
    return {
        "identifier": f"{prefix}/ENTERPRISE",
        "kind": "enterprise",
        "NAME_ZH": name,
        "USCC": credit_code(number),
        "ADDRESS": f"虚构省示例市样本化工园区 {number} 号",
        "INDUSTRY": "2614",
        "HAZARD_LEVEL": level,
        "SAFETY_LICENCE": f"（虚）WH安许证字〔2026〕{number:04d}号",
        "SAFETY_LICENCE_UNTIL": day(500),
        "PARK": "样本化工园区",
        "EMERGENCY_PHONE": PHONE,
        "CONTACT": "虚构联系人",
        "CONTACT_PHONE": "0532-00000100",
    }


def sites(prefix: str, count: int) -> list[Row]:
    """Return places of a plant."""
    rows = []
    for n in range(1, count + 1):
        name, kind = SITES[n % len(SITES)]
        rows.append({
            "identifier": f"{prefix}/SITE-{n:02d}",
            "kind": "site",
            "NAME_ZH": f"虚构{n}号{name}",
            "SITE_TYPE": kind,
            "ASSET_NO": f"CD-{n:03d}",
            "LONGITUDE": f"120.{30 + n} °",
            "LATITUDE": f"36.{10 + n} °",
            "AREA": f"{400 + 150 * n} m2",
            "MAJOR_HAZARD_GRADE": ("none", "4", "3", "2")[n % 4],
            "EMERGENCY_PHONE": PHONE,
        })  # fmt: skip
    return rows


def devices(prefix: str, count: int, places: int) -> list[Row]:
    """Return equipment, some of it with an inspection that is nearly due."""
    rows = []
    for n in range(1, count + 1):
        name, kind = DEVICES[n % len(DEVICES)]
        rows.append({
            "identifier": f"{prefix}/DEVICE-{n:04d}",
            "kind": "device",
            "NAME_ZH": f"虚构{name} {n:03d}",
            "ASSET_NO": f"SB-{n:05d}",
            "ERP_NO": f"ERP-EQ-{700000 + n}",
            "SITE": f"{prefix}/SITE-{n % places + 1:02d}",
            "DEVICE_TYPE": kind,
            "MAKER": "示例重工（虚构）",
            "SERIAL_NO": f"SN{n * 37:06d}",
            "MADE": day(-2000 - n),
            "RATED_PRESSURE": f"{(n % 9 + 1) / 5:.1f} MPa",
            "RATED_TEMPERATURE": f"{60 + n % 14 * 10} °C",
            "RATED_VOLUME": f"{5 + n % 20 * 5} m3",
            "INSPECTED": day(-400 + n),
            "INSPECTION_DUE": day(n * 7 - 30),
            "STATE": "in-service",
        })  # fmt: skip
    return rows


def points(prefix: str, count: int, machines: int) -> list[Row]:
    """Return monitoring points with range and alarm limits."""
    rows = []
    for n in range(1, count + 1):
        name, quantity, unit, letters, limits = GAUGES[n % len(GAUGES)]
        kinds = ("RANGE_LOW", "RANGE_HIGH", "ALARM_LL", "ALARM_L", "ALARM_H", "ALARM_HH")
        rows.append({
            "identifier": f"{prefix}/POINT-{n:04d}",
            "kind": "point",
            "NAME_ZH": f"虚构{name}测点 {n:03d}",
            "ASSET_NO": f"YB-{n:05d}",
            "TAG": f"{letters}-{1000 + n}",
            "QUANTITY": quantity,
            "UNIT": unit,
            "DEVICE": f"{prefix}/DEVICE-{n % machines + 1:04d}",
            **{k: f"{limit} {unit}" for k, limit in zip(kinds, limits, strict=True) if limit},
        })  # fmt: skip
    return rows


def substances(prefix: str, count: int) -> list[Row]:
    """Return everyday chemicals, then mixtures that do not exist and have no CAS number."""
    rows = []
    for n, (zh, en, cas, un, aliases, hazards, aid, flash) in enumerate(CHEMICALS[:count], 1):
        row = {
            "identifier": f"{prefix}/SUBSTANCE-{n:04d}",
            "kind": "substance",
            "NAME_ZH": zh,
            "NAME_EN": en,
            "CAS_NO": cas,
            "ALIASES": aliases,
            "HIGHLY_TOXIC": "true" if zh == "氯" else "false",
            "UN_NO": un,
            "HAZARDS": hazards,
            "FIRST_AID": aid,
            "SDS_URL": f"https://example.com/sds/{cas}.pdf",
            "EMERGENCY_PHONE": PHONE,
            "FLASH_POINT": f"{flash} °C" if flash else "",
            "ERP_NO": f"ERP-MT-{300000 + n}",
        }
        rows.append({k: v for k, v in row.items() if v})
    rows += [
        {
            "identifier": f"{prefix}/SUBSTANCE-{n:04d}",
            "kind": "substance",
            "NAME_ZH": f"虚构混合溶剂 {n}",
            "HAZARDS": "易燃液体和蒸气",
            "FIRST_AID": "眼接触：用水冲洗；吸入：移至新鲜空气处",
            "FLASH_POINT": f"{20 + n} °C",
            "ERP_NO": f"ERP-MT-{300000 + n}",
        }
        for n in range(len(CHEMICALS) + 1, count + 1)
    ]
    return rows


def batches(prefix: str, count: int, kinds: int) -> list[Row]:
    """Return batches of the substances; each repeats what must be read in an emergency."""
    rows = []
    for n in range(1, count + 1):
        which = (n - 1) % kinds
        zh, _, _, un, _, hazards, aid, _ = CHEMICALS[which % len(CHEMICALS)]
        rows.append({
            "identifier": f"{prefix}/BATCH-{n}",
            "kind": "batch",
            "NAME_ZH": zh,
            "SUBSTANCE": f"{prefix}/SUBSTANCE-{which % len(CHEMICALS) + 1:04d}",
            "BATCH_NO": f"PH2026{n:04d}",
            "ERP_NO": f"ERP-LOT-{900000 + n}",
            "QUANTITY": f"{5 + n % 25} t",
            "MADE": day(-(n % 90) - 1),
            "EXPIRES": day(365 - n % 60),
            "PURITY": f"99.{n % 10} %",
            "STATE": "released",
            "UN_NO": un,
            "HAZARDS": hazards,
            "FIRST_AID": aid,
            "EMERGENCY_PHONE": PHONE,
        })  # fmt: skip
    return rows


def containers(prefix: str, count: int, lots: int) -> list[Row]:
    """Return cylinders and tank containers with what is inside."""
    rows = []
    for n in range(1, count + 1):
        tank = n % 8 == 0
        rows.append({
            "identifier": f"{prefix}/CONTAINER-{n:04d}",
            "kind": "container",
            "CONTAINER_NO": f"RQ-{n:05d}",
            "CONTAINER_TYPE": "tank-container" if tank else ("cylinder", "drum", "ibc")[n % 3],
            **({"ISO6346": tank_number(n)} if tank else {}),
            "CAPACITY": "21 m3" if tank else f"{40 + n % 4 * 40} L",
            "INSPECTED": day(-300 + n),
            "INSPECTION_DUE": day(n * 5),
            "BATCH": f"{prefix}/BATCH-{n % lots + 1}",
            "CONTENT": "18 t" if tank else f"{20 + n % 30} kg",
            "EMERGENCY_PHONE": PHONE,
        })  # fmt: skip
    return rows


def vehicles(prefix: str, count: int) -> list[Row]:
    """Return lorries; plate and licence are not for the public."""
    return [
        {
            "identifier": f"{prefix}/VEHICLE-{n:03d}",
            "kind": "vehicle",
            "VEHICLE_TYPE": ("tractor", "tank-truck", "trailer")[n % 3],
            "PLATE": f"鲁Z{n:04d}挂" if n % 3 == 2 else f"鲁Z{n:05d}",  # noqa: PLR2004 — every third is a trailer
            "TRANSPORT_LICENCE": f"虚构运证 {n:06d}",
            "LICENCE_UNTIL": day(n * 11),
            "CLASSES": "3;8" if n % 2 else "2.1;2.3",
            "LOAD": f"{20 + n % 3 * 5} t",
            "INSPECTION_DUE": day(n * 9),
            "ASSET_NO": f"CL-{n:04d}",
        }
        for n in range(1, count + 1)
    ]


def workers(prefix: str, count: int) -> list[Row]:
    """Return workers: the identifier and everything public tell nothing about the person."""
    return [
        {
            "identifier": f"{prefix}/W-{hashlib.sha256(f'{prefix} {n}'.encode()).hexdigest()[:10].upper()}",
            "kind": "worker",
            "ROLE": ROLES[n % len(ROLES)],
            "CERTIFICATE_TYPE": "特种作业操作证（示例）",
            "CERTIFICATE_VALID_UNTIL": day(n * 13 - 40),
            "CERTIFICATE_STATE": "valid",
            "NAME": f"虚构人员{n:03d}",
            "EMPLOYEE_NO": f"GH{n:05d}",
            "DEPARTMENT": ("生产部", "安全部", "设备部")[n % 3],
        }
        for n in range(1, count + 1)
    ]


def documents(prefix: str, count: int) -> list[Row]:
    """Return documents with the digest that their file would have."""
    rows = []
    for n in range(1, count + 1):
        title, kind = DOCUMENTS[n % len(DOCUMENTS)]
        address = f"https://example.com/{prefix}/doc-{n:03d}.pdf"
        rows.append({
            "identifier": f"{prefix}/DOC-{n:03d}",
            "kind": "document",
            "TITLE": f"虚构{title} {n:03d}",
            "DOCUMENT_TYPE": kind,
            "DOCUMENT_URL": address,
            "SHA256": hashlib.sha256(address.encode()).hexdigest(),
            "MIME": "application/pdf",
            "LANGUAGE": "zh-CN",
            "EDITION": f"{1 + n % 3}.0",
            "ISSUED": day(-n * 6),
            "VALID_UNTIL": day(700 - n),
        })  # fmt: skip
    return rows


def write_csv(name: str, rows: Sequence[Row]) -> None:
    """Write rows as CSV with the columns they need, in the order they first come."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with (FOLDER / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_ndjson(name: str, rows: Iterable[Row]) -> None:
    """Write rows as one JSON object a line: identifier, kind, fields."""
    with (FOLDER / name).open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            fields = {k: v for k, v in row.items() if k not in {"identifier", "kind"}}
            line = {"identifier": row["identifier"], "kind": row["kind"], "fields": fields}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def main() -> int:
    """Write all sample files."""
    big, small, hosted = "88.107.1001", "88.107.1002", "88.107.1003"
    plant = [
        enterprise(big, 1001, "虚构海岸化工有限公司", "2"),
        *sites(big, 12),
        *devices(big, 60, 12),
        *points(big, 120, 60),
        *vehicles(big, 15),
    ]
    goods = [
        *substances(big, 20),
        *batches(big, 120, 12),
        *containers(big, 80, 120),
        *workers(big, 60),
        *documents(big, 40),
    ]
    write_csv("88.107.1001-plant.csv", plant)
    write_ndjson("88.107.1001-goods-and-people.ndjson", goods)
    neighbour = [
        enterprise(small, 1002, "虚构山麓涂料有限公司", "4"),
        *sites(small, 2),
        *devices(small, 5, 2),
        *points(small, 8, 5),
        *substances(small, 4),
        *batches(small, 6, 4),
        *workers(small, 4),
        *documents(small, 2),
    ]
    write_ndjson("88.107.1002.ndjson", neighbour)
    guest = [
        enterprise(hosted, 1003, "虚构小镇气体站", "none"),
        *sites(hosted, 1),
        *devices(hosted, 2, 1),
        *substances(hosted, 2),
        *batches(hosted, 3, 2),
        *containers(hosted, 4, 3),
        *vehicles(hosted, 2),
        *workers(hosted, 2),
    ]
    write_csv("88.107.1003.csv", guest)
    sys.stdout.write(f"{len(plant) + len(goods)} + {len(neighbour)} + {len(guest)} objects\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
