"""HTTP: tokens for whoever logs in, and the accounts of a prefix for its admins."""

from concurrent.futures import Executor
from typing import Annotated, Any, Literal, Protocol
from urllib.parse import parse_qs

import orjson
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from node.accounts.account import Account, AccountKind
from node.accounts.authenticator import AccountAuthenticator
from node.accounts.service import Accounts
from registry.access import ANYONE, Access, needs
from registry.errors import InvalidValueError, MalformedError
from registry.identifier import Prefix
from registry.principal import Operation, Principal, Role
from registry.trust import strict_json
from resolver.pool import in_pool

__all__ = ["ACCESS", "router"]

ACCESS: Access = {
    "POST /auth/token": ANYONE,
    "GET /auth/me": needs(Operation.SESSION),
    "POST /auth/password": needs(Operation.SESSION),
    "GET /accounts": needs(Operation.ACCOUNT_MANAGE),
    "POST /accounts": needs(Operation.ACCOUNT_MANAGE),
    "GET /accounts/events": needs(Operation.ACCOUNT_MANAGE),
    "PATCH /accounts/{name:path}": needs(Operation.ACCOUNT_MANAGE),
    "POST /accounts/{name:path}": needs(Operation.ACCOUNT_MANAGE),
}

_FORM = "application/x-www-form-urlencoded"
_NO_STORE = {"cache-control": "no-store"}


class _Node(Protocol):
    @property
    def accounts(self) -> Accounts: ...
    @property
    def authenticator(self) -> AccountAuthenticator: ...
    @property
    def executor(self) -> Executor: ...


def _of(request: Request) -> _Node:
    node: _Node = request.app.state.node
    return node


def _who(request: Request) -> Principal:
    principal: Principal = request.state.principal
    return principal


_Part = Annotated[_Node, Depends(_of)]
_Who = Annotated[Principal, Depends(_who)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewAccount(_Strict):
    """A person (with password) or a system (its secret comes back)."""

    name: str = Field(max_length=320, examples=["zhang.san@88.107.1001"])
    kind: AccountKind
    roles: list[Literal["reader", "editor", "auditor", "operator", "admin"]] = Field(max_length=5)
    password: str | None = Field(default=None, max_length=256)


class AccountChange(_Strict):
    """What to change; what is left out stays."""

    enabled: bool | None = None
    prefix: str | None = Field(default=None, max_length=70)
    roles: list[Literal["reader", "editor", "auditor", "operator", "admin"]] | None = Field(
        default=None, max_length=5
    )


class NewSecret(_Strict):
    """The new password of a person; nothing for a system, which gets a new secret."""

    password: str | None = Field(default=None, max_length=256)


class PasswordChange(_Strict):
    """Old and new password of whoever is logged in."""

    old: str = Field(max_length=256)
    new: str = Field(max_length=256)


router = APIRouter(tags=["accounts"])


@router.post(
    "/auth/token",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                kind: {
                    "schema": {
                        "type": "object",
                        "properties": {
                            name: {"type": "string"}
                            for name in ("grant_type", "username", "password", "client_id", "client_secret")
                        },
                    }
                }
                for kind in (_FORM, "application/json")
            },
        }
    },
)
async def token(request: Request, node: _Part) -> Response:
    """Exchange a password or a system's secret for an access token (OAuth 2.0, RFC 6749 §4.3 and §4.4)."""
    given = await _token_request(request)
    grant = given.get("grant_type") or ("client_credentials" if "client_id" in given else "password")
    fields = {"password": ("username", "password"), "client_credentials": ("client_id", "client_secret")}
    if grant not in fields:
        raise InvalidValueError("node.accounts.grant_type", field="grant_type", value=grant[:64])
    for field in fields[grant]:
        if not given.get(field):
            raise MalformedError("node.accounts.token_request", field=field)
    name, secret = (given[field] for field in fields[grant])
    address = request.client.host if request.client else ""
    account = await node.authenticator.login(name, secret, address)
    value, seconds = node.authenticator.issue(account)
    body = {"access_token": value, "token_type": "Bearer", "expires_in": seconds}
    return _json(body, headers=_NO_STORE)


@router.get("/auth/me")
async def me(who: _Who) -> dict[str, Any]:
    """Say who is logged in, with which roles."""
    return {"name": who.name, "grants": _grants(who.grants)}


@router.post("/auth/password", status_code=204)
async def change_password(change: PasswordChange, node: _Part, who: _Who) -> Response:
    """Change one's own password; every token issued before ends."""
    await in_pool(node.executor, node.accounts.change_password, who, change.old, change.new)
    node.authenticator.forget(who.name)
    return Response(status_code=204)


@router.get("/accounts")
async def accounts(
    node: _Part, who: _Who, prefix: Annotated[str, Query(max_length=70)]
) -> list[dict[str, Any]]:
    """List the accounts of a prefix, with their roles there."""
    found = await in_pool(node.executor, node.accounts.of_prefix, who, Prefix.parse(prefix, field="prefix"))
    return [_message(account) for account in found]


@router.get("/accounts/events")
async def events(
    node: _Part,
    who: _Who,
    prefix: Annotated[str, Query(max_length=70)],
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[dict[str, Any]]:
    """Show what was done to the accounts of a prefix, by whom and when, newest first."""
    where = Prefix.parse(prefix, field="prefix")
    found = await in_pool(node.executor, node.accounts.events, who, where, limit=limit)
    return [
        {"at": event.at, "who": event.who, "action": event.action, "name": event.name, "detail": event.detail}
        for event in found
    ]


@router.post("/accounts", status_code=201)
async def add(new: NewAccount, node: _Part, who: _Who) -> Response:
    """Make an account; the secret of a system is in this answer and nowhere else."""
    roles = [Role(role) for role in new.roles]
    if new.kind is AccountKind.SYSTEM:
        account, secret = await in_pool(node.executor, node.accounts.add_system, who, new.name, roles)
        body = _message(account) | {"secret": secret}
    else:
        password = new.password or ""
        account = await in_pool(node.executor, node.accounts.add_person, who, new.name, password, roles)
        body = _message(account)
    return _json(body, status_code=201, headers=_NO_STORE)


@router.patch("/accounts/{name:path}")
async def change(name: str, wanted: AccountChange, node: _Part, who: _Who) -> dict[str, Any]:
    """Disable, enable, or give exactly these roles at a prefix; tokens of the account end."""
    if wanted.enabled is None and (wanted.roles is None or wanted.prefix is None):
        raise MalformedError("node.accounts.nothing", field="body")
    result: Account | None = None
    if wanted.roles is not None and wanted.prefix is not None:
        where = Prefix.parse(wanted.prefix, field="prefix")
        roles = [Role(role) for role in wanted.roles]
        result = await in_pool(node.executor, node.accounts.set_roles, who, name, where, roles)
    if wanted.enabled is not None:
        result = await in_pool(node.executor, node.accounts.set_enabled, who, name, enabled=wanted.enabled)
    if result is None:
        raise MalformedError("node.accounts.nothing", field="body")
    node.authenticator.forget(result.name)
    return _message(result)


@router.post("/accounts/{name:path}")
async def renew(name: str, new: NewSecret, node: _Part, who: _Who) -> Response:
    """Set a person's password, or make a new secret for a system and show it this once."""
    if new.password is not None:
        await in_pool(node.executor, node.accounts.set_password, who, name, new.password)
        node.authenticator.forget(name)
        return Response(status_code=204)
    secret = await in_pool(node.executor, node.accounts.renew_secret, who, name)
    node.authenticator.forget(name)
    return _json({"name": name, "secret": secret}, headers=_NO_STORE)


async def _token_request(request: Request) -> dict[str, str]:
    body = await request.body()
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM:
        try:
            fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=16, strict_parsing=True)
        except ValueError:
            raise MalformedError("node.accounts.token_request", field="body") from None
        return {name: values[0] for name, values in fields.items()}
    try:
        given = strict_json.loads(body)
    except MalformedError as error:
        raise MalformedError(error.code, field="body", retry_after=None, **error.params) from error
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise MalformedError("node.accounts.token_request", field="body")
    return given


def _message(account: Account) -> dict[str, Any]:
    return {
        "name": account.name,
        "prefix": account.prefix.key,
        "kind": account.kind.value,
        "enabled": account.enabled,
        "created": account.created,
        "grants": _grants(account.grants),
    }


def _grants(grants: Any) -> list[dict[str, str]]:
    return sorted(
        ({"prefix": grant.prefix.key, "role": grant.role.value} for grant in grants),
        key=lambda shown: (shown["prefix"], shown["role"]),
    )


def _json(content: object, *, status_code: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(
        orjson.dumps(content), status_code=status_code, headers=headers, media_type="application/json"
    )
