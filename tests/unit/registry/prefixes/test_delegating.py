"""Suspension, revocation, renewal, new endpoints, new keys; seen from both sides."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from registry.delegation import HomeState
from registry.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnauthenticatedError,
    UntrustedError,
)
from registry.identifier import Prefix
from registry.prefixes.delegating import AMENDMENT_TYPE, write_amendment
from registry.prefixes.issuing import Terms
from registry.prefixes.joindesk import Standing
from registry.trust import jws
from registry.trust.keys import Signer
from registry.trust.possession import make_possession
from registry.trust.statement import read
from tests.support.prefixes import DAY, MovedClock, TestNode, admin_of, joined, operator_of
from tests.support.trust import a_signer

P = Prefix.parse
PARK = P("88.107")


def amend(top: TestNode, park: TestNode, **asked: Any) -> Standing:
    """Ask and learn, by direct calls in place of HTTP."""
    token = park.prefixes.joining.amendment(PARK, nonce=top.prefixes.challenge(), **asked)
    standing = top.prefixes.amend(token)
    park.prefixes.joining.learn(PARK, standing)
    park.prefixes.upkeep()
    return standing


def signed_by(signer: Signer, top: TestNode, *, parent: str = "88", **changes: object) -> str:
    return write_amendment(
        signer,
        prefix=PARK,
        parent=P(parent),
        nonce=top.prefixes.challenge(),
        now=int(top.clock.now()),
        changes=changes,
    )


def test_suspension_takes_every_right_and_resuming_gives_them_back(top: TestNode, park: TestNode) -> None:
    made = top.prefixes.suspend(operator_of("88"), PARK, reason="安全检查")
    statement = read(made.token)
    assert (statement.state, statement.perms, statement.ver) == ("suspended", (), 2)
    home = park.prefixes.joining.learn(PARK, top.prefixes.delegated(PARK))
    assert home.state is HomeState.SUSPENDED
    top.prefixes.resume(operator_of("88"), PARK)
    home = park.prefixes.joining.learn(PARK, top.prefixes.delegated(PARK))
    assert home.state is HomeState.ACTIVE
    assert park.chain("88.107").leaf.ver == 3
    park.register("88.107/X")


def test_the_published_record_shows_the_suspension(top: TestNode, park: TestNode) -> None:
    made = top.prefixes.suspend(operator_of("88"), PARK, reason="安全检查")
    record = top.record("0.NA/88.107")
    assert record is not None
    assert record.values[-1].text == made.token
    top.verified("0.NA/88.107", top.chain("88"))


def test_revocation_is_final(top: TestNode, park: TestNode) -> None:
    top.prefixes.revoke(operator_of("88"), PARK, reason="企业注销")
    assert park.prefixes.joining.learn(PARK, top.prefixes.delegated(PARK)).state is HomeState.REVOKED
    for change in (top.prefixes.resume, top.prefixes.suspend, top.prefixes.revoke):
        with pytest.raises(ConflictError, match="final"):
            change(operator_of("88"), PARK, reason="")


def test_an_older_statement_does_not_bring_rights_back(top: TestNode, park: TestNode) -> None:
    before = top.prefixes.delegated(PARK)
    top.prefixes.suspend(operator_of("88"), PARK, reason="安全检查")
    park.prefixes.joining.learn(PARK, top.prefixes.delegated(PARK))
    with pytest.raises(UntrustedError) as refusal:
        park.prefixes.joining.learn(PARK, before)
    assert refusal.value.code == "registry.trust.rolled_back"


def test_only_the_parents_operator_changes_a_delegation(top: TestNode, park: TestNode) -> None:
    for somebody in (operator_of("88.107"), operator_of("8"), operator_of("88.1")):
        for change in (top.prefixes.suspend, top.prefixes.resume, top.prefixes.revoke):
            with pytest.raises(ForbiddenError):
                change(somebody, PARK, reason="")
    with pytest.raises(NotFoundError):
        top.prefixes.suspend(operator_of("88"), P("88.108"), reason="")
    with pytest.raises(ForbiddenError):
        top.prefixes.suspend(operator_of("88"), P("88"), reason="nobody is above the top but its root")


def test_renewal_happens_when_little_life_is_left_and_not_before(
    top: TestNode, park: TestNode, clock: MovedClock
) -> None:
    assert park.prefixes.joining.due() == []
    amend(top, park)
    assert park.chain("88.107").leaf.ver == 1
    clock.time += 61 * DAY
    assert [home.prefix for home in park.prefixes.joining.due()] == [PARK]
    amend(top, park)
    leaf = park.chain("88.107").leaf
    assert (leaf.ver, leaf.exp) == (2, clock.now() + 90 * DAY)
    assert park.prefixes.joining.due() == []


def test_renewal_never_outlives_the_parent(
    top: TestNode, park: TestNode, plant: TestNode, clock: MovedClock
) -> None:
    joined(park, plant, "88.107.1001")
    clock.time += 61 * DAY
    token = plant.prefixes.joining.amendment(P("88.107.1001"), nonce=park.prefixes.challenge())
    standing = park.prefixes.amend(token)
    assert read(standing.chain[0]).ver == 1, "nothing to gain while the parent itself is not renewed"
    amend(top, park)
    token = plant.prefixes.joining.amendment(P("88.107.1001"), nonce=park.prefixes.challenge())
    plant.prefixes.joining.learn(P("88.107.1001"), park.prefixes.amend(token))
    assert plant.chain("88.107.1001").leaf.exp == park.chain("88.107").leaf.exp


def test_new_endpoints_stand_in_the_next_statement(top: TestNode, park: TestNode) -> None:
    amend(top, park, endpoints={"resolve": ["https://new.example", "https://spare.example"]})
    leaf = park.chain("88.107").leaf
    assert leaf.endpoints.resolve == ("https://new.example", "https://spare.example")
    assert leaf.ver == 2
    amend(top, park, endpoints={"resolve": ["https://new.example", "https://spare.example"]})
    assert park.chain("88.107").leaf.ver == 2, "asking for what stands changes nothing"


def test_a_rotation_overlaps(top: TestNode, park: TestNode, clock: MovedClock) -> None:
    park.register("88.107/OLD")
    old = park.homes.signer_for(PARK)[0]
    clock.time += DAY
    amend(top, park, rotate=True)
    new = park.homes.signer_for(PARK)[0]
    assert new.kid != old.kid
    first, second = park.chain("88.107").leaf.keys
    assert (first.kid, first.exp) == (new.kid, None)
    assert (second.kid, second.exp) == (old.kid, clock.now() + 7 * DAY)
    park.register("88.107/NEW")
    chain = park.chain("88.107")
    for name in ("OLD", "NEW"):
        park.verified(f"88.107/{name}", chain)
    clock.time += 30 * DAY
    park.verified("88.107/OLD", chain)
    with pytest.raises(UntrustedError):
        chain.signing_key(old.kid, clock.now())


def test_a_reply_lost_during_rotation_costs_nothing(top: TestNode, park: TestNode) -> None:
    token = park.prefixes.joining.amendment(PARK, nonce=top.prefixes.challenge(), rotate=True)
    top.prefixes.amend(token)
    again = park.reopened()
    again.homes.refresh()
    home = again.homes.home(PARK)
    assert home is not None
    assert home.next_kid is not None
    assert home in again.prefixes.joining.due()
    amend(top, again)
    assert again.homes.signer_for(PARK)[0].kid == home.next_kid
    assert again.chain("88.107").leaf.ver == 2


def test_a_compromised_key_is_dropped_and_its_records_signed_again(top: TestNode, park: TestNode) -> None:
    park.register("88.107/X")
    old = park.homes.signer_for(PARK)[0]
    amend(top, park, rotate=True, compromised=True)
    chain = park.chain("88.107")
    assert chain.leaf.key(old.kid) is None
    record = park.record("88.107/X")
    assert record is not None
    assert record.signature is not None
    assert record.signature.kid == park.homes.signer_for(PARK)[0].kid
    park.verified("88.107/X", chain)
    home = park.homes.home(PARK)
    assert home is not None
    assert not home.resign


def test_children_of_a_compromised_key_get_new_statements(
    top: TestNode, park: TestNode, plant: TestNode
) -> None:
    joined(park, plant, "88.107.1001")
    park.prefixes.host(operator_of("88.107"), P("88.107.1003"))
    amend(top, park, rotate=True, compromised=True)
    for prefix in ("88.107.1001", "88.107.1003"):
        chain = park.prefixes.delegated(P(prefix)).chain
        assert read(chain[0]).ver == 2
        assert read(chain[0]).kid == park.homes.signer_for(PARK)[0].kid
    assert plant.prefixes.joining.learn(P("88.107.1001"), park.prefixes.delegated(P("88.107.1001"))).chain
    assert park.chain("88.107.1003").leaf.ver == 2


def test_a_historical_key_can_be_dropped_and_the_one_in_use_cannot(top: TestNode, park: TestNode) -> None:
    old = park.homes.signer_for(PARK)[0].kid
    with pytest.raises(ConflictError, match="in use"):
        top.prefixes.drop_key(operator_of("88"), PARK, old)
    amend(top, park, rotate=True)
    top.prefixes.drop_key(operator_of("88"), PARK, old)
    assert read(top.prefixes.delegated(PARK).chain[0]).key(old) is None
    with pytest.raises(NotFoundError):
        top.prefixes.drop_key(operator_of("88"), PARK, old)


def test_an_amendment_by_anybody_else_is_refused(top: TestNode, park: TestNode) -> None:
    own = park.homes.signer_for(PARK)[0]
    refused: Mapping[str, str] = {
        "foreign key": signed_by(a_signer("thief"), top),
        "the superior's own key": signed_by(top.homes.signer_for(P("88"))[0], top),
        "wrong audience": signed_by(own, top, parent="88.1"),
        "no token": "x.y.z",
        "wrong type": jws.sign(own, "hz-pop+jws", b"{}"),
        "no nonce": jws.sign(
            own,
            AMENDMENT_TYPE,
            orjson.dumps({"iss": "300:0.NA/88.107", "aud": "0.NA/88", "iat": int(top.clock.now())}),
        ),
    }
    for row, token in refused.items():
        with pytest.raises(UnauthenticatedError):
            top.prefixes.amend(token)
        assert read(top.prefixes.delegated(PARK).chain[0]).ver == 1, row


def test_an_amendment_is_good_once(top: TestNode, park: TestNode) -> None:
    token = signed_by(park.homes.signer_for(PARK)[0], top, endpoints={"resolve": ["https://a.example"]})
    top.prefixes.amend(token)
    with pytest.raises(UnauthenticatedError, match="used before"):
        top.prefixes.amend(token)


def test_a_new_key_must_prove_its_possession(top: TestNode, park: TestNode) -> None:
    own, new = park.homes.signer_for(PARK)[0], a_signer("new")
    nonce = top.prefixes.challenge()
    other = make_possession(
        new,
        audience="0.NA/88",
        subject="0.NA/88.107",
        nonce=top.prefixes.challenge(),
        iat=int(top.clock.now()),
    )
    stolen = make_possession(
        a_signer("thief"), audience="0.NA/88", subject="0.NA/88.107", nonce=nonce, iat=int(top.clock.now())
    )
    jwk = {**new.jwk, "alg": new.alg}
    for proof in (other, stolen):
        with pytest.raises(UnauthenticatedError):
            top.prefixes.amend(signed_by(own, top, jwk=jwk, possession=proof))


def test_a_key_that_served_before_does_not_come_back(top: TestNode, park: TestNode) -> None:
    old = park.homes.signer_for(PARK)[0]
    amend(top, park, rotate=True)
    new = park.homes.signer_for(PARK)[0]
    nonce = top.prefixes.challenge()
    now = int(top.clock.now())
    proof = make_possession(old, audience="0.NA/88", subject="0.NA/88.107", nonce=nonce, iat=now)
    token = write_amendment(
        new,
        prefix=PARK,
        parent=P("88"),
        nonce=nonce,
        now=now,
        changes={"jwk": {**old.jwk, "alg": old.alg}, "possession": proof},
    )
    with pytest.raises(ConflictError, match="served this prefix before"):
        top.prefixes.amend(token)


def test_the_old_key_may_change_nothing_after_the_rotation(top: TestNode, park: TestNode) -> None:
    old = park.homes.signer_for(PARK)[0]
    amend(top, park, rotate=True)
    with pytest.raises(UnauthenticatedError):
        top.prefixes.amend(signed_by(old, top, endpoints={"resolve": ["https://thief.example"]}))


def test_who_is_suspended_changes_nothing_and_learns_why(top: TestNode, park: TestNode) -> None:
    top.prefixes.suspend(operator_of("88"), PARK, reason="安全检查")
    standing = amend(top, park, endpoints={"resolve": ["https://new.example"]})
    assert standing.state == "suspended"
    assert read(standing.chain[0]).endpoints.resolve == ("https://park.example",)


def test_the_trail_tells_each_change(top: TestNode, park: TestNode) -> None:
    amend(top, park, rotate=True)
    top.prefixes.suspend(operator_of("88"), PARK, reason="安全检查")
    top.prefixes.resume(operator_of("88"), PARK)
    lines = top.prefixes.history(operator_of("88"), PARK)
    assert [line.action for line in lines][-3:] == ["amended", "suspended", "active"]
    assert lines[-2].detail["reason"] == "安全检查"
    assert lines[-2].who == "operator@88"
    assert [line.action for line in top.prefixes.history(admin_of("88"), PARK, after=lines[-2].number)] == [
        "active"
    ]


def test_the_number_of_keys_stays_bounded(top: TestNode, park: TestNode) -> None:
    limit = Terms().keys_limit
    for _ in range(limit + 2):
        amend(top, park, rotate=True)
    assert len(park.chain("88.107").leaf.keys) == limit
