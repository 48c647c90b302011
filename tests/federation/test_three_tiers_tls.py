"""Three real nodes whose every door speaks TLS with a self-signed certificate, pinned in invitation and delegation."""

import shutil
import ssl
import time
from contextlib import ExitStack

import grpc
import httpx
import pytest

from node.cli.base import at_node
from node.tls import make_self_signed
from proto import resolver_pb2 as pb
from proto import resolver_pb2_grpc
from registry.clock import SystemClock
from registry.errors import HazlinkError, UnavailableError, UntrustedError
from registry.identifier import Identifier
from registry.trust.chain import verify_chain
from registry.trust.record_signature import verify_record
from registry.trust.statement import read
from resolver.servicer_messages import answer_from_message
from tests.support.ports import free_ports
from tests.support.processes import Login, Served, an_init, here, joined, put, told, until

pytestmark = pytest.mark.slow

TIERS = ("88", "88.107", "88.107.1001")
NAMES = {"88": "88/DIRECTIVE-1", "88.107": "88.107/PARK-GATE", "88.107.1001": "88.107.1001/TANK-7"}


class Tiers:
    """The nodes and logins by prefix."""

    def __init__(self):
        self.nodes: dict[str, Served] = {}
        self.logins: dict[str, Login] = {}


@pytest.fixture(scope="module")
def tiers(tmp_path_factory):
    folder, base = tmp_path_factory.mktemp("tls"), free_ports(0, 1, 10, 11, 20, 21)
    made = Tiers()
    with ExitStack() as stack:
        for place, prefix in enumerate(TIERS):
            data = folder / prefix
            root = () if place else ("--root", "--prefix", prefix)
            said = told(data, *an_init(base + 10 * place, "--tls-self-signed", "127.0.0.1", *root))
            if place:
                parent = made.nodes[TIERS[place - 1]].data
                made.logins[prefix] = joined(parent, data, prefix)
            else:
                made.logins[prefix] = Login(said["admin"], said["secret"])
            made.nodes[prefix] = stack.enter_context(Served(data))
        for prefix, name in NAMES.items():
            answer = put(made.nodes[prefix].client, name, f"https://{prefix}.example", made.logins[prefix])
            assert answer.status_code == 201, answer.text
        yield made
        for node in made.nodes.values():
            assert node.stop() == 0


def test_the_invitation_carries_the_pin_of_the_certificate(tiers):
    from registry.prefixes.invitations import InvitationLetter

    park = tiers.nodes["88.107"]
    text = told(park.data, "invite", "88.107.1009")["invitation"]
    letter = InvitationLetter.from_text(text)
    with at_node(park.data) as node:
        pin = node.endpoints()["tls_x5t_s256"]
    assert pin
    assert letter.tls_sha256 == pin
    assert all(url.startswith("https://") for url in letter.urls)


@pytest.mark.parametrize("asked", TIERS)
@pytest.mark.parametrize("owner", TIERS)
def test_every_tier_resolves_every_other_by_both_doors_and_the_answer_verifies(tiers, asked, owner):
    node, name = tiers.nodes[asked], NAMES[owner]
    assert f"{owner}.example" in node.get(name).text
    reply = node.resolve(name, with_chain=True)
    assert reply.outcome == pb.OUTCOME_FOUND
    answer = answer_from_message(reply)
    with at_node(node.data) as opened:
        anchor, now = opened.prefixes.anchor(), opened.clock.now()
    chain = verify_chain(answer.proof.chain, anchor=anchor, now=now)
    verify_record(
        public_jws=answer.proof.public_jws,
        restricted_jws=answer.proof.restricted_jws,
        shown=answer.record.values,
        chain=chain,
        identifier=Identifier.parse(name),
        now=now,
    )
    assert [statement.subject.key for statement in chain.statements] == list(
        reversed(TIERS[: TIERS.index(owner) + 1])
    )
    for statement in chain.statements:
        assert statement.endpoints.tls_x5t_s256
        assert all(url.startswith("https://") for url in statement.endpoints.resolve)


def test_no_door_answers_without_tls_or_to_one_who_trusts_another_certificate(tiers):
    node, other = tiers.nodes["88.107.1001"], tiers.nodes["88"]
    with pytest.raises(httpx.TransportError):
        httpx.get(node.url.replace("https", "http") + "/health/live", trust_env=False)
    with pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
        httpx.get(
            node.url + "/health/live",
            verify=ssl.create_default_context(cafile=str(other.data / "tls" / "certificate.pem")),
            trust_env=False,
        )
    foreign = grpc.ssl_channel_credentials((other.data / "tls" / "certificate.pem").read_bytes())
    for channel in (grpc.insecure_channel(node.grpc), grpc.secure_channel(node.grpc, foreign)):
        with channel, pytest.raises(grpc.RpcError) as refused:
            _asked(channel, NAMES["88"])
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_swapped_certificate_is_refused_until_the_delegation_names_the_new_one(tiers):
    plant, top = tiers.nodes["88.107.1001"], tiers.nodes["88"]
    new = "88.107.1001/AFTER-THE-SWAP"
    _swap(plant)
    assert put(plant.client, new, "https://new.example", tiers.logins["88.107.1001"]).status_code == 201

    reply = top.resolve(new, with_chain=True)
    assert reply.outcome == pb.OUTCOME_FAILED
    assert "certificate" in reply.error.message_en
    assert "证书" in reply.error.message_zh
    refused = top.get(new)
    assert refused.status_code >= 500
    # what was resolved before is not asked from the stranger either: it is what it was
    known = top.resolve(NAMES["88.107.1001"], authoritative=True)
    assert known.outcome == pb.OUTCOME_FAILED or known.source == pb.SOURCE_STALE

    here(plant.data, "endpoints")
    # the tier above the owner has signed the new pin; since nobody holds the old one, it is asked again soon
    began = time.monotonic()
    until(
        lambda: top.resolve(new).outcome == pb.OUTCOME_FOUND,
        "the new certificate is known from the delegation",
        pause=0.5,
    )
    print(f"the new certificate was known {time.monotonic() - began:.1f} s after it was signed")
    pin = read(top.resolve(new, with_chain=True).proof.chain[0]).endpoints.tls_x5t_s256
    with at_node(plant.data) as node:
        assert pin == node.endpoints()["tls_x5t_s256"]


def test_nobody_joins_a_superior_whose_certificate_is_not_the_one_of_the_invitation(tiers, tmp_path):
    park = tiers.nodes["88.107"]
    letter = told(park.data, "invite", "88.107.1008")["invitation"]
    child = tmp_path / "child"
    told(child, *an_init(free_ports(0, 1), "--tls-self-signed", "127.0.0.1"))
    kept = park.data.parent / "park-tls"
    shutil.copytree(park.data / "tls", kept)
    _swap(park)
    with pytest.raises(HazlinkError) as refused:
        told(child, "join", letter)
    assert isinstance(refused.value, UntrustedError | UnavailableError)
    assert "certificate" in refused.value.message("en")
    assert told(child, "prefixes")["homed"] in ([], [_pending("88.107.1008", told(child, "prefixes"))])

    # the true certificate again: the same invitation still holds
    assert park.stop() == 0
    shutil.rmtree(park.data / "tls")
    kept.rename(park.data / "tls")
    park.start()
    assert told(child, "join", letter)["state"] == "pending"


def _asked(channel, identifier):
    stub = resolver_pb2_grpc.ResolverStub(channel)
    return stub.Resolve(pb.ResolveRequest(identifier=identifier), timeout=10)


def _pending(prefix, shown):
    return next(home for home in shown["homed"] if home["prefix"] == prefix and home["state"] != "active")


def _swap(node):
    """Give a node another certificate, as somebody who took its address would have."""
    assert node.stop() == 0
    shutil.rmtree(node.data / "tls")
    make_self_signed(node.data, names=["127.0.0.1"], now=SystemClock().now())
    node.start()
