import pytest

from registry.errors import UntrustedError
from registry.trust.chain import chain_sha256
from registry.trust.encoding import from_b64u
from registry.trust.statement import StatementKey
from tests.support.exchange_nodes import Pen, a_desk
from tests.support.exchange_wire import PARK, TREE, WORKS
from tests.support.trust import DAY, NOW, a_chain, a_signer

TOKENS = TREE.tokens_of("88.107.1001")


def renewed(**changed):
    """The tree with another statement for some of its prefixes; dots are spelled as underscores."""
    return a_chain(
        "88",
        "88.107",
        "88.107.1001",
        changed={name.strip("_").replace("_", "."): change for name, change in changed.items()},
    )


@pytest.fixture
def park(sqlite_database):
    return a_desk(sqlite_database)


def test_a_chain_that_holds_is_kept_under_its_name_and_is_the_newest(database):
    park = a_desk(database)
    assert park.chains.newest(WORKS) is None
    assert not park.chains.knows(chain_sha256(TOKENS), WORKS)
    assert park.chains.take(WORKS, TOKENS).subject == WORKS
    assert park.chains.knows(chain_sha256(TOKENS), WORKS)
    again = a_desk(database)
    assert again.chains.knows(chain_sha256(TOKENS), WORKS)
    assert again.chains.newest(WORKS).sha256 == chain_sha256(TOKENS)
    with database.read():
        pass


def test_a_chain_about_somebody_else_is_refused(park):
    park.chains.take(WORKS, TOKENS)
    with pytest.raises(UntrustedError):
        park.chains.take(PARK, TOKENS)
    assert not park.chains.knows(chain_sha256(TOKENS), PARK)


def test_a_name_that_is_no_digest_is_known_to_nobody(park):
    assert not park.chains.knows("x", WORKS)
    assert not park.chains.knows("*" * 43, WORKS)


@pytest.mark.parametrize("tokens", [(), ("x",), TOKENS * 3])
def test_what_is_no_chain_is_refused(park, tokens):
    with pytest.raises((UntrustedError, IndexError)):
        park.chains.take(WORKS, tokens)


def test_fault_05_an_older_chain_is_kept_as_evidence_and_decides_nothing(park):
    new = renewed(_88_107_1001={"ver": 2})
    park.chains.take(WORKS, new.tokens_of("88.107.1001"))
    held = park.chains.take(WORKS, TOKENS)
    assert held.leaf.ver == 2
    assert park.chains.knows(chain_sha256(TOKENS), WORKS)
    assert park.chains.newest(WORKS).leaf.ver == 2


def test_fault_05_the_same_version_with_other_content_is_refused(park):
    park.chains.take(WORKS, TOKENS)
    other = renewed(_88_107_1001={"exp": NOW + 30 * DAY})
    held = park.chains.take(WORKS, other.tokens_of("88.107.1001"))
    assert held.sha256 == chain_sha256(TOKENS)


def test_a_sender_whose_superior_renewed_its_own_statement_is_not_refused(park):
    new = renewed(_88_107={"ver": 5})
    park.chains.take(PARK, new.tokens_of("88.107"))
    held = park.chains.take(WORKS, TOKENS)
    assert [statement.ver for statement in held.statements] == [1, 5, 1]


def test_rights_that_shrank_above_a_sender_are_shrunk_for_it_at_once(park):
    assert park.chains.take(WORKS, TOKENS).subject == WORKS
    shorter = renewed(_88_107={"ver": 5, "exp": NOW + DAY}, _88_107_1001={"exp": NOW + DAY})
    park.chains.take(PARK, shorter.tokens_of("88.107"))
    with pytest.raises(UntrustedError):
        park.chains.newest(WORKS)
    assert park.chains.take(WORKS, _above(shorter, 2)).leaf.ver == 2


def _above(tree, ver):
    return renewed(
        _88_107={"ver": 5, "exp": NOW + DAY}, _88_107_1001={"exp": NOW + DAY, "ver": ver}
    ).tokens_of("88.107.1001")


def test_what_this_node_delegated_itself_is_the_newest(park):
    park.chains.take(WORKS, TOKENS)
    mine = renewed(_88_107_1001={"ver": 3, "state": "suspended"})
    park.homes.delegated["88.107.1001"] = mine.tokens_of("88.107.1001")
    assert park.chains.newest(WORKS).leaf.state == "suspended"


def test_fault_06_envelopes_under_the_old_key_are_taken_in_while_it_is_in_the_newest_statement(park):
    pen = Pen()
    waiting = pen.many(20)
    both = (
        StatementKey.of(a_signer("88.107.1001"), nbf=NOW - 3600, exp=NOW + 3600),
        StatementKey.of(a_signer("next"), nbf=NOW - 60),
    )
    rotated = renewed(_88_107_1001={"ver": 2, "keys": both})
    # the new chain arrives with the session, before what waited
    park.inbound.introduce(WORKS, rotated.tokens_of("88.107.1001"))
    assert park.codes(park.take(pen, waiting)) == ["ok"] * 20
    pen.signer, pen.tree = a_signer("next"), rotated
    pen._introduced = False
    assert park.codes(park.take(pen, pen.many(3))) == ["ok"] * 3


def test_evidence_is_held_at_the_time_it_was_taken_in(park):
    late = park.chains.travelled(TOKENS, at=NOW)
    assert late.subject == WORKS
    park.clock.time += 200 * DAY
    assert park.chains.travelled(TOKENS, at=NOW).sha256 == chain_sha256(TOKENS)
    with pytest.raises(UntrustedError):
        park.chains.travelled(TOKENS, at=NOW + 150 * DAY)
    with pytest.raises(UntrustedError):
        park.chains.travelled((), at=NOW)


def test_a_kept_chain_stands_for_what_waited_even_when_it_has_expired(park):
    park.chains.take(WORKS, TOKENS)
    park.clock.time += 200 * DAY
    assert park.chains.stored(from_b64u(chain_sha256(TOKENS))).subject == WORKS
    assert park.chains.stored(bytes(32)) is None


def test_a_node_without_an_anchor_believes_nobody(park):
    park.chains._anchor = lambda: None
    with pytest.raises(UntrustedError):
        park.chains.take(WORKS, TOKENS)


def test_a_new_anchor_is_noticed_within_a_second_and_not_looked_up_for_every_token(park):
    asked = []
    anchor = park.chains._anchor()
    park.chains._anchor = lambda: asked.append(1) or anchor
    for _ in range(5):
        park.chains.travelled(TOKENS, at=NOW)
    assert len(asked) == 1
    park.clock.time += 1.5
    park.chains.travelled(TOKENS, at=NOW)
    assert len(asked) == 2
