from dataclasses import replace

from registry.identifier import Identifier
from registry.record import Status
from registry.value import Scope, TtlType, Value, Visibility
from registry.versions import next_version

NAME = Identifier.parse("88.107.1001/B-1")
VALUE = Value(
    index=9,
    type="NOTE",
    data=b"x",
    ttl=7,
    ttl_type=TtlType.ABSOLUTE,
    timestamp=1,
    permissions=0b1100,
    references=(("88.1/A", 3),),
    visibility=Visibility(Scope.PREFIXES, ("88.2",)),
    salt=b"given by somebody",
)


def version_of(*values, before=None, now=100):
    return next_version(NAME, "generic", values, before, now=now, salts=lambda size: b"s" * size)


def test_a_new_value_gets_time_and_salt_and_keeps_everything_else():
    (made,) = version_of(VALUE).values
    assert made == replace(VALUE, timestamp=100, salt=b"s" * 16)
    (public,) = version_of(replace(VALUE, visibility=Visibility())).values
    assert public.salt == b""


def test_an_unchanged_value_keeps_its_time_and_salt_and_time_never_runs_back():
    first = version_of(VALUE)
    second = version_of(VALUE, replace(VALUE, index=10), before=first, now=50)
    assert (second.version, second.modified, second.status) == (2, 100, Status.ACTIVE)
    assert second.values[0] == first.values[0]
    assert second.values[1].timestamp == 100
