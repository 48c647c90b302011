"""Roots and proofs against the published vectors, a word-by-word tree, and the independent verifier."""

import hashlib
from base64 import b64decode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from federation.evidence.verifier import check_inclusion
from federation.log.merkle import (
    EMPTY_ROOT,
    CompactRange,
    consistency,
    inclusion,
    leaf_hash,
    node_hash,
    root,
    root_at,
    verify_consistency,
    verify_inclusion,
)
from tests.support.log import ListHashes, entry_hashes, plain_root

#: RFC 6962's reference leaves and roots, as in the test data of the certificate logs.
RFC6962_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
RFC6962_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

EXAMPLE_PROOF = [
    b64decode(line)
    for line in (
        "J0ebarMh0u5HdFL2i6UndI6GPK/o+9HfK/idFXDRtpc=",
        "LyelCCwdQq+kiKw1Cp/EOQwIT1T3Hs3/hZ6Y24QptHk=",
        "GUu1otW9EOXRqm/V1CmAs1bK8dpiPNmYfEv6L4F3Htc=",
    )
]
ROOT_3 = bytes.fromhex("a64bf26e09128f6fe2fe6f8b2d8c801e166b57c047a7cd9b2b809e7a96a2f1cb")
ROOT_5 = b64decode("GqaNMHSQWlgfhMu9D3U3lJBP2ARRvEwT5p2aU7xZUCw=")

sizes = st.integers(1, 130)


def test_the_empty_tree_is_the_digest_of_nothing():
    assert root([]) == EMPTY_ROOT == hashlib.sha256(b"").digest()
    assert CompactRange().root() == root_at(ListHashes([]), 0) == EMPTY_ROOT


@pytest.mark.parametrize("size", range(1, 9))
def test_the_roots_of_rfc_6962_come_out(size):
    hashes = [leaf_hash(leaf) for leaf in RFC6962_LEAVES[:size]]
    assert root(hashes).hex() == RFC6962_ROOTS[size - 1]


def test_the_worked_example_of_the_specification_comes_out():
    hashes = entry_hashes(5)
    assert hashes[2].hex() == "049d7dcdb56bcfebd313304c9839f196a3d4b6ef3bdc0b08298f93ac8191f0a8"
    assert root(hashes[:3]) == ROOT_3
    assert root(hashes) == ROOT_5
    assert inclusion(ListHashes(hashes), 2, 5) == EXAMPLE_PROOF
    assert verify_inclusion(hashes[2], 2, 5, EXAMPLE_PROOF, ROOT_5)
    assert consistency(ListHashes(hashes), 3, 5) == [hashes[2], *EXAMPLE_PROOF]
    assert verify_consistency(3, ROOT_3, 5, ROOT_5, [hashes[2], *EXAMPLE_PROOF])


def test_the_proof_paths_of_rfc_6962_come_out():
    # RFC 6962 §2.1.3: the tree of seven leaves d0 … d6
    a, b, c, d, e, f, j = hashes = entry_hashes(7)
    g, h, i = node_hash(a, b), node_hash(c, d), node_hash(e, f)
    k = node_hash(g, h)
    tree = ListHashes(hashes)
    assert inclusion(tree, 0, 7) == [b, h, node_hash(i, j)]
    assert inclusion(tree, 3, 7) == [c, g, node_hash(i, j)]
    assert inclusion(tree, 4, 7) == [f, j, k]
    assert inclusion(tree, 6, 7) == [i, k]
    assert consistency(tree, 3, 7) == [c, d, g, node_hash(i, j)]
    assert consistency(tree, 4, 7) == [node_hash(i, j)]
    assert consistency(tree, 6, 7) == [i, j, k]


@given(sizes)
def test_every_way_to_the_root_gives_the_same(size):
    hashes = entry_hashes(size)
    right = plain_root(hashes)
    growing = CompactRange()
    for leaf in hashes:
        growing.add(leaf)
    assert root(hashes) == root_at(ListHashes(hashes), size) == growing.root() == right
    again = CompactRange(growing.size, growing.peaks)
    assert again.root() == right
    assert ListHashes(hashes).read(CompactRange.nodes(size)) == list(growing.peaks)


@given(sizes, st.data())
def test_an_inclusion_proof_holds_for_its_leaf_and_for_no_other(size, data):
    index = data.draw(st.integers(0, size - 1))
    hashes = entry_hashes(size)
    proof = inclusion(ListHashes(hashes), index, size)
    top = plain_root(hashes)
    assert verify_inclusion(hashes[index], index, size, proof, top)
    assert check_inclusion(hashes[index], index, size, proof, top)
    other = data.draw(st.integers(-1, size + 2))
    if other != index:
        assert not verify_inclusion(hashes[index], other, size, proof, top)
    assert not verify_inclusion(leaf_hash(b"other"), index, size, proof, top)
    assert not verify_inclusion(hashes[index], index, size, [*proof, hashes[0]], top)
    if proof:
        assert not verify_inclusion(hashes[index], index, size, proof[:-1], top)
        place = data.draw(st.integers(0, len(proof) - 1))
        bent = [bytes([step[0] ^ 1, *step[1:]]) if n == place else step for n, step in enumerate(proof)]
        assert not verify_inclusion(hashes[index], index, size, bent, top)
        cut = [step[:31] if n == place else step for n, step in enumerate(proof)]
        assert not verify_inclusion(hashes[index], index, size, cut, top)


@given(sizes, sizes, st.data())
def test_fault_05_a_consistency_proof_holds_for_its_trees_and_for_no_others(old, size, data):
    assume(old <= size)
    hashes = entry_hashes(size)
    proof = consistency(ListHashes(hashes), old, size)
    first, second = plain_root(hashes[:old]), plain_root(hashes)
    assert verify_consistency(old, first, size, second, proof)
    assert not verify_consistency(old, leaf_hash(b"x"), size, second, proof)
    assert not verify_consistency(old, first, size, leaf_hash(b"x"), proof)
    assert not verify_consistency(old, first, size, second, [*proof, first])
    if proof:
        assert not verify_consistency(old, first, size, second, proof[:-1])
        place = data.draw(st.integers(0, len(proof) - 1))
        bent = [bytes([step[0] ^ 1, *step[1:]]) if n == place else step for n, step in enumerate(proof)]
        assert not verify_consistency(old, first, size, second, bent)
        cut = [step[:31] if n == place else step for n, step in enumerate(proof)]
        assert not verify_consistency(old, first, size, second, cut)


@given(st.integers(2, 64), st.data())
def test_fault_05_no_tree_with_another_past_passes_for_a_later_one(size, data):
    hashes = entry_hashes(size)
    old = data.draw(st.integers(1, size - 1))
    changed = data.draw(st.integers(0, old - 1))
    forged = [leaf_hash(b"forged") if n == changed else leaf for n, leaf in enumerate(hashes)]
    proof = consistency(ListHashes(forged), old, size)
    assert not verify_consistency(old, plain_root(hashes[:old]), size, plain_root(forged), proof)


def test_fault_05_nothing_is_proven_from_the_empty_tree_or_backwards():
    hashes = entry_hashes(4)
    top = plain_root(hashes)
    assert not verify_consistency(0, EMPTY_ROOT, 4, top, [])
    assert not verify_consistency(0, EMPTY_ROOT, 4, top, [top])
    assert not verify_consistency(4, top, 3, plain_root(hashes[:3]), [])
    assert not verify_consistency(-1, top, 4, top, [])
    assert not verify_consistency(4, top, 4, plain_root(hashes[:3]), [])
    assert not verify_consistency(4, top, 4, top, [top])
    assert not verify_consistency(2, plain_root(hashes[:2]), 4, top, [])
    with pytest.raises(IndexError):
        consistency(ListHashes(hashes), 0, 4)
    with pytest.raises(IndexError):
        consistency(ListHashes(hashes), 5, 4)
    for index in (-1, 4):
        with pytest.raises(IndexError):
            inclusion(ListHashes(hashes), index, 4)
        assert not verify_inclusion(hashes[0], index, 4, [], top)


def test_a_compact_range_has_as_many_peaks_as_its_size_says():
    with pytest.raises(ValueError):
        CompactRange(3, [b"one"])
    with pytest.raises(ValueError):
        CompactRange(1, [b"one", b"two"])


def test_an_inclusion_proof_is_no_longer_than_its_tree_is_high():
    left, right = entry_hashes(2)
    top = node_hash(left, right)
    assert verify_inclusion(right, 1, 2, [left], top) is True
    assert verify_inclusion(right, 0, 1, [left], top) is False
    assert verify_inclusion(right, 2, 2, [left], top) is False


def test_hashes_of_another_length_prove_nothing():
    """Two neighbours of 31 and 33 bytes hash like two of 32."""
    left, right, third = entry_hashes(3)
    pair = node_hash(left, right)
    whole = node_hash(pair, third)
    for cut in (31, 33):
        one, other = (left + right)[:cut], (left + right)[cut:]
        assert verify_inclusion(other, 1, 2, [one], pair) is False
        assert verify_inclusion(one, 0, 2, [other], pair) is False
        assert verify_consistency(1, one, 2, pair, [other]) is False
        assert verify_consistency(1, one, 3, whole, [other, third]) is False
    assert verify_consistency(1, left, 3, whole, [right, third]) is True


def test_fault_05_a_consistency_proof_is_of_its_sizes_alone():
    hashes = entry_hashes(8)
    inner = consistency(ListHashes(hashes[4:]), 3, 4)
    beside = plain_root(hashes[:4])
    seven, eight = plain_root(hashes[:7]), plain_root(hashes)
    assert verify_consistency(7, seven, 8, eight, [*inner, beside]) is True
    # the same hashes, told as of the right halves alone
    assert verify_consistency(3, seven, 4, eight, [*inner, beside]) is False
    three, four = plain_root(hashes[:3]), plain_root(hashes[:4])
    proof = consistency(ListHashes(hashes), 3, 4)
    assert verify_consistency(3, three, 4, four, proof) is True
    assert verify_consistency(3, three, 8, four, proof) is False
    assert verify_consistency(3, three, 4, four, []) is False
    assert verify_consistency(4, four, 3, three, proof) is False


def test_every_short_inclusion_proof_holds_at_its_place_alone():
    for size in range(1, 10):
        hashes = entry_hashes(size)
        top = plain_root(hashes)
        for index in range(size):
            proof = inclusion(ListHashes(hashes), index, size)
            assert verify_inclusion(hashes[index], index, size, proof, top) is True
            assert verify_inclusion(hashes[index], index, size, proof, hashes[0][::-1]) is False
            for other, total in ((index - 1, size), (index + 1, size), (index, size + 1), (size, size)):
                assert verify_inclusion(hashes[index], other, total, proof, top) is (
                    (other, total) == (index, size) or same_path((index, size), (other, total))
                )


def same_path(one, other):
    """Whether two places have the same way to the root: a proof does not tell these apart, its tree head does."""

    def way(index, size):
        steps, last = [], size - 1
        while last:
            if index & 1 or index == last:
                steps.append("left")
                while not index & 1 and index:
                    index, last = index >> 1, last >> 1
            else:
                steps.append("right")
            index, last = index >> 1, last >> 1
        return steps

    return 0 <= other[0] < other[1] and way(*one) == way(*other)
