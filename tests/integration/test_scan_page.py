"""The page behind a label, in a real browser at the size of a phone."""

import re
import shutil
import struct
import subprocess

import pytest

from tests.support.ports import free_port
from tests.support.processes import Served, told

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed; .ci/run installs it"),
]


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    data = tmp_path_factory.mktemp("scan") / "node"
    ports = free_port(), free_port()
    told(
        data, "init", "--root", "--prefix", "88", "--allow-loopback-peers",
        "--http", f"127.0.0.1:{ports[0]}", "--grpc", f"127.0.0.1:{ports[1]}",
    )  # fmt: skip
    told(
        data, "register", "88/SUBSTANCE-ACID", "--kind", "substance",
        "-f", "NAME_ZH=硫酸", "-f", "NAME_EN=Sulfuric acid", "-f", "CAS_NO=7664-93-9", "-f", "UN_NO=UN1830",
        "-f", "HAZARDS=严重灼伤皮肤和眼睛 / severe skin burns and eye damage",
        "-f", "FIRST_AID=立即用大量清水冲洗 / rinse at once with plenty of water",
    )  # fmt: skip
    told(
        data,
        "register",
        "88/SUBSTANCE-OLD",
        "--kind",
        "substance",
        "-f",
        "NAME_ZH=<b>旧</b>",
        "-f",
        "HAZARDS=腐蚀",
    )
    told(data, "withdraw", "88/SUBSTANCE-OLD", "--reason", "标签作废")
    with Served(data) as served:
        yield served


def browse(url, *words, profile):
    return subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--virtual-time-budget=3000", *words, url],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip


def test_the_page_shows_what_a_worker_needs_without_scripts(node, tmp_path):
    seen = browse(f"{node.url}/id/88/SUBSTANCE-ACID", "--dump-dom", profile=tmp_path / "p").stdout.decode()
    for wanted in ("硫酸", "立即用大量清水冲洗", "7664-93-9", "1830"):
        assert wanted in seen
    assert "<script" not in seen
    assert not re.search(r'(src|href)="https?://(?!127\.0\.0\.1)', seen), "nothing is fetched from elsewhere"


def test_a_withdrawn_object_still_shows_its_hazards_under_a_banner(node, tmp_path):
    seen = browse(f"{node.url}/id/88/SUBSTANCE-OLD", "--dump-dom", profile=tmp_path / "p").stdout.decode()
    assert "标签作废" in seen
    assert "腐蚀" in seen
    assert "<b>旧" not in seen, "values are text, never markup"


def test_the_page_fits_a_phone(node, tmp_path):
    picture = tmp_path / "page.png"
    browse(
        f"{node.url}/id/88/SUBSTANCE-ACID",
        "--window-size=390,844",
        f"--screenshot={picture}",
        profile=tmp_path / "p",
    )
    width, height = struct.unpack(">II", picture.read_bytes()[16:24])
    assert (width, height) == (390, 844)
