"""What the Handle API does, without HTTP: one method for each thing a client can ask for.

Rules (the project's facts on identifiers, §2 and §3; choices of this project are marked P):

- reading is recursive; only the owner's own parameters (`recurse=false`) ask for a referral instead (P);
- a value whose permissions let nobody read is shown to nobody;
- without `publicOnly`, an anonymous reader gets what is public; who explicitly refuses that is asked to log in;
- registering with `overwrite=false` over the same content is a success and changes nothing (P);
- a value that was not public, or is not by its template, does not become so unless the client says so (P).
"""

from base64 import b32encode
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from registry.errors import ForbiddenError, MalformedError, UnauthenticatedError
from registry.identifier import Identifier, Prefix
from registry.principal import Principal
from registry.record import Draft, Record
from registry.results import Done, IfPresent, Result, SetMode
from registry.template import TemplateCatalogue
from registry.value import TEMPLATE_INDEX, Permission, Value
from resolver.answer import Answer, Query
from resolver.handle_api.ports import PrefixBook, RecordBook, Resolving
from resolver.handle_api.requests import GivenValue
from resolver.pool import in_pool

__all__ = ["MAX_FOUND", "MAX_LISTED", "HandleApi", "Listing", "Reading", "Writing", "Written"]

#: 80 random bits: nobody guesses a minted name, and two never meet.
_MINTED_BYTES = 10
_READABLE = Permission.PUBLIC_READ | Permission.ADMIN_READ
#: A search is paged by walking; further than this nobody pages.
MAX_FOUND = 10_000
#: What the registry lists at once.
MAX_LISTED = 1_000


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read.

    Attributes:
        public_only: leave out what is not public without a word; None: the client did not say.
        proof: also return the signatures and the whole chain.
    """

    handle: str
    indexes: frozenset[int] = frozenset()
    types: tuple[str, ...] = ()
    public_only: bool | None = None
    authoritative: bool = False
    recurse: bool = True
    proof: bool = False


@dataclass(frozen=True, slots=True)
class Writing:
    """What is written.

    Attributes:
        indexes: None: the whole record; else exactly these values; empty: whatever the body holds.
        overwrite: replace what is there.
        mint: let the node complete the suffix.
        version: the version the client saw, if it said so.
    """

    handle: str
    values: Sequence[GivenValue]
    indexes: frozenset[int] | None = None
    overwrite: bool = True
    mint: bool = False
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What came of a write: the identifier, whether something new came into being, and the version."""

    handle: str
    created: bool
    version: int


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of the identifiers of a prefix."""

    prefix: Prefix
    total: int
    handles: tuple[str, ...]


class HandleApi:
    """The operations of the door; holds no state of its own."""

    def __init__(
        self,
        *,
        resolver: Resolving,
        registry: RecordBook,
        prefixes: PrefixBook,
        templates: TemplateCatalogue,
        executor: Executor,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._resolver = resolver
        self._registry = registry
        self._prefixes = prefixes
        self._templates = templates
        self._executor = executor
        self._entropy = entropy

    async def read(self, reading: Reading, principal: Principal) -> Answer:
        """Resolve an identifier.

        Raises:
            MalformedIdentifierError: it breaks the syntax.
            UnauthenticatedError: hidden values were asked for without a login.
            ForbiddenError: hidden values were asked for by somebody who may not read them.
        """
        Identifier.parse(reading.handle, field="handle")
        answer = await self._resolver.resolve(
            Query(
                identifier=reading.handle,
                indexes=reading.indexes,
                types=reading.types,
                authoritative=reading.authoritative,
                recurse=reading.recurse,
                with_chain=reading.proof,
            ),
            principal,
        )
        if answer.record is None:
            return answer
        if reading.public_only is False:
            _refuse_hidden(answer, reading, principal)
        return replace(answer, record=_shown(answer.record, public_only=reading.public_only is True))

    async def write(self, writing: Writing, principal: Principal) -> Written:
        """Create or replace a record, or single values of it.

        Raises:
            MalformedError: the indexes named are not those given, or nothing is given.
            HazlinkError: whatever the registry refuses.
        """
        handle = self._minted(writing.handle) if writing.mint else writing.handle
        identifier = Identifier.parse(handle, field="handle")
        if not writing.values:
            raise MalformedError("resolver.handle_api.nothing", field="values")
        given = frozenset(entry.value.index for entry in writing.values)
        if writing.indexes and writing.indexes != given:
            raise MalformedError(
                "resolver.handle_api.indexes_differ",
                field="index",
                asked=sorted(writing.indexes),
                given=sorted(given),
            )
        return await in_pool(self._executor, self._write, writing, identifier, principal)

    async def remove(
        self, handle: str, indexes: frozenset[int], principal: Principal, *, version: int | None = None
    ) -> Written:
        """Remove single values.

        Raises:
            ValueNotFoundError: an index is not there.
            HazlinkError: whatever else the registry refuses.
        """
        identifier = Identifier.parse(handle, field="handle")
        result: Result = await in_pool(
            self._executor,
            self._registry.remove_values,
            principal,
            identifier,
            tuple(sorted(indexes)),
            expected_version=version,
        )
        return Written(handle, created=False, version=result.version)

    async def delete(
        self,
        handle: str,
        principal: Principal,
        *,
        reason: str,
        replaced_by: tuple[str, ...] = (),
        version: int | None = None,
    ) -> Written:
        """Delete a record; its tombstone answers from now on.

        Raises:
            NotFoundError: it is not there, or not any more.
            HazlinkError: whatever else the registry refuses.
        """
        identifier = Identifier.parse(handle, field="handle")
        result: Result = await in_pool(
            self._executor,
            self._registry.delete,
            principal,
            identifier,
            reason=reason,
            replaced_by=replaced_by,
            expected_version=version,
        )
        return Written(handle, created=False, version=result.version)

    async def list(self, principal: Principal, prefix: str, *, page: int, page_size: int) -> Listing:
        """List the identifiers of a prefix; page size 0 only counts.

        Raises:
            NotResponsibleError: the prefix is not homed here.
            ForbiddenError: the principal may not list it.
        """
        return await in_pool(
            self._executor, self._list, principal, Prefix.parse(prefix, field="prefix"), page, page_size
        )

    async def search(
        self, principal: Principal, patterns: Mapping[str, str], *, prefix: str | None, page: int, limit: int
    ) -> tuple[str, ...]:
        """Find identifiers by value.

        Raises:
            MalformedError: nothing to search for, or a page too far.
        """
        below = Prefix.parse(prefix, field="prefix") if prefix is not None else None
        if not patterns:
            raise MalformedError("resolver.handle_api.no_pattern", field="query")
        if page * limit >= MAX_FOUND:
            raise MalformedError("resolver.handle_api.far_page", field="page", page=page, limit=MAX_FOUND)
        return await in_pool(self._executor, self._search, principal, patterns, below, page, limit)

    def homed(self) -> tuple[Prefix, ...]:
        """Return the prefixes homed here."""
        homes = self._prefixes.homes
        return tuple(home.prefix for home in homes.all() if homes.answers_for(home.prefix))

    async def host(self, principal: Principal, prefix: str) -> Prefix:
        """Home a prefix.

        Raises:
            NotResponsibleError: its parent is not homed here.
            ForbiddenError: the principal may not delegate there.
        """
        wanted = Prefix.parse(prefix, field="prefix")
        await in_pool(self._executor, self._prefixes.host, principal, wanted)
        return wanted

    def _minted(self, handle: str) -> str:
        suffix = b32encode(self._entropy(_MINTED_BYTES)).decode()
        return f"{handle}{'' if '/' in handle else '/'}{suffix}"

    def _write(self, writing: Writing, identifier: Identifier, principal: Principal) -> Written:
        (present,) = self._registry.records([identifier])
        kind = _kind(writing.values, present)
        values = tuple(self._as_before(entry, present, kind) for entry in writing.values)
        if writing.indexes is None:
            result = self._registry.register(
                principal,
                Draft(identifier=identifier.text, values=values),
                if_present=IfPresent.REPLACE if writing.overwrite and not writing.mint else IfPresent.CONFIRM,
                expected_version=writing.version,
            )
            created = result.done is Done.CREATED
        else:
            result = self._registry.set_values(
                principal,
                identifier,
                values=values,
                mode=SetMode.PUT if writing.overwrite else SetMode.ADD,
                expected_version=writing.version,
            )
            created = present is not None and any(present.value(value.index) is None for value in values)
        return Written(identifier.text, created=created, version=result.version)

    def _as_before(self, entry: GivenValue, present: Record | None, kind: str | None) -> Value:
        """Say how far a value is seen: as the client says, as it was, or as its template has it."""
        value = entry.value
        before = present.value(value.index) if present is not None else None
        if entry.said == "visibility":
            return value
        if before is not None and not before.visibility.is_public:
            widened = entry.said == "permissions" and value.visibility.is_public
            return value if widened else value.seen_as(before.visibility)
        template = self._templates.newest(kind) if kind and not entry.said else None
        field = template.fields.get(value.type) if template else None
        return value if field is None or field.visibility.is_public else value.seen_as(field.visibility)

    def _list(self, principal: Principal, prefix: Prefix, page: int, page_size: int) -> Listing:
        total = self._registry.count(principal, prefix)
        if page_size == 0:
            return Listing(prefix, total, ())
        found = self._registry.list_page(principal, prefix, page, page_size)
        return Listing(prefix, total, tuple(each.text for each in found.identifiers))

    def _search(
        self, principal: Principal, patterns: Mapping[str, str], prefix: Prefix | None, page: int, limit: int
    ) -> tuple[str, ...]:
        wanted = (page + 1) * limit
        found: list[str] = []
        after: str | None = None
        while len(found) < wanted:
            step = self._registry.search(
                principal, patterns, prefix=prefix, after=after, limit=min(MAX_LISTED, wanted - len(found))
            )
            found += (each.text for each in step.identifiers)
            after = step.next
            if after is None:
                break
        return tuple(found[page * limit : wanted])


def _refuse_hidden(answer: Answer, reading: Reading, principal: Principal) -> None:
    hidden = set(answer.withheld)
    if reading.indexes and not reading.types:
        hidden &= reading.indexes
    if not hidden:
        return
    if principal.is_anonymous:
        raise UnauthenticatedError("resolver.handle_api.hidden", field="publicOnly")
    raise ForbiddenError("resolver.handle_api.hidden_known", field="publicOnly", who=principal.name)


def _shown(record: Record, *, public_only: bool) -> Record:
    values = tuple(
        value
        for value in record.values
        if value.permissions & _READABLE and (value.visibility.is_public or not public_only)
    )
    return record if len(values) == len(record.values) else replace(record, values=values)


def _kind(given: Sequence[GivenValue], present: Record | None) -> str | None:
    """Return the kind the record is going to have, as far as it can be told before it is checked."""
    named = next((entry.value.text for entry in given if entry.value.index == TEMPLATE_INDEX), None)
    return named.strip().lower() if named else (present.kind if present is not None else None)
