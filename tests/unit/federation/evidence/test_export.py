"""From the books of a sender and of a receiver to a file that holds without either."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from federation.evidence.bundle import SignedList
from federation.evidence.export import Exporter
from federation.evidence.verifier import verify
from registry.errors import MalformedError, NotFoundError, UntrustedError
from registry.identifier import Prefix
from registry.trust.encoding import b64u
from registry.trust.revocation import Reason, Revoked, issue_revocation
from tests.bench._exchange import AUD, ISS, a_tree
from tests.support.evidence_books import TOP, Both, Known, books
from tests.support.trust import DAY, a_signer


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    with books(tmp_path) as made:
        yield made


def test_fault_22_either_side_makes_a_file_that_holds_alone(both: Both) -> None:
    for exporter in (both.at_sender, both.at_receiver):
        made = exporter.export(both.envs[2])

        found = verify(made.data, both.tree.root.fingerprint)
        assert found.holds, found.text("en")
        assert found == made.finding
        assert (found.facts["sender"], found.facts["receiver"], found.facts["seq"]) == (ISS.key, AUD.key, 3)
        assert found.facts["log"]["origin"] == f"{AUD.key}/log1"
        assert [one["prefix"] for one in found.facts["log"]["witnesses"]] == [TOP]


def test_the_first_envelope_brings_its_chain_and_the_others_name_it(both: Both) -> None:
    assert all(both.at_sender.export(env).finding.holds for env in both.envs)


def test_the_newest_revocation_lists_go_along(both: Both) -> None:
    token = issue_revocation(
        a_signer(AUD.key),
        issuer=AUD,
        ver=2,
        iat=both.now,
        exp=both.now + DAY,
        revoked=[Revoked(a_signer("another").kid, both.now, Reason.COMPROMISE)],
    )
    both.known.revoked[AUD.key] = SignedList(token, both.tree.tokens_of(AUD.key))

    found = both.at_receiver.export(both.envs[0]).finding

    assert [code for code, _ in found.notices] == ["list"]


def test_what_the_verifier_refuses_is_not_given_out(both: Both) -> None:
    token = issue_revocation(
        a_signer(AUD.key),
        issuer=AUD,
        ver=2,
        iat=both.now,
        exp=both.now + DAY,
        revoked=[Revoked(a_signer(ISS.key).kid, both.now - 600, Reason.COMPROMISE)],
    )
    both.known.revoked[AUD.key] = SignedList(token, both.tree.tokens_of(AUD.key))

    with pytest.raises(UntrustedError) as refused:
        both.at_receiver.export(both.envs[0])

    assert "revoked" in str(refused.value.message("en"))


def test_what_was_never_sent_or_received_is_not_found(both: Both) -> None:
    with pytest.raises(NotFoundError):
        both.at_sender.export(b64u(bytes(32)))
    for text in ("", "short", "!" * 43):
        with pytest.raises(MalformedError):
            both.at_sender.export(text)


def test_without_any_chain_nothing_is_proved(both: Both) -> None:
    empty = Exporter(database=both.at_receiver._database, vouchers=_Nobody())

    with pytest.raises(NotFoundError):
        empty.export(both.envs[0])


class _Nobody(Known):
    def __init__(self) -> None:
        super().__init__(a_tree(int(time.time())))

    def chains(self, prefix: Prefix) -> list[tuple[str, ...]]:
        return []
