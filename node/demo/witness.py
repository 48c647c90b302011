"""An answer checked from outside: the chain and the record's signature, down from the root that a node has pinned."""

from pathlib import Path
from typing import Any

from node.cli.base import at_node
from registry.identifier import Identifier
from registry.trust.chain import verify_chain
from registry.trust.record_signature import verify_record
from resolver.servicer_messages import answer_from_message

__all__ = ["verified"]


def verified(folder: Path, reply: Any) -> list[str]:
    """Verify an answer with the anchor of the node in `folder`; return the prefixes of its chain, leaf first.

    Raises:
        UntrustedError: something does not hold.
        UnavailableError: the node has pinned no anchor yet.
    """
    answer = answer_from_message(reply)
    with at_node(folder) as node:
        anchor, now = node.prefixes.anchor(), node.clock.now()
    if answer.record is None or answer.proof is None or anchor is None:
        return []
    chain = verify_chain(answer.proof.chain, anchor=anchor, now=now)
    verify_record(
        public_jws=answer.proof.public_jws,
        restricted_jws=answer.proof.restricted_jws,
        shown=answer.record.values,
        chain=chain,
        identifier=Identifier.parse(answer.asked),
        now=now,
    )
    return [statement.subject.key for statement in chain.statements]
