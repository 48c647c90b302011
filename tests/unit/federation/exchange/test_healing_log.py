"""The log after a restore: it goes on only where every known checkpoint is continued."""

import pytest

from federation.log.leaf import Leaf
from federation.log.linking import link_digest
from federation.log.storage import LogUnit
from federation.marks.content import CheckpointMark
from registry.trust.encoding import b64u
from tests.support.exchange_healing import (
    LANE,
    FakeReceivers,
)
from tests.support.trust import NOW


async def test_a_mirror_that_is_one_leaf_short_of_the_own_mark_closes_the_log_and_the_next_one_names_it(
    works, park
):
    works.send(park, 1)
    works.publish()
    picture = works.picture()
    works.send(park, 2)
    works.publish()
    signed = works.marks.content().checkpoints[works.origins[0]]
    works.mirror.leaves.pop()
    works.mirror.mark = None
    works.restore(picture)
    done = await works.healer(FakeReceivers(park)).heal(works.fence)
    assert done.new_log
    link = Leaf.decode(works.leaves()[0])
    assert (link.kind, link.seq) == ("key", signed.size)
    assert link.env == link_digest(works.origins[0], signed.size, signed.root, works.origins[1])
    made = works.publish()
    assert made.origin == works.origins[1]
    # the next start finds it whole
    works.elected()
    again = await works.healer(FakeReceivers(park)).heal(works.fence)
    assert (again.new_log, again.epochs) == (False, ())


@pytest.mark.parametrize("at", ["below", "same size", "above"])
async def test_a_checkpoint_that_the_log_does_not_continue_closes_it_wherever_it_stands(works, park, at):
    works.send(park, 1)
    works.publish()
    picture = works.picture()
    works.send(park, 2)
    works.publish()
    mine = works.mirror.mark
    size = {"below": mine.size - 1, "same size": mine.size, "above": mine.size + 1}[at]
    works.mirror.mark = CheckpointMark(size, b"#" * 32)
    works.restore(picture)
    done = await works.healer(FakeReceivers(park)).heal(works.fence)
    assert done.new_log
    assert works.publish().origin == works.origins[1]


async def test_the_old_log_goes_on_where_every_checkpoint_is_continued(works, park):
    works.send(park, 1)
    works.publish()
    older = works.mirror.mark
    picture = works.picture()
    works.send(park, 2)
    works.publish()
    leaves = works.mirror.leaves
    works.mirror.mark, works.mirror.leaves = older, leaves  # the cosignature of the last one was lost
    works.restore(picture)
    done = await works.healer(FakeReceivers(park)).heal(works.fence)
    assert (done.new_log, done.leaves) == (False, len(leaves) - older.size)
    assert works.publish().origin == works.origins[0]


async def test_another_nodes_epoch_in_a_log_that_comes_back_is_no_lane_of_ours(works, park):
    works.send(park, 1)
    works.publish()
    picture = works.picture()
    other = Leaf(
        kind="epoch",
        env=b64u(bytes(32)),
        iss="0.NA/88.107.1001.5",
        aud="0.NA/88.107.1001",
        stream="register",
        epoch=2,
        seq=0,
        at=NOW,
    )
    with works.database.write() as connection:
        LogUnit(connection).append([other.encode()])
    works.publish()
    works.restore(picture)
    done = await works.healer(FakeReceivers(park)).heal(works.fence)
    assert (done.epochs, done.stopped) == ((LANE,), ())
