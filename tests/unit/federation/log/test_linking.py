"""The first leaf of a log that follows one that could not go on."""

import base64
import hashlib

import pytest

from federation.log.leaf import Leaf
from federation.log.linking import link_digest, link_leaf
from federation.log.merkle import EMPTY_ROOT
from registry.trust.encoding import b64u

ROOT = bytes(range(32))


def test_the_digest_is_that_of_the_five_lines_the_documents_name():
    lines = f"hazlink/log-link/v1\n88.107/log1\n17\n{base64.b64encode(ROOT).decode()}\n88.107/log2\n"
    assert link_digest("88.107/log1", 17, ROOT, "88.107/log2") == b64u(
        hashlib.sha256(lines.encode()).digest()
    )


@pytest.mark.parametrize(
    "other",
    [
        ("88.108/log1", 17, ROOT, "88.107/log2"),
        ("88.107/log1", 18, ROOT, "88.107/log2"),
        ("88.107/log1", 17, EMPTY_ROOT, "88.107/log2"),
        ("88.107/log1", 17, ROOT, "88.107/log3"),
    ],
)
def test_another_log_size_root_or_follower_is_another_link(other):
    assert link_digest(*other) != link_digest("88.107/log1", 17, ROOT, "88.107/log2")


def test_the_leaf_names_the_end_of_the_old_log_and_reads_back():
    leaf = Leaf.decode(link_leaf("88.107/log1", 17, ROOT, "88.107/log2", 1_790_000_000))
    assert (leaf.kind, leaf.seq, leaf.at) == ("key", 17, 1_790_000_000)
    assert leaf.iss == leaf.aud == "0.NA/88.107"
    assert leaf.env == link_digest("88.107/log1", 17, ROOT, "88.107/log2")
