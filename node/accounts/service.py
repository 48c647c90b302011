"""Making, changing and checking accounts.

Rules:

- whoever manages accounts at a prefix gives and takes roles at that prefix, and at no other;
- a prefix always keeps one enabled account that can manage accounts there, once it has one;
- every change raises the account's version, which cuts its tokens and cached logins, and is noted with who and when;
- a secret is shown once, when it is made; a password is never shown, logged or stored, only its Argon2id hash.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from node.accounts import storage
from node.accounts.account import Account, AccountKind, home_of, normal_name
from node.accounts.config import AccountsConfig
from node.accounts.secret_files import SecretHash, new_secret
from node.accounts.storage import AccountEvent, Connection
from registry.clock import Clock
from registry.errors import ConflictError, ExistsError, InvalidValueError, NotFoundError, UnauthenticatedError
from registry.identifier import Prefix
from registry.principal import OPERATIONS, Grant, Operation, Principal, Role
from registry.storage.engine import Database

__all__ = ["Accounts"]

_LONGEST_PASSWORD = 256
_GIVEABLE = frozenset(Role) - {Role.NODE}


class Accounts:
    """The accounts of one node; synchronous, any number of threads."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        config: AccountsConfig,
        secret_hash: SecretHash,
        randomness: Callable[[int], bytes],
    ) -> None:
        self._database = database
        self._clock = clock
        self._config = config
        self._secret_hash = secret_hash
        self._randomness = randomness
        self._hasher = PasswordHasher(
            time_cost=config.argon2_passes,
            memory_cost=config.argon2_memory_kib,
            parallelism=config.argon2_lanes,
        )
        # Checked against when there is no such person, so that the answer takes as long as for a real one.
        self._nobody = self._hasher.hash(new_secret(randomness))

    def add_person(self, by: Principal, name: str, password: str, roles: Iterable[Role]) -> Account:
        """Make an account for a person at home at the prefix behind the `@`.

        Raises:
            ForbiddenError: `by` does not manage accounts there.
            MalformedError: the name is not `name@prefix`.
            InvalidValueError: the password is too short or too long, or a role cannot be given.
            ExistsError: the name is taken.
        """
        normal = normal_name(name, field="name")
        if "@" not in normal:
            raise InvalidValueError("node.accounts.person_name", field="name", value=name)
        by.require(Operation.ACCOUNT_MANAGE, home_of(normal))
        self._check_password(password, normal)
        return self._add(by, normal, AccountKind.PERSON, self._hasher.hash(password), roles)

    def add_system(self, by: Principal, name: str, roles: Iterable[Role]) -> tuple[Account, str]:
        """Make an account for a system and return it with its secret, which is shown this once.

        Raises:
            ForbiddenError: `by` does not manage accounts at that prefix.
            MalformedError: the name is neither `name@prefix` nor `index:handle`.
            ExistsError: the name is taken.
        """
        normal = normal_name(name, field="name")
        by.require(Operation.ACCOUNT_MANAGE, home_of(normal))
        secret = new_secret(self._randomness)
        hashed = self._secret_hash.of(normal, secret)
        return self._add(by, normal, AccountKind.SYSTEM, hashed, roles), secret

    def of_prefix(self, by: Principal, prefix: Prefix) -> list[Account]:
        """Return the accounts of a prefix as its admins see them.

        Raises:
            ForbiddenError: `by` does not manage accounts there.
        """
        by.require(Operation.ACCOUNT_MANAGE, prefix)
        with self._database.read() as connection:
            return [account.seen_from(prefix) for account in storage.at_prefix(connection, prefix)]

    def events(self, by: Principal, prefix: Prefix, *, limit: int = 100) -> list[AccountEvent]:
        """Return what was done to the accounts of a prefix, newest first.

        Raises:
            ForbiddenError: `by` does not manage accounts there.
        """
        by.require(Operation.ACCOUNT_MANAGE, prefix)
        with self._database.read() as connection:
            return storage.events(connection, prefix, limit)

    def set_enabled(self, by: Principal, name: str, *, enabled: bool) -> Account:
        """Disable or enable an account at home at a prefix that `by` manages.

        Raises:
            NotFoundError: there is no such account.
            ConflictError: it is the last that can manage accounts there.
        """
        action = "enable" if enabled else "disable"
        return self._change(by, name, action, lambda found: replace(found, enabled=enabled))

    def set_roles(self, by: Principal, name: str, prefix: Prefix, roles: Iterable[Role]) -> Account:
        """Give an account exactly these roles at `prefix`, which `by` manages; none: take them all.

        Raises:
            NotFoundError: there is no such account.
            ConflictError: it is the last that can manage accounts there.
        """
        normal = normal_name(name, field="name")
        by.require(Operation.ACCOUNT_MANAGE, prefix)
        grants = self._grants(prefix, roles)
        with self._database.write() as connection:
            found = _present(storage.find(connection, normal), normal)
            others = frozenset(grant for grant in found.grants if grant.prefix != prefix)
            changed = replace(found, grants=others | grants, version=found.version + 1)
            storage.set_roles(connection, normal, grants, prefix=prefix)
            storage.change(connection, normal)
            told = ",".join(sorted(grant.role.value for grant in grants))
            self._note(connection, by, (prefix, normal), "roles", told)
            self._keep_a_manager(connection, found, changed)
        return changed.seen_from(prefix)

    def change_password(self, by: Principal, old: str, new: str) -> None:
        """Change one's own password.

        Raises:
            UnauthenticatedError: the old one is wrong.
            InvalidValueError: the new one is too short or too long, or this account has no password.
        """
        found = self.check(by.name, old)
        if found.kind is not AccountKind.PERSON:
            raise InvalidValueError("node.accounts.no_password", field="name", name=by.name)
        self._check_password(new, found.name)
        self._store_secret(by, found, "password", self._hasher.hash(new))

    def set_password(self, by: Principal, name: str, new: str) -> None:
        """Set a person's password without knowing the old one, at a prefix that `by` manages.

        Raises:
            NotFoundError: there is no such account.
            InvalidValueError: the password does not do, or the account is a system.
        """
        found = self._managed(by, name)
        if found.kind is not AccountKind.PERSON:
            raise InvalidValueError("node.accounts.no_password", field="name", name=found.name)
        self._check_password(new, found.name)
        self._store_secret(by, found, "password", self._hasher.hash(new))

    def renew_secret(self, by: Principal, name: str) -> str:
        """Make a new secret for a system and return it; the old one ends at once.

        Raises:
            NotFoundError: there is no such account.
            InvalidValueError: the account is a person.
        """
        found = self._managed(by, name)
        if found.kind is not AccountKind.SYSTEM:
            raise InvalidValueError("node.accounts.no_secret", field="name", name=found.name)
        secret = new_secret(self._randomness)
        self._store_secret(by, found, "secret", self._secret_hash.of(found.name, secret))
        return secret

    def check(self, name: str, secret: str) -> Account:
        """Return the enabled account that this name and secret belong to; slow for people, by intent.

        Raises:
            UnauthenticatedError: they belong to none; nothing tells which of the two was wrong.
        """
        with self._database.read() as connection:
            found = storage.find_with_secret(connection, name)
        account, stored = found or (None, self._nobody)
        if account is not None and account.kind is AccountKind.SYSTEM:
            holds = self._secret_hash.holds(account.name, secret, stored)
        else:
            holds = self._password_holds(stored, secret)
        if account is None or not holds or not account.enabled:
            raise UnauthenticatedError("node.accounts.wrong")
        return account

    def find(self, name: str) -> Account | None:
        """Return the account of that normal name."""
        with self._database.read() as connection:
            return storage.find(connection, name)

    def _add(
        self, by: Principal, name: str, kind: AccountKind, secret: str, roles: Iterable[Role]
    ) -> Account:
        prefix = home_of(name)
        account = Account(
            name=name,
            prefix=prefix,
            kind=kind,
            enabled=True,
            version=1,
            created=int(self._clock.now()),
            grants=self._grants(prefix, roles),
        )
        with self._database.write() as connection:
            if storage.find(connection, name) is not None:
                raise ExistsError("node.accounts.exists", field="name", name=name)
            storage.add(connection, account, secret)
            told = ",".join(sorted(grant.role.value for grant in account.grants))
            self._note(connection, by, (prefix, name), f"add-{kind.value}", told)
        return account

    def _change(self, by: Principal, name: str, action: str, how: Callable[[Account], Account]) -> Account:
        normal = normal_name(name, field="name")
        by.require(Operation.ACCOUNT_MANAGE, home_of(normal))
        with self._database.write() as connection:
            found = _present(storage.find(connection, normal), normal)
            changed = replace(how(found), version=found.version + 1)
            storage.change(connection, normal, enabled=changed.enabled)
            self._note(connection, by, (found.prefix, normal), action)
            self._keep_a_manager(connection, found, changed)
        return changed.seen_from(found.prefix)

    def _managed(self, by: Principal, name: str) -> Account:
        normal = normal_name(name, field="name")
        by.require(Operation.ACCOUNT_MANAGE, home_of(normal))
        return _present(self.find(normal), normal)

    def _store_secret(self, by: Principal, account: Account, action: str, secret: str) -> None:
        with self._database.write() as connection:
            storage.change(connection, account.name, secret=secret)
            self._note(connection, by, (account.prefix, account.name), action)

    def _note(
        self,
        connection: Connection,
        by: Principal,
        account: tuple[Prefix, str],
        action: str,
        detail: str = "",
    ) -> None:
        prefix, name = account
        event = AccountEvent(prefix.key, int(self._clock.now()), by.name, action, name, detail)
        storage.add_event(connection, event)

    def _keep_a_manager(self, connection: Connection, before: Account, after: Account) -> None:
        for prefix in {grant.prefix for grant in before.grants}:
            if not _manages(before, prefix) or _manages(after, prefix):
                continue
            others = (a for a in storage.at_prefix(connection, prefix) if a.name != before.name)
            if not any(_manages(other, prefix) for other in others):
                raise ConflictError("node.accounts.last_manager", name=before.name, prefix=prefix.key)

    def _grants(self, prefix: Prefix, roles: Iterable[Role]) -> frozenset[Grant]:
        wanted = frozenset(roles)
        for role in wanted - _GIVEABLE:
            raise InvalidValueError("node.accounts.role", field="roles", role=role.value)
        return frozenset(Grant(prefix, role) for role in wanted)

    def _check_password(self, password: str, name: str) -> None:
        least = self._config.password_min_characters
        if not least <= len(password) <= _LONGEST_PASSWORD:
            raise InvalidValueError(
                "node.accounts.password_length",
                field="password",
                least=least,
                most=_LONGEST_PASSWORD,
                length=len(password),
            )
        if name.partition("@")[0] in password.lower():
            raise InvalidValueError("node.accounts.password_name", field="password")

    def _password_holds(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password[:_LONGEST_PASSWORD])
        except (VerificationError, InvalidHashError):
            return False


def _present(account: Account | None, name: str) -> Account:
    if account is None:
        raise NotFoundError("node.accounts.unknown", field="name", name=name)
    return account


def _manages(account: Account, prefix: Prefix) -> bool:
    return account.enabled and any(
        grant.prefix == prefix and Operation.ACCOUNT_MANAGE in OPERATIONS[grant.role]
        for grant in account.grants
    )
