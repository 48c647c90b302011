from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation.exchange.envelope import Detached, detach
from federation.exchange.outbox import Outbox, to_draft, to_waiting
from federation.exchange.storage.sending import LaneName, SendingUnit
from registry.errors import InvalidValueError, LimitError, MalformedError
from tests.support.exchange_wire import PARK, WORKS, a_draft
from tests.support.prefixes import NOW, MovedClock

LANE = LaneName(WORKS, PARK, "register")


@pytest.fixture
def outbox():
    return Outbox(clock=MovedClock())


def stored(database, lane=LANE):
    with database.read() as connection:
        return SendingUnit(connection).pending(lane, 10_000)


def test_a_draft_is_stored_with_the_transaction_that_has_something_to_tell(database, outbox):
    with database.write() as connection:
        first = outbox.append(connection, a_draft(body={"n": 1}))
        second = outbox.append(connection, a_draft(body={"n": 2}))
    assert (first, second) == (1, 2)
    with suppress(ZeroDivisionError), database.write() as connection:
        outbox.append(connection, a_draft(body={"n": 3}))
        raise ZeroDivisionError
    found = stored(database)
    assert [(one.position, to_draft(one).body, one.at) for one in found] == [
        (1, {"n": 1}, NOW),
        (2, {"n": 2}, NOW),
    ]
    assert all(one.jti for one in found)
    with database.write() as connection:
        # what was rolled back took no position
        assert outbox.append(connection, a_draft()) == 3


def test_positions_are_gapless_however_many_write_at_once(database, outbox):

    def write(number):
        with database.write() as connection:
            return outbox.append(connection, a_draft(body={"n": number}))

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(write, range(80))) == list(range(1, 81))
    assert len(stored(database)) == 80


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ({"stream": "gossip"}, InvalidValueError),
        ({"type": ""}, InvalidValueError),
        ({"schema": "x" * 200}, InvalidValueError),
        ({"body": float("nan")}, InvalidValueError),
        ({"body": {"n": 1 << 53}}, InvalidValueError),
        ({"body": object()}, InvalidValueError),
        ({"body": {1: "a key that is no text"}}, InvalidValueError),
        ({"body": bytes(11 * 1024 * 1024)}, LimitError),
        ({"body": Detached("A" * 43, 4)}, InvalidValueError),
        ({"body": Detached("A" * 43, 4, data=b"none")}, InvalidValueError),
    ],
)
def test_what_no_envelope_could_carry_is_refused_where_somebody_still_learns_of_it(what, error):
    with pytest.raises(error):
        to_waiting(a_draft(**what), NOW)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(_JSON | st.binary(max_size=64))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_a_draft_comes_back_as_it_was_given(body):
    try:
        waiting = to_waiting(a_draft(body=body, ref="0"), NOW)
    except (InvalidValueError, MalformedError):
        # lone surrogates are no text that everybody reads alike
        assert "\\ud" in ascii(body)
        return
    found = to_draft(waiting).body
    assert found == (detach(body) if isinstance(body, bytes) else body)
