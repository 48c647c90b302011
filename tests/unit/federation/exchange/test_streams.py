import pytest

from federation.exchange.streams import STREAMS, is_stream, operation, priority
from registry.trust.rights import OPERATIONS


def test_an_alarm_goes_before_everything_and_bulk_goes_last():
    assert sorted(set(STREAMS), key=priority) == list(STREAMS)
    assert STREAMS[0] == "alarm"
    assert [name for name in STREAMS if name in {"alarm", "control", "flow", "catalogue", "report"}] == [
        "alarm",
        "control",
        "flow",
        "catalogue",
        "report",
    ]


def test_each_operation_has_its_stream_and_control_needs_none():
    assert {operation(name) for name in STREAMS} == {*OPERATIONS, None}
    assert operation("control") is None
    assert all(operation(name) == name for name in STREAMS if name != "control")


@pytest.mark.parametrize("name", ["", "ALARM", "alarms", "../alarm"])
def test_a_foreign_name_is_no_stream(name):
    assert not is_stream(name)
    with pytest.raises(KeyError):
        operation(name)
    with pytest.raises(KeyError):
        priority(name)
