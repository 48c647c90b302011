import pytest

from node.accounts.account import AccountKind, handle_pair, home_of, normal_name
from node.accounts.service import Accounts
from registry.errors import (
    ConflictError,
    ExistsError,
    ForbiddenError,
    HazlinkError,
    InvalidValueError,
    MalformedError,
    NotFoundError,
    UnauthenticatedError,
)
from registry.principal import ANONYMOUS, Grant, Role
from tests.support.node import OTHER, PARK, PLANT, TestClock, an_admin, some_accounts

CHIEF = an_admin(PARK)


@pytest.fixture
def accounts(tmp_path) -> Accounts:
    return some_accounts(tmp_path, TestClock())


@pytest.mark.parametrize(
    ("given", "normal", "home"),
    [
        ("Zhang.San@88.107", "zhang.san@88.107", "88.107"),
        ("erp@88.107.a", "erp@88.107.A", "88.107.A"),
        ("300:0.na/88.107", "300:0.NA/88.107", "88.107"),
        ("300:88.107.1001/ADM", "300:88.107.1001/ADM", "88.107.1001"),
    ],
)
def test_names_have_one_normal_form_and_a_home(given, normal, home):
    assert normal_name(given) == normal
    assert home_of(normal).key == home


@pytest.mark.parametrize("given", ["", "zhang", "@88", "a b@88", "张@88", "x@88..1", "300/88", ":x", "-a@88"])
def test_other_names_are_refused(given):
    with pytest.raises(MalformedError):
        normal_name(given)


def test_a_person_logs_in_by_password_alone_in_its_right_form(accounts):
    account = accounts.add_person(CHIEF, "zhang.san@88.107", "a long secret", [Role.EDITOR])
    assert account.kind is AccountKind.PERSON
    assert accounts.check("zhang.san@88.107", "a long secret").grants == {Grant(PARK, Role.EDITOR)}
    for wrong in ("", "a long secret ", "A long secret", "x" * 300):
        with pytest.raises(UnauthenticatedError):
            accounts.check("zhang.san@88.107", wrong)
    with pytest.raises(UnauthenticatedError):
        accounts.check("nobody@88.107", "a long secret")


def test_neither_password_nor_secret_is_stored_in_clear(accounts, tmp_path):
    accounts.add_person(CHIEF, "zhang.san@88.107", "a long secret", [Role.EDITOR])
    _, secret = accounts.add_system(CHIEF, handle_pair(PARK), [Role.ADMIN])
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("accounts.sqlite3*"))
    assert b"a long secret" not in stored
    assert secret.encode() not in stored
    assert b"$argon2id$" in stored


def test_a_system_logs_in_by_its_random_secret_until_it_is_renewed(accounts):
    account, secret = accounts.add_system(CHIEF, "300:0.NA/88.107", [Role.ADMIN])
    assert len(secret) == 43
    assert accounts.check(account.name, secret).principal().handle == "300:0.NA/88.107"
    renewed = accounts.renew_secret(CHIEF, account.name)
    with pytest.raises(UnauthenticatedError):
        accounts.check(account.name, secret)
    assert accounts.check(account.name, renewed).version == 2


@pytest.mark.parametrize("password", ["short", "x" * 257, "zhang.san1234"])
def test_weak_passwords_are_refused_with_the_rule(accounts, password):
    with pytest.raises(InvalidValueError) as caught:
        accounts.add_person(CHIEF, "zhang.san@88.107", password, [])
    assert caught.value.field == "password"
    assert password not in str(caught.value)


def test_accounts_are_managed_at_their_own_prefix_only(accounts):
    plant = an_admin(PLANT)
    accounts.add_person(plant, "li.si@88.107.1001", "a long secret", [Role.EDITOR])
    for stranger in (CHIEF, an_admin(OTHER), an_admin(PLANT, role=Role.OPERATOR)):
        for act in (
            lambda by: accounts.add_person(by, "wang.wu@88.107.1001", "a long secret", []),
            lambda by: accounts.add_system(by, "300:0.NA/88.107.1001", []),
            lambda by: accounts.of_prefix(by, PLANT),
            lambda by: accounts.events(by, PLANT),
            lambda by: accounts.set_enabled(by, "li.si@88.107.1001", enabled=False),
            lambda by: accounts.set_roles(by, "li.si@88.107.1001", PLANT, [Role.ADMIN]),
            lambda by: accounts.set_password(by, "li.si@88.107.1001", "another secret"),
        ):
            with pytest.raises(ForbiddenError):
                act(stranger)
    with pytest.raises(UnauthenticatedError):
        accounts.of_prefix(ANONYMOUS, PLANT)


def test_a_hosted_prefix_sees_its_own_roles_of_a_guest_and_nothing_else(accounts):
    accounts.add_person(CHIEF, "zhang.san@88.107", "a long secret", [Role.OPERATOR])
    accounts.set_roles(an_admin(PLANT), "zhang.san@88.107", PLANT, [Role.READER])
    seen = accounts.of_prefix(an_admin(PLANT), PLANT)
    assert [(grant.prefix, grant.role) for a in seen for grant in a.grants] == [(PLANT, Role.READER)]
    assert {grant.prefix for grant in accounts.check("zhang.san@88.107", "a long secret").grants} == {
        PARK,
        PLANT,
    }


def test_the_role_of_a_node_is_not_given_to_accounts(accounts):
    with pytest.raises(InvalidValueError):
        accounts.add_person(CHIEF, "zhang.san@88.107", "a long secret", [Role.NODE])


def test_the_last_account_that_can_manage_stays(accounts):
    accounts.add_person(CHIEF, "one@88.107", "a long secret", [Role.ADMIN])
    for act in (
        lambda: accounts.set_enabled(CHIEF, "one@88.107", enabled=False),
        lambda: accounts.set_roles(CHIEF, "one@88.107", PARK, [Role.READER]),
    ):
        with pytest.raises(ConflictError):
            act()
    assert accounts.check("one@88.107", "a long secret").version == 1
    accounts.add_person(CHIEF, "two@88.107", "a long secret", [Role.ADMIN])
    assert not accounts.set_enabled(CHIEF, "one@88.107", enabled=False).enabled
    with pytest.raises(UnauthenticatedError):
        accounts.check("one@88.107", "a long secret")


def test_names_are_taken_once_and_unknown_ones_are_said_so(accounts):
    accounts.add_person(CHIEF, "one@88.107", "a long secret", [])
    with pytest.raises(ExistsError):
        accounts.add_system(CHIEF, "ONE@88.107", [])
    with pytest.raises(NotFoundError):
        accounts.set_enabled(CHIEF, "two@88.107", enabled=True)


def test_passwords_belong_to_people_and_secrets_to_systems(accounts):
    accounts.add_person(CHIEF, "one@88.107", "a long secret", [])
    accounts.add_system(CHIEF, "erp@88.107", [])
    with pytest.raises(InvalidValueError):
        accounts.renew_secret(CHIEF, "one@88.107")
    with pytest.raises(InvalidValueError):
        accounts.set_password(CHIEF, "erp@88.107", "a long secret")


def test_everybody_changes_their_own_password_by_knowing_it(accounts):
    one = accounts.add_person(CHIEF, "one@88.107", "a long secret", []).principal()
    with pytest.raises(UnauthenticatedError):
        accounts.change_password(one, "not the secret", "another secret")
    accounts.change_password(one, "a long secret", "another secret")
    assert accounts.check("one@88.107", "another secret").version == 2


def test_what_was_done_is_on_record_without_secrets(accounts):
    accounts.add_person(CHIEF, "one@88.107", "a long secret", [Role.READER])
    accounts.set_roles(CHIEF, "one@88.107", PARK, [Role.EDITOR])
    accounts.set_password(CHIEF, "one@88.107", "another secret")
    events = accounts.events(CHIEF, PARK)
    assert [(event.who, event.action, event.detail) for event in events] == [
        ("chief@88.107", "password", ""),
        ("chief@88.107", "roles", "editor"),
        ("chief@88.107", "add-person", "reader"),
    ]


def test_a_refused_change_leaves_nothing_behind(accounts):
    accounts.add_person(CHIEF, "one@88.107", "a long secret", [Role.ADMIN])
    with pytest.raises(HazlinkError):
        accounts.set_enabled(CHIEF, "one@88.107", enabled=False)
    assert [event.action for event in accounts.events(CHIEF, PARK)] == ["add-person"]
