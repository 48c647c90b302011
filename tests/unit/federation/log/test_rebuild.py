import pytest

from federation.log.rebuild import LogRebuild
from registry.errors import ConflictError, UntrustedError
from tests.support.log import ORIGIN, a_log, entries, entry_hashes, plain_root


def fed(rebuild, source, step=100):
    first, left = rebuild.missing
    while left:
        left = rebuild.feed(first, source[first : first + step])
        first, _ = rebuild.missing
    return rebuild.finish()


@pytest.mark.parametrize("have", [0, 5, 256, 599, 600])
def test_fault_14_a_restored_log_gets_the_same_leaves_back_and_goes_on(database, have):
    signed = (600, plain_root(entry_hashes(600)))
    log = a_log(database, have)
    log.marks.known[ORIGIN] = signed
    if have < 600:
        with pytest.raises(UntrustedError):
            log.publish()
    rebuild = LogRebuild(database, size=600, root=signed[1])
    assert rebuild.missing == (have, 600 - have)
    assert fed(rebuild, entries(700)) == 600 - have
    log.writer.resume()
    made = log.publish()
    assert made is None or (made.size, made.root) == signed
    log.append(entries(10, 600))
    assert log.publish().root == plain_root(entry_hashes(610))


def test_what_does_not_give_the_signed_root_is_taken_away_again(database):
    log = a_log(database, 5)
    rebuild = LogRebuild(database, size=9, root=plain_root(entry_hashes(9)))
    with pytest.raises(UntrustedError) as refused:
        fed(rebuild, entries(9, 0, "other"))
    assert refused.value.code == "federation.log.rebuild_root"
    assert log.reader.leaves(0, 20) == entries(5)
    assert fed(LogRebuild(database, size=9, root=plain_root(entry_hashes(9))), entries(9)) == 4


def test_a_rebuilding_goes_on_after_a_crash(database):
    a_log(database, 5)
    first = LogRebuild(database, size=90, root=plain_root(entry_hashes(90)))
    first.feed(5, entries(40, 5))
    again = LogRebuild(database, size=90, root=plain_root(entry_hashes(90)))
    assert again.missing == (45, 45)
    assert fed(again, entries(90)) == 45


def test_leaves_go_only_where_the_last_ended_and_the_root_is_checked_at_the_end(database):
    log = a_log(database, 5)
    rebuild = LogRebuild(database, size=9, root=plain_root(entry_hashes(9)))
    with pytest.raises(ConflictError):
        rebuild.feed(6, entries(3, 6))
    with pytest.raises(ConflictError):
        rebuild.finish()
    assert rebuild.feed(5, entries(1, 5)) == 3
    log.append(entries(1, 6))
    with pytest.raises(ConflictError):
        rebuild.feed(6, entries(3, 6))


def test_a_log_with_more_than_was_signed_is_compared_at_the_signed_size(database):
    log = a_log(database, 5)
    log.append(entries(4, 5))
    assert LogRebuild(database, size=7, root=plain_root(entry_hashes(7))).finish() == 0
    with pytest.raises(UntrustedError):
        LogRebuild(database, size=7, root=bytes(32)).finish()
    assert log.reader.state().size == 9, "what was there before stays"
