"""Lanes that begin anew after a restore: no number is signed twice."""

import pytest

from federation.exchange.envelope import parse, read
from federation.exchange.storage.healing import HealingUnit
from registry.errors import UnavailableError
from tests.support.exchange_healing import (
    LANE,
    FakeReceivers,
)


@pytest.mark.parametrize("healthy", [True, False])
async def test_fault_14_a_number_sealed_after_the_last_checkpoint_that_never_left_is_not_used_again(
    works, park, healthy
):
    works.send(park, 1)
    works.publish()
    picture = works.picture()
    works.write(2)
    works.seal()  # signed; no checkpoint, no receiver, no witness knows
    lost = works.everything()
    works.restore(picture)
    if not healthy:
        works.marks.path.unlink()
        works.marks.create(bytes(16), sure=False)
        works.elected()
    done = await works.healer(FakeReceivers(park)).heal(works.fence)
    assert done.epochs == (LANE,)
    works.send(park, 3)
    made = works.everything()
    assert made.keys() == {(1, 1), (2, 1)}
    assert (1, 2) in lost
    assert not set(lost.values()) & {made[2, 1]}


async def test_fault_14_a_restore_waits_for_the_receiver_even_where_marks_and_log_agree(works, park):
    works.send(park, 1)
    works.publish()
    picture = works.picture()
    works.restore(picture)
    for silent in ("mirror", "receiver"):
        works.mirror.silent = silent == "mirror"
        with pytest.raises(UnavailableError):
            await works.healer(FakeReceivers(park, silent=silent == "receiver")).heal(works.fence)
        with works.database.read() as connection:
            assert not HealingUnit(connection).is_healed()


async def test_fault_14_restored_twice_from_the_same_backup_the_lane_goes_on_above_both(works, park):
    works.send(park, 1)
    works.publish()
    picture = works.picture()
    for epoch in (2, 3):
        works.restore(picture)
        done = await works.healer(FakeReceivers(park)).heal(works.fence)
        assert done.epochs == (LANE,)
        assert done.stopped == ()
        assert works.state().epoch == epoch
        works.publish()
    works.send(park, 2)
    assert works.everything().keys() == {(1, 1), (3, 1)}


async def test_fault_14_a_superior_in_a_later_epoch_than_anything_here_remembers_is_followed(works, park):
    works.send(park, 1)
    works.publish()
    picture = works.picture()
    for _ in range(3):
        works.restore(picture)
        await works.healer(FakeReceivers(park)).heal(works.fence)
        works.clock.time += 60
    works.restore(picture)
    works.marks.path.unlink()
    works.marks.create(bytes(16), sure=False)
    works.elected()
    done = await works.healer(FakeReceivers(park)).heal(works.fence)
    assert (done.epochs, done.stopped) == ((LANE,), ())
    assert works.state().epoch == 5
    works.send(park, 2)
    assert works.state().acked_seq == 1


class LostAnswer(FakeReceivers):
    """The superior consents, and its first answer is lost on the way."""

    lost = False

    async def countersign(self, iss, statement):
        made = await super().countersign(iss, statement)
        if not self.lost:
            self.lost = True
            raise UnavailableError("federation.exchange_healing.witness", reason="cut")
        return made


async def test_fault_14_a_consent_that_was_lost_on_the_way_is_asked_for_again_with_the_same_statement(
    works, park
):
    works.send(park, 1)
    works.publish()
    works.restore(works.picture())
    healer = works.healer(LostAnswer(park))
    with pytest.raises(UnavailableError):
        await healer.heal(works.fence)
    works.clock.time += 5
    done = await healer.heal(works.fence)
    assert (done.epochs, done.stopped) == ((LANE,), ())
    assert works.state().epoch == 2
    works.send(park, 2)
    assert works.state().acked_seq == 1


async def test_what_was_sealed_and_never_answered_is_sealed_again_before_what_waited_and_under_its_name(
    works, park
):
    works.send(park, 0)
    works.write(1)
    works.seal()  # never sent
    works.write(2)
    picture = works.picture()
    (first,) = [read(parse(row.token)) for row in works.unanswered()]
    works.restore(picture)
    await works.healer(FakeReceivers(park)).heal(works.fence)
    works.seal()
    made = [read(parse(row.token)) for row in works.unanswered()]
    assert [(one.epoch, one.seq, one.body) for one in made] == [(2, 1, {"n": 1}), (2, 2, {"n": 2})]
    assert made[0].jti == first.jti
