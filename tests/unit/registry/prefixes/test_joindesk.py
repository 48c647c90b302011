"""Who may ask for a prefix, and what the operator may answer: the rows of the delegation matrix about joining."""

from base64 import urlsafe_b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.delegation import Contact, HomeState, Purpose
from registry.errors import (
    ConflictError,
    ExistsError,
    ForbiddenError,
    HazlinkError,
    InvalidValueError,
    LimitError,
    MalformedIdentifierError,
    NotFoundError,
    UnauthenticatedError,
    UntrustedError,
)
from registry.identifier import Prefix
from registry.prefixes.invitations import InvitationLetter
from registry.prefixes.issuing import Terms
from registry.prefixes.joindesk import DENIALS, Application, Standing
from registry.trust.possession import make_possession
from tests.support.prefixes import (
    DAY,
    MovedClock,
    TestNode,
    a_top,
    admin_of,
    ask,
    invited,
    joined,
    operator_of,
)
from tests.support.trust import a_signer

WHO = Contact(name="示例化工有限公司", contact="13000000000", note="测试")
WHERE = {"resolve": ["https://plant.example"]}
P = Prefix.parse


def an_application(
    node: TestNode, letter: InvitationLetter, prefix: str = "88.107", *, key: str = "guest", **changes: Any
) -> Application:
    """A request that holds; `changes` break it."""
    signer = a_signer(key)
    aud, sub = changes.pop("aud", letter.parent.key), changes.pop("sub", prefix)
    made = Application(
        secret=letter.secret,
        jwk={**signer.jwk, "alg": signer.alg},
        possession=make_possession(
            a_signer(changes.pop("signed_by", key)),
            audience=f"0.NA/{aud}",
            subject=f"0.NA/{sub}",
            nonce=changes.pop("nonce", None) or node.prefixes.challenge(),
            iat=changes.pop("iat", int(node.clock.now())),
        ),
        prefix=prefix,
        endpoints=WHERE,
        who=WHO,
    )
    return replace(made, **changes)


def test_a_request_that_holds_waits_for_the_operator(top: TestNode) -> None:
    letter = invited(top, "88.107", parent="88")
    standing = top.prefixes.submit(an_application(top, letter))
    assert standing.state == "pending"
    assert standing.chain == ()
    (waiting,) = top.prefixes.requests(operator_of("88"), P("88"))
    assert (waiting.prefix, waiting.who, waiting.kid) == (P("88.107"), WHO, a_signer("guest").kid)
    assert top.homes.delegation(P("88.107")) == ()


LOW_ORDER = [
    bytes([1]) + bytes(31),
    bytes(32),
    bytes.fromhex("ec" + "ff" * 30 + "7f"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
]


@pytest.mark.parametrize("raw", LOW_ORDER, ids=lambda raw: raw.hex()[:8])
def test_a_key_of_low_order_is_refused(top: TestNode, raw: bytes) -> None:
    letter = invited(top, "88.107", parent="88")
    x = urlsafe_b64encode(raw).rstrip(b"=").decode()
    application = an_application(top, letter, jwk={"kty": "OKP", "crv": "Ed25519", "x": x, "alg": "Ed25519"})
    with pytest.raises(UntrustedError) as refusal:
        top.prefixes.submit(application)
    assert refusal.value.code == "registry.trust.key_low_order"


@pytest.mark.parametrize(
    ("changes", "error", "code"),
    [
        ({"signed_by": "thief"}, UnauthenticatedError, "registry.trust.signature_kid"),
        ({"possession": "not.a.token"}, UnauthenticatedError, None),
        ({"aud": "89"}, UnauthenticatedError, None),
        ({"aud": "8"}, UnauthenticatedError, None),
        ({"sub": "88.108"}, UnauthenticatedError, None),
        ({"nonce": "A" * 43}, UnauthenticatedError, "registry.prefixes.nonce_stale"),
        ({"iat": 1_790_000_000 - DAY}, UnauthenticatedError, None),
        ({"secret": "guessed"}, UnauthenticatedError, "registry.prefixes.invitation_unknown"),
        (
            {"jwk": {"kty": "oct", "k": "AAAA", "alg": "HS256"}},
            UntrustedError,
            "registry.trust.alg_forbidden",
        ),
        ({"who": Contact(name="x" * 201)}, InvalidValueError, "registry.prefixes.long"),
        ({"endpoints": {"resolve": ["http://plant.example"]}}, InvalidValueError, "registry.prefixes.url"),
        (
            {"endpoints": {"resolve": ["https://u:p@plant.example"]}},
            InvalidValueError,
            "registry.prefixes.url",
        ),
        ({"endpoints": {"resolve": ["file:///etc/passwd"]}}, InvalidValueError, "registry.prefixes.url"),
        (
            {"endpoints": {"resolve": ["https://a.example"] * 9}},
            InvalidValueError,
            "registry.prefixes.urls_many",
        ),
    ],
)
def test_what_does_not_hold_is_refused_and_uses_nothing_up(
    top: TestNode, changes: dict[str, Any], error: type[HazlinkError], code: str | None
) -> None:
    letter = invited(top, "88.107", parent="88")
    with pytest.raises(error) as refusal:
        top.prefixes.submit(an_application(top, letter, **changes))
    assert code is None or refusal.value.code == code
    assert refusal.value.message("zh") != refusal.value.message("en")
    assert top.prefixes.requests(operator_of("88"), P("88")) == []
    assert top.prefixes.submit(an_application(top, letter)).state == "pending"


@pytest.mark.parametrize(
    "prefix", ["88.1.10", "88.10.1", "88.107.1", "89.1", "88", "8", "881.1", "88.1071.1"]
)
def test_only_a_prefix_directly_below_the_inviting_one_is_taken(top: TestNode, prefix: str) -> None:
    letter = invited(top, None, parent="88")
    with pytest.raises(MalformedIdentifierError) as refusal:
        top.prefixes.submit(an_application(top, letter, prefix))
    assert refusal.value.code == "registry.prefixes.prefix_outside"


def test_an_invitation_from_88_1_is_no_good_below_88_10(top: TestNode, park: TestNode) -> None:
    letter = invited(park, None, parent="88.107")
    for prefix in ("88.1070.1", "88.10.7", "88.107"):
        with pytest.raises(MalformedIdentifierError):
            park.prefixes.submit(an_application(park, letter, prefix))


@pytest.mark.parametrize(
    "prefix", ["88.10７", "88.1০7", "88..107", "88.107.", "88.%31", "88.1 07", "88.1\x00"]
)
def test_look_alikes_and_broken_prefixes_are_refused(top: TestNode, prefix: str) -> None:
    letter = invited(top, None, parent="88")
    with pytest.raises(MalformedIdentifierError):
        top.prefixes.submit(an_application(top, letter, prefix))


def test_case_does_not_make_another_prefix(top: TestNode) -> None:
    first = invited(top, None, parent="88")
    top.prefixes.submit(an_application(top, first, "88.park", sub="88.PARK"))
    second = invited(top, None, parent="88")
    with pytest.raises(ExistsError):
        top.prefixes.submit(an_application(top, second, "88.PARK", key="other"))


def test_an_invitation_for_one_prefix_is_not_for_another(top: TestNode) -> None:
    letter = invited(top, "88.107", parent="88")
    with pytest.raises(ForbiddenError, match=r"is for prefix 88\.107"):
        top.prefixes.submit(an_application(top, letter, "88.108"))


def test_an_expired_invitation_is_refused(top: TestNode, clock: MovedClock) -> None:
    letter = invited(top, "88.107", parent="88", ttl_seconds=DAY)
    clock.time += DAY + 1
    with pytest.raises(ForbiddenError, match="expired"):
        top.prefixes.submit(an_application(top, letter))


def test_an_invitation_is_good_once(top: TestNode) -> None:
    letter = invited(top, "88.107", parent="88")
    top.prefixes.submit(an_application(top, letter))
    with pytest.raises(ForbiddenError, match="used with another key"):
        top.prefixes.submit(an_application(top, letter, key="second"))


def test_asking_again_with_the_same_key_finds_the_same_request(top: TestNode) -> None:
    letter = invited(top, "88.107", parent="88")
    first = top.prefixes.submit(an_application(top, letter))
    assert top.prefixes.submit(an_application(top, letter)) == first
    assert len(top.prefixes.requests(operator_of("88"), P("88"))) == 1


def test_a_proof_of_possession_is_good_once(top: TestNode) -> None:
    letter = invited(top, "88.107", parent="88")
    application = an_application(top, letter)
    top.prefixes.submit(application)
    with pytest.raises(UnauthenticatedError, match="used before"):
        top.prefixes.submit(application)


def test_only_so_many_requests_wait(tmp_path: Path, clock: MovedClock) -> None:
    top = a_top(tmp_path, clock, terms=Terms(pending_limit=2))
    for number in range(2):
        letter = invited(top, f"88.{number}", parent="88")
        top.prefixes.submit(an_application(top, letter, f"88.{number}"))
    letter = invited(top, "88.2", parent="88")
    with pytest.raises(LimitError):
        top.prefixes.submit(an_application(top, letter, "88.2"))
    top.prefixes.refuse(operator_of("88"), P("88.1"), reason="not_ours")
    assert top.prefixes.submit(an_application(top, letter, "88.2")).state == "pending"


@pytest.mark.parametrize("reason", DENIALS)
def test_a_denial_says_why_in_both_languages(top: TestNode, reason: str) -> None:
    letter = invited(top, "88.107", parent="88")
    ticket = top.prefixes.submit(an_application(top, letter)).ticket
    assert ticket is not None
    top.prefixes.refuse(operator_of("88"), P("88.107"), reason=reason, remark="请补充材料")
    standing = top.prefixes.standing(ticket)
    assert (standing.state, standing.reason, standing.remark) == ("refused", reason, "请补充材料")
    assert standing.reason_en.isascii()
    assert not standing.reason_zh.isascii()
    assert standing.chain == ()


def test_a_reason_outside_the_catalogue_is_refused(top: TestNode) -> None:
    with pytest.raises(InvalidValueError, match="choose one of"):
        top.prefixes.refuse(operator_of("88"), P("88.107"), reason="because")


def test_an_unknown_ticket_and_an_unknown_request_are_not_found(top: TestNode) -> None:
    with pytest.raises(NotFoundError):
        top.prefixes.standing("guessed")
    with pytest.raises(NotFoundError):
        top.prefixes.approve(operator_of("88"), P("88.107"))


def test_approval_delegates_no_more_than_the_parent_has(
    top: TestNode, park: TestNode, plant: TestNode
) -> None:
    joined(park, plant, "88.107.1001")
    child, parent, above = plant.chain("88.107.1001").statements
    assert child.exp <= parent.exp <= above.exp
    assert child.max_path < parent.max_path < above.max_path
    assert set(child.algs) <= set(parent.algs)
    assert all(P("88.107.1001").contains(right.prefix) for right in child.perms)


def test_the_delegation_is_published_as_a_signed_record(top: TestNode, park: TestNode) -> None:
    chain = top.chain("88")
    claims = top.verified("0.NA/88.107", chain)
    assert claims.issuer == P("88")
    record = top.record("0.NA/88.107")
    assert record is not None
    assert record.kind == "prefix"
    assert [(value.index, value.type) for value in record.values] == [
        (100, "HS_ADMIN"),
        (300, "HS_PUBKEY"),
        (400, "HS_CERT"),
    ]
    assert record.values[2].text == park.homes.chain(P("88.107"))[0]
    assert park.record("0.NA/88.107") == record


def test_only_the_parents_operator_decides(top: TestNode, park: TestNode, plant: TestNode) -> None:
    ask(park, plant, "88.107.1001")
    for somebody in (operator_of("88"), operator_of("88.107.1001"), operator_of("88.108")):
        with pytest.raises(ForbiddenError):
            park.prefixes.approve(somebody, P("88.107.1001"))
        with pytest.raises(ForbiddenError):
            park.prefixes.refuse(somebody, P("88.107.1001"), reason="other")
        with pytest.raises(ForbiddenError):
            park.prefixes.requests(somebody, P("88.107"))
        with pytest.raises(ForbiddenError):
            park.prefixes.invite(somebody, P("88.107"), None, urls=("https://park.example",))


def test_a_taken_prefix_cannot_be_asked_for_again(top: TestNode, park: TestNode) -> None:
    letter = invited(top, "88.107", parent="88")
    with pytest.raises(ExistsError):
        top.prefixes.submit(an_application(top, letter))
    with pytest.raises(ExistsError):
        top.prefixes.submit(
            an_application(top, invited(top, "88.109", parent="88", purpose=Purpose.REKEY), "88.109")
        )


def test_who_lost_its_key_comes_back_with_a_rekey_invitation(
    top: TestNode, park: TestNode, plant: TestNode
) -> None:
    park.register("88.107/OLD")
    old = park.chain("88.107").leaf.keys[0]
    joined(top, plant, "88.107", purpose=Purpose.REKEY)
    leaf = plant.chain("88.107").leaf
    assert leaf.ver == 2
    assert [key.kid for key in leaf.keys] == [plant.homes.signer_for(P("88.107"))[0].kid, old.kid]
    assert leaf.keys[1].exp == plant.clock.now()
    assert park.verified("88.107/OLD", plant.chain("88.107")).issuer == P("88.107")


def test_every_step_stands_in_the_trail(top: TestNode, park: TestNode) -> None:
    actions = [line.action for line in top.prefixes.history(operator_of("88"), P("88.107"))]
    assert actions == ["invited", "requested", "approved"]
    guest = [line.action for line in park.prefixes.history(admin_of("88.107"), P("88.107"))]
    assert guest == ["join begun", "request pending", "learned"]
    with pytest.raises(ForbiddenError):
        top.prefixes.history(operator_of("88.108"), P("88.107"))


def test_a_suspended_parent_invites_and_approves_nobody(
    top: TestNode, park: TestNode, plant: TestNode
) -> None:
    ask(park, plant, "88.107.1001")
    top.prefixes.suspend(operator_of("88"), P("88.107"), reason="检查")
    park.prefixes.joining.learn(P("88.107"), top.prefixes.delegated(P("88.107")))
    home = park.homes.home(P("88.107"))
    assert home is not None
    assert home.state is HomeState.SUSPENDED
    with pytest.raises(ForbiddenError, match="suspended"):
        park.prefixes.approve(operator_of("88.107"), P("88.107.1001"))
    with pytest.raises(ForbiddenError, match="suspended"):
        invited(park, "88.107.1002", parent="88.107")


@pytest.mark.parametrize("state", ["hosted", "missing"])
def test_a_hand_over_needs_a_closed_hosted_prefix(park: TestNode, plant: TestNode, state: str) -> None:
    if state == "missing":
        with pytest.raises(ExistsError):
            ask(park, plant, "88.107.1003", purpose=Purpose.HANDOVER)
        return
    park.prefixes.host(operator_of("88.107"), P("88.107.1003"))
    ask(park, plant, "88.107.1003", purpose=Purpose.HANDOVER)
    with pytest.raises(ConflictError, match="not closed yet"):
        park.prefixes.approve(operator_of("88.107"), P("88.107.1003"))


def test_a_standing_is_plain_data(top: TestNode, park: TestNode) -> None:
    standing = top.prefixes.delegated(P("88.107"))
    assert isinstance(standing, Standing)
    assert standing.record is not None
    assert standing.record["identifier"] == "0.NA/88.107"
