import pytest

from registry.errors import ForbiddenError, UnauthenticatedError
from registry.identifier import Prefix
from registry.principal import ANONYMOUS, OPERATIONS, Grant, Operation, Principal, Role, visible
from registry.value import FEDERATION, PRIVATE, PUBLIC, Scope, Value, Visibility

PARK, PLANT = Prefix("88.107"), Prefix("88.107.1003")


def someone(role, prefix):
    return Principal(name="t", grants=frozenset({Grant(prefix, role)}))


def test_everyone_is_denied_by_default():
    for operation in Operation:
        assert not ANONYMOUS.may(operation)
        with pytest.raises(UnauthenticatedError):
            ANONYMOUS.require(operation, PLANT)


def test_a_role_holds_at_its_own_prefix_only():
    park = someone(Role.ADMIN, PARK)
    assert park.may(Operation.RECORD_WRITE, PARK)
    with pytest.raises(ForbiddenError) as caught:
        park.require(Operation.RECORD_WRITE, PLANT)
    assert "88.107.1003" in str(caught.value)


@pytest.mark.parametrize("role", Role)
def test_every_role_has_its_operations_and_no_others(role):
    who = someone(role, PLANT)
    assert {o for o in Operation if who.may(o, PLANT)} == OPERATIONS[role]


VALUES = (
    Value(1, "A", b"", visibility=PUBLIC),
    Value(2, "B", b"", visibility=FEDERATION),
    Value(3, "C", b"", visibility=Visibility(Scope.PREFIXES, ("88.107",))),
    Value(4, "D", b"", visibility=PRIVATE),
)


@pytest.mark.parametrize(
    ("who", "seen"),
    [
        (ANONYMOUS, [1]),
        (someone(Role.ADMIN, Prefix("88.999")), [1, 2]),
        (someone(Role.NODE, PARK), [1, 2, 3]),
        (someone(Role.OPERATOR, PARK), [1, 2, 3]),
        (someone(Role.READER, PLANT), [1, 2, 3, 4]),
        (someone(Role.NODE, PLANT), [1, 2]),
    ],
)
def test_each_value_is_seen_by_those_it_names(who, seen):
    assert [v.index for v in visible(VALUES, who, PLANT)] == seen
