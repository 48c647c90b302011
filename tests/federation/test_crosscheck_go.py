"""The log's formats against implementations that nobody here wrote: those of the Go project for its own log.

Both directions everywhere: what is made here is read there, what is made there is read here, and what is wrong is
wrong to both. The cosignature with a time (type 04) is not in the package of signed notes; for it the program builds
the message from its specification and uses nothing but Go's Ed25519.
"""

import hashlib
from base64 import b64decode
from random import Random

import pytest

from federation.evidence import verifier
from federation.log.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from federation.log.merkle import (
    CompactRange,
    consistency,
    inclusion,
    leaf_hash,
    root,
    root_at,
    verify_consistency,
    verify_inclusion,
)
from federation.log.note import (
    COSIGNATURE,
    Note,
    NoteSignature,
    cosign,
    key_of,
    open_note,
    parse_note,
    parse_vkey,
    sign_note,
)
from federation.log.proof import TlogProof
from federation.log.tiles import WIDTH, TileHashes, TileName, name_of, parse_name, tile_widths, width_at
from registry.errors import HazlinkError, MalformedError, UntrustedError
from tests.support.go_reference import a_reference, as_bytes
from tests.support.log import (
    LOG_KEY,
    LOG_SIGNER,
    ORIGIN,
    WITNESS,
    WITNESS_KEY,
    WITNESS_SIGNER,
    ListHashes,
    a_log,
    a_log_signer,
    real_leaves,
)
from tests.support.trust import NOW

NAMES = ["node.example/log1", "88.107/log1", "危化品/日志1", "a"]
TEXTS = [
    "one line\n",
    "\n",
    "blank\n\nlines\n\ninside\n",
    "中文 — 破折号\n— looks like a line AAAA\n",
    "x" * 5_000 + "\n",
]
LARGE = 65_537


@pytest.fixture(scope="module")
def go(tmp_path_factory):
    """The running reference."""
    with a_reference(tmp_path_factory.mktemp("go")) as reference:
        yield reference


def _seed(word):
    return hashlib.sha256(word.encode()).digest()


def _leaves(random, count):
    """Entries of any bytes and of any length, the empty one too."""
    return [random.randbytes(random.choice([0, 1, 32, 64, 300])) for _ in range(count)]


# --- signed notes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_fault_21_the_reference_makes_the_same_verifier_key_of_the_same_secret(go, name):
    ours = key_of(name, a_log_signer(name))
    theirs = go("make_key", name=name, seed=_seed(name))["vkey"]
    assert ours.vkey == theirs == go("write_vkey", name=name, public=ours.public)["vkey"]
    assert parse_vkey(theirs) == ours
    assert go("read_vkey", vkey=ours.vkey) | {"size": 0} == {"name": name, "key_id": ours.id.hex(), "size": 0}
    for wrong in (
        f"x{ours.vkey}",
        ours.vkey.replace(ours.id.hex(), "00000000"),
        ours.vkey[:-4],
        f"a b{ours.vkey}",
    ):
        assert go.refuses("read_vkey", vkey=wrong)
        with pytest.raises(HazlinkError):
            parse_vkey(wrong)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", TEXTS)
def test_fault_21_the_reference_opens_our_notes_and_we_open_its(go, name, text):
    signer = a_log_signer(name)
    key = key_of(name, signer)
    ours = Note(text, (sign_note(text, name, signer),)).encode()
    told = go("open_note", note=ours, vkeys=[key.vkey])
    assert (told["text"], told["verified"]) == (text, [name])
    made = go("sign_note", text=text, signers=[go("make_key", name=name, seed=_seed(name))["signer"]])
    # Ed25519 leaves nothing to chance, so even the bytes are the same
    assert b64decode(made["note"]) == ours
    assert open_note(b64decode(made["note"]), [key])[0].text == text


def test_fault_21_both_leave_strangers_aside_and_believe_nobody_they_do_not_know(go):
    known, stranger = (go("make_key", name=name, seed=_seed(name)) for name in ("known/log1", "stranger/w1"))
    text = "88.107/log1\n5\nGqaNMHSQWlgfhMu9D3U3lJBP2ARRvEwT5p2aU7xZUCw=\n"
    raw = b64decode(go("sign_note", text=text, signers=[stranger["signer"], known["signer"]])["note"])
    # a witness's line of a type the reference has never heard of, and one of a type nobody has
    odd = NoteSignature("future.example/w1", b"\x01\x02\x03\x04", b"\xff" * 2_420)
    raw = parse_note(raw).plus([cosign(text, WITNESS, WITNESS_SIGNER, NOW), odd]).encode()
    told = go("open_note", note=raw, vkeys=[known["vkey"]])
    assert told["verified"] == ["known/log1"]
    assert told["strangers"] == ["stranger/w1", WITNESS, "future.example/w1"]
    note, held = open_note(raw, [parse_vkey(known["vkey"])])
    assert (note.text, [seen.key.name for seen in held]) == (text, ["known/log1"])
    # the same name with another key, and the same key under another name
    for name, word in (("known/log1", "another"), ("known/log2", "known/log1")):
        other = go("make_key", name=name, seed=_seed(word))["vkey"]
        assert go.refuses("open_note", note=raw, vkeys=[other])
        with pytest.raises(UntrustedError):
            open_note(raw, [parse_vkey(other)])


def test_fault_21_no_changed_byte_that_the_reference_refuses_passes_here(go):
    made = go("make_key", name=ORIGIN, seed=_seed("changed"))
    stranger = go("make_key", name="stranger/w1", seed=_seed("stranger"))
    text = "node.example/log1\n5\nGqaNMHSQWlgfhMu9D3U3lJBP2ARRvEwT5p2aU7xZUCw=\n"
    raw = b64decode(go("sign_note", text=text, signers=[made["signer"], stranger["signer"]])["note"])
    key, taken, random = parse_vkey(made["vkey"]), 0, Random(21)
    for place in range(len(raw)):
        for changed in {
            raw[place] ^ 1 << random.randrange(8),
            raw[place] ^ random.randrange(1, 256),
            0x0A,
            0x20,
        }:
            wrong = raw[:place] + bytes([changed]) + raw[place + 1 :]
            if wrong == raw:
                continue
            try:
                note, _ = open_note(wrong, [key])
            except HazlinkError:
                # the reference may be more lenient, never about the text that was signed
                if not go.refuses("open_note", note=wrong, vkeys=[made["vkey"]]):
                    assert go("open_note", note=wrong, vkeys=[made["vkey"]])["text"] == text
                continue
            taken += 1
            assert go("open_note", note=wrong, vkeys=[made["vkey"]])["text"] == note.text == text
    # bytes of the stranger's line may change, and nothing but those
    assert 0 < taken < 4 * len(raw.split(b"\n")[-2])


@pytest.mark.parametrize(
    "kind", ["none at all", "no last line feed", "no empty line", "tab", "not UTF-8", "hyphen"]
)
def test_fault_21_what_is_no_note_to_the_reference_is_none_here(go, kind):
    made = go("make_key", name=ORIGIN, seed=_seed("shape"))
    raw = b64decode(go("sign_note", text="a text\nof two lines\n", signers=[made["signer"]])["note"])
    wrong = {
        "none at all": b"",
        "no last line feed": raw[:-1],
        "no empty line": raw.replace(b"\n\n", b"\n"),
        "tab": raw.replace(b"a text", b"a\ttext"),
        "not UTF-8": raw.replace(b"a text", b"a t\xffxt"),
        "hyphen": raw.replace("— ".encode(), b"- "),
    }[kind]
    assert go.refuses("open_note", note=wrong, vkeys=[made["vkey"]])
    with pytest.raises(HazlinkError):
        open_note(wrong, [parse_vkey(made["vkey"])])


def test_fault_21_where_the_two_differ_the_stricter_one_is_ours(go):
    made = go("make_key", name=ORIGIN, seed=_seed("strict"))
    sign = {"signers": [made["signer"]]}
    raw = b64decode(go("sign_note", text="a text\n", **sign)["note"])
    line = raw.split(b"\n")[-2] + b"\n"
    spelling = raw.rstrip(b"=\n")
    lenient = {
        # two unused bits of the last sign, a character that control characters are refused with, a second line
        "bits": spelling[:-1] + bytes([spelling[-1] + 1]) + b"=\n",
        "DEL": b64decode(go("sign_note", text="a \x7ftext\n", **sign)["note"]),
        "line": raw + line.replace(line[-20:-10], b"A" * 10),
    }
    for wrong in lenient.values():
        assert go("open_note", note=wrong, vkeys=[made["vkey"]])["verified"] == [ORIGIN]
        with pytest.raises(HazlinkError):
            open_note(wrong, [parse_vkey(made["vkey"])])


def test_fault_21_a_cosignature_made_here_holds_in_go_and_one_made_there_holds_here(go):
    text = Checkpoint(ORIGIN, 5, bytes(range(32))).text()
    line = cosign(text, WITNESS, WITNESS_SIGNER, NOW)
    given = {"name": WITNESS, "public": WITNESS_KEY.public, "text": text, "raw": line.id + line.raw}
    assert go("check_cosignature", **given)["time"] == NOW
    for wrong in (
        {"text": text.replace("5", "6")}, {"name": f"{WITNESS}2"}, {"public": LOG_KEY.public}, {"raw": line.raw},
        {"raw": line.id + (NOW + 1).to_bytes(8, "big") + line.raw[8:]},
    ):  # fmt: skip
        assert go.refuses("check_cosignature", **given | wrong)
    made = go("cosign", name="there/w1", seed=_seed("there/w1"), text=text, time=NOW)
    key = parse_vkey(made["vkey"])
    assert key == key_of("there/w1", a_log_signer("there/w1"), kind=COSIGNATURE)
    raw = b64decode(made["raw"])
    note = sign_checkpoint(Checkpoint.parse(text), LOG_SIGNER).plus(
        [NoteSignature("there/w1", raw[:4], raw[4:])]
    )
    assert open_checkpoint(note.encode(), LOG_KEY, [key]).witnessed_at == NOW
    # a log's own signature is none of a witness, although the key is the same
    with pytest.raises(UntrustedError):
        open_note(note, [key_of("there/w1", a_log_signer("there/w1"))])


# --- the body of a checkpoint --------------------------------------------------------------------------------------

_HEADING = "go.sum database tree\n"


def test_fault_21_size_and_root_of_a_checkpoint_are_spelt_as_the_reference_spells_them(go):
    # its heading stands where ours has the origin; the two lines below are the same
    random = Random(3)
    for size in (0, 1, 9, 10, 65_537, 2**53 - 1, *(random.randrange(2**40) for _ in range(20))):
        digest = random.randbytes(32)
        ours = Checkpoint(ORIGIN, size, digest).text()
        theirs = go("write_tree", size=size, root=digest)["text"]
        assert theirs == ours.replace(f"{ORIGIN}\n", _HEADING)
        told = go("read_tree", text=ours.replace(f"{ORIGIN}\n", _HEADING))
        assert (told["size"], b64decode(told["root"])) == (size, digest)
        assert Checkpoint.parse(theirs.replace(_HEADING, f"{ORIGIN}\n")) == Checkpoint(ORIGIN, size, digest)


@pytest.mark.parametrize("size", ["", "05", "+5", "-1", "5 ", "0x5", "٥", "5.0", "1e3", str(2**63)])
def test_fault_21_another_spelling_of_a_size_is_none_to_both(go, size):
    below = f"{size}\nGqaNMHSQWlgfhMu9D3U3lJBP2ARRvEwT5p2aU7xZUCw=\n"
    assert go.refuses("read_tree", text=_HEADING + below)
    with pytest.raises(MalformedError):
        Checkpoint.parse(f"{ORIGIN}\n{below}")


# --- the tree ------------------------------------------------------------------------------------------------------


def test_fault_21_every_tree_up_to_300_leaves_has_the_same_root(go):
    leaves = _leaves(Random(1), 300)
    hashes = [leaf_hash(leaf) for leaf in leaves]
    assert go("grow", leaves=leaves)["size"] == len(leaves)
    theirs = as_bytes(go("roots", sizes=list(range(1, 301)))["hashes"])
    growing = CompactRange()
    for size, expected in enumerate(theirs, start=1):
        growing.add(hashes[size - 1])
        assert root(hashes[:size]) == root_at(ListHashes(hashes), size) == growing.root() == expected


def _claims(shown):
    return [
        {"size": size, "root": top, "place": place, "hash": one, "proof": proof}
        for size, top, place, one, proof in shown
    ]


def _wrong(random, shown):
    """The claim with one thing about it changed."""
    size, top, place, one, proof = shown
    shuffled = random.sample(proof, len(proof))
    return random.choice(
        [
            (size, random.randbytes(32), place, one, proof),
            (size, top, place, random.randbytes(32), proof),
            (size, top, place + random.choice([-1, 1]), one, proof),
            (size + random.choice([-1, 1]), top, place, one, proof),
            (size, top, place, one, [*proof, random.randbytes(32)]),
            (size, top, place, one, proof[:-1]),
            (size, top, place, one, shuffled),
        ]
    )


@pytest.mark.parametrize("seed", range(4))
def test_fault_21_inclusion_proofs_hold_in_both_directions(go, seed):
    random = Random(seed)
    leaves = _leaves(random, random.randrange(1, 301))
    hashes = [leaf_hash(leaf) for leaf in leaves]
    known = ListHashes(hashes)
    go("grow", leaves=leaves)
    sizes = [random.randrange(1, len(leaves) + 1) for _ in range(30)]
    pairs = [(len(leaves), place) for place in range(len(leaves))]
    pairs += [(size, random.randrange(size)) for size in sizes]
    theirs = [as_bytes(proof) for proof in go("prove_leaves", pairs=pairs)["proofs"]]
    assert theirs == [inclusion(known, place, size) for size, place in pairs]
    tops = {size: root(hashes[:size]) for size, _ in pairs}
    shown = [
        (size, tops[size], place, hashes[place], proof)
        for (size, place), proof in zip(pairs, theirs, strict=True)
    ]
    wrong = [_wrong(random, one) for one in shown]
    _agree_on_leaves(go, shown)
    assert all(go("check_leaves", claims=_claims(shown))["held"])
    # a proof of one hash may come out of the shuffle as it went in
    assert sum(_agree_on_leaves(go, wrong)) < len(wrong) / 2


def _agree_on_leaves(go, shown):
    """What the reference, the log's own code and the stand-alone verifier each say; the same, that is."""
    ours = [verify_inclusion(one, place, size, proof, top) for size, top, place, one, proof in shown]
    alone = [verifier.check_inclusion(one, place, size, proof, top) for size, top, place, one, proof in shown]
    assert go("check_leaves", claims=_claims(shown))["held"] == ours == alone
    return ours


@pytest.mark.parametrize("seed", range(4))
def test_fault_21_consistency_proofs_hold_in_both_directions(go, seed):
    random = Random(100 + seed)
    leaves = _leaves(random, random.randrange(2, 301))
    hashes = [leaf_hash(leaf) for leaf in leaves]
    known = ListHashes(hashes)
    go("grow", leaves=leaves)
    pairs = [(len(leaves), old) for old in range(1, len(leaves) + 1)]
    pairs += [
        (size, random.randrange(1, size + 1))
        for size in (random.randrange(1, len(leaves) + 1) for _ in range(30))
    ]
    theirs = [as_bytes(proof) for proof in go("prove_trees", pairs=pairs)["proofs"]]
    assert theirs == [consistency(known, old, size) for size, old in pairs]
    tops = {size: root(hashes[:size]) for pair in pairs for size in pair}
    shown = [
        (size, tops[size], old, tops[old], proof) for (size, old), proof in zip(pairs, theirs, strict=True)
    ]
    assert all(_agree_on_trees(go, shown))
    assert sum(_agree_on_trees(go, [_wrong(random, one) for one in shown])) < len(shown) / 2
    # nothing follows from the empty tree, to either
    assert not any(_agree_on_trees(go, [(size, top, 0, root([]), []) for size, top, *_ in shown]))


def _agree_on_trees(go, shown):
    ours = [verify_consistency(old, before, size, top, proof) for size, top, old, before, proof in shown]
    assert go("check_trees", claims=_claims(shown))["held"] == ours
    return ours


def test_fault_21_a_tree_of_65537_leaves_and_its_tiles_are_the_same(go):
    random = Random(5)
    leaves = [number.to_bytes(3, "big") for number in range(LARGE)]
    hashes = [leaf_hash(leaf) for leaf in leaves]
    go("grow", leaves=leaves)
    sizes = [LARGE, LARGE - 1, 256, 257, *(random.randrange(1, LARGE) for _ in range(5))]
    theirs = dict(zip(sizes, as_bytes(go("roots", sizes=sizes)["hashes"]), strict=True))
    assert theirs == {size: root(hashes[:size]) for size in sizes}
    # their tiles, our proofs
    tiles = {(one["level"], one["number"]): b64decode(one["data"]) for one in _tiles(go, 0, LARGE)}
    read = TileHashes(lambda wanted: [tiles[one] for one in wanted])
    assert root_at(read, LARGE) == theirs[LARGE]
    places = [0, 1, 255, 256, LARGE - 1, LARGE - 2, *(random.randrange(LARGE) for _ in range(50))]
    pairs = [(size, place % size) for size in sizes for place in places]
    proofs = [as_bytes(proof) for proof in go("prove_leaves", pairs=pairs)["proofs"]]
    assert proofs == [inclusion(read, place, size) for size, place in pairs]
    shown = [
        (size, theirs[size], place, hashes[place], proof)
        for (size, place), proof in zip(pairs, proofs, strict=True)
    ]
    assert all(_agree_on_leaves(go, shown))
    older = [(LARGE, size) for size in sizes]
    proofs = [as_bytes(proof) for proof in go("prove_trees", pairs=older)["proofs"]]
    assert proofs == [consistency(read, old, size) for size, old in older]
    assert all(
        _agree_on_trees(
            go,
            [
                (LARGE, theirs[LARGE], old, theirs[old], proof)
                for (_, old), proof in zip(older, proofs, strict=True)
            ],
        )
    )


# --- tiles ---------------------------------------------------------------------------------------------------------

#: What the reference puts before the path of a tile of our height; C2SP's tlog-tiles has no height in it.
_PREFIX = "tile/8/"


def _tiles(go, old, size):
    """The tiles of the tree grown last that are new at `size` leaves: the widest of each, as a server stores them."""
    widest = {}
    for one in go("tiles", old=old, size=size).get("tiles", ()):
        place = one["level"], one["number"]
        # the reference names every width there was on the way, and the width that was there before
        if one["width"] > max(width_at(old, *place), widest.get(place, {"width": 0})["width"]):
            widest[place] = one
    return list(widest.values())


def test_fault_21_tiles_have_the_names_of_the_reference(go):
    random = Random(6)
    numbers = [
        0,
        1,
        999,
        1_000,
        1_234_067,
        10**17,
        *(random.randrange(10 ** random.randrange(1, 17)) for _ in range(60)),
    ]
    for number in numbers:
        made = TileName(number, random.choice([1, 255, WIDTH, random.randrange(1, WIDTH + 1)]))
        level = random.randrange(8)
        theirs = go("write_path", tile={"level": level, "number": number, "width": made.width})["tile"][
            "path"
        ]
        assert theirs == f"{_PREFIX}{level}/{name_of(made)}"
        assert parse_name(theirs.removeprefix(f"{_PREFIX}{level}/")) == made
        told = go("read_path", path=theirs)["tile"]
        assert (told.get("level", 0), told.get("number", 0), told["width"]) == (level, number, made.width)


@pytest.mark.parametrize(
    "path",
    [
        "0", "00", "0000", "x000/000", "x1/000", "x001", "001/000", "000.p/0", "000.p/256", "000.p/01", "000.p/",
        "000/", "x001//000", "-01", "٠٠٠", " 000", "000\n", "../000", "x001/x000",
    ],
)  # fmt: skip
def test_fault_21_another_spelling_of_a_tile_is_none_to_both(go, path):
    assert go.refuses("read_path", path=f"{_PREFIX}0/{path}")
    with pytest.raises(MalformedError):
        parse_name(path)


@pytest.mark.parametrize(
    ("old", "size"), [(0, 1), (0, 300), (1, 2), (255, 256), (256, 257), (300, 1_100), (0, 513)]
)
def test_fault_21_a_growing_tree_has_the_tiles_of_the_reference(go, old, size):
    leaves = _leaves(Random(size), size)
    hashes = [leaf_hash(leaf) for leaf in leaves]
    go("grow", leaves=leaves)
    theirs = {
        (one["level"], one["number"], one["width"]): b64decode(one["data"]) for one in _tiles(go, old, size)
    }
    assert set(theirs) == set(tile_widths(old, size))
    known = ListHashes(hashes)
    for (level, number, width), data in theirs.items():
        nodes = [(8 * level, number * WIDTH + place) for place in range(width)]
        assert b"".join(known.read(nodes)) == data


# --- a real log ----------------------------------------------------------------------------------------------------


@pytest.fixture
def log(sqlite_database):
    """A log that grew in five steps and published at each, with a witness's line under the last."""
    leaves = real_leaves(1_100)
    made = a_log(sqlite_database, leaves[:1])
    notes = [made.reader.checkpoint().note]
    for first, end in ((1, 7), (7, 256), (256, 300), (300, 1_100)):
        made.append(leaves[first:end])
        made.publish()
        notes.append(made.reader.checkpoint().note)
    return made, leaves, notes


def test_fault_21_the_reference_reads_the_checkpoints_and_entries_of_a_real_log(go, log):
    made, leaves, notes = log
    published = [open_checkpoint(note, made.key).checkpoint for note in notes]
    assert [checkpoint.size for checkpoint in published] == [1, 7, 256, 300, 1_100]
    bundles = [
        made.reader.entries(number, width) for level, number, width in tile_widths(0, 1_100) if level == 0
    ]
    told = go("read_entries", bundles=bundles)
    assert as_bytes(told["leaves"]) == leaves
    roots = as_bytes(go("roots", sizes=[checkpoint.size for checkpoint in published])["hashes"])
    for note, checkpoint, expected in zip(notes, published, roots, strict=True):
        text = go("open_note", note=note, vkeys=[made.key.vkey])["text"]
        assert text == checkpoint.text()
        read = go("read_tree", text=text.replace(f"{made.origin}\n", _HEADING))
        assert (read["size"], b64decode(read["root"])) == (checkpoint.size, expected)
    assert go.refuses("read_entries", bundles=[bundles[0][:-1]])


def test_fault_21_the_reference_follows_a_real_log_by_its_tiles_alone(go, log):
    made, leaves, notes = log
    newest = open_checkpoint(notes[-1], made.key).checkpoint
    served = {
        f"{_PREFIX}{level}/{name_of(TileName(number, width))}": made.reader.tile(level, number, width)
        for level, number, width in tile_widths(0, newest.size)
    }
    assert len(served) == 6
    places, sizes = [0, 255, 256, 700, 1_099], [1, 7, 256, 300]
    given = {"size": newest.size, "root": newest.root, "places": places, "sizes": sizes}
    told = go("follow", tiles=served, **given)
    hashes = as_bytes(told["hashes"])
    assert hashes[: len(places)] == [leaf_hash(leaves[place]) for place in places]
    assert hashes[len(places) :] == [open_checkpoint(note, made.key).checkpoint.root for note in notes[:-1]]
    proofs = [as_bytes(proof) for proof in told["proofs"]]
    proven = made.reader.proofs(places).proofs
    assert proofs[: len(places)] == [list(proven[place]) for place in places]
    assert proofs[len(places) :] == [list(made.reader.consistency(size, newest.size)) for size in sizes]
    for path, data in served.items():
        changed = bytes([data[0] ^ 1]) + data[1:]
        assert go.refuses(
            "follow", tiles=served | {path: changed}, **given | {"places": _under(path, newest.size)}
        )


def _under(path, size):
    """A leaf that lies under the first hash of a tile."""
    level, _, name = path.removeprefix(_PREFIX).partition("/")
    return [min(parse_name(name).number * WIDTH ** (1 + int(level)), size - 1)]


def test_fault_21_a_proof_file_of_a_real_log_convinces_the_reference(go, log):
    made, leaves, notes = log
    for place in (0, 299, 1_099):
        proof = TlogProof.parse(made.reader.proof(place).encode())
        told = open_checkpoint(proof.checkpoint, made.key).checkpoint
        assert go("open_note", note=proof.checkpoint, vkeys=[made.key.vkey])["text"] == told.text()
        claim = (told.size, told.root, place, leaf_hash(leaves[place]), list(proof.hashes))
        assert _agree_on_leaves(go, [claim, (*claim[:2], place ^ 1, *claim[3:])]) == [True, False]
    assert notes
