"""The guard in front of every HTTP route: default deny, by what each room declares in its `ACCESS`.

It wraps a route after the router chose it and before its body is parsed, so a stranger's body is never looked at,
and no path is matched twice. Rules:

- a method and route template without a rule is denied to everybody; HEAD follows GET;
- whoever shows credentials is authenticated, and refused when they do not hold, never taken for anonymous;
- Basic is looked at over TLS or the loopback interface only, and a request that came through a proxy which the
  settings do not name is not a loopback request;
- the principal stands at `request.state.principal`.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from starlette.routing import BaseRoute, Route

from node.limits import Limiter
from registry.access import Access, Authenticator, Credentials, Rule
from registry.errors import ForbiddenError, InternalError, MalformedError
from registry.principal import Operation

__all__ = ["Guard", "flat", "merged"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_WRITES = frozenset({Operation.RECORD_WRITE, Operation.PREFIX_DELEGATE})
_FORWARDED = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip"})


def merged(parts: Iterable[Access]) -> dict[str, Rule]:
    """Return one mapping of all rooms' rules.

    Raises:
        InternalError: two rooms declare the same door.
    """
    rules: dict[str, Rule] = {}
    for part in parts:
        for door, rule in part.items():
            if rules.setdefault(door, rule) != rule:
                raise InternalError("node.guard.twice", door=door)
    return rules


def flat(routes: Iterable[BaseRoute]) -> list[Route]:
    """Return the plain routes among `routes`, those of routers included without a prefix as well.

    Raises:
        InternalError: something else that could answer requests and would stand outside the guard.
    """
    found: list[Route] = []
    for route in routes:
        inner = getattr(route, "original_router", None)
        if isinstance(route, Route):
            found.append(route)
        elif inner is not None and not route.include_context.prefix:  # type: ignore[attr-defined]  # of an included router
            found += flat(inner.routes)
        else:
            raise InternalError("node.guard.route", route=repr(route))
    return found


class Guard:
    """Puts the check in front of routes.

    Args:
        access: the rules.
        authenticator: who is asking.
        limiter: how often.
        settle: awaited before a write is answered, so that the writer's next read here sees it.
        proxied: the settings name trusted proxies, so forwarding headers have been taken into account.
    """

    def __init__(
        self,
        *,
        access: Access,
        authenticator: Authenticator,
        limiter: Limiter,
        settle: Callable[[], Awaitable[None]],
        proxied: bool = False,
    ) -> None:
        self.access = access
        self._authenticator = authenticator
        self._limiter = limiter
        self._settle = settle
        self._proxied = proxied

    def protect(self, routes: Iterable[Route]) -> None:
        """Wrap each route; what it declares no rule for is denied."""
        for route in routes:
            methods = route.methods or set()
            rules = {method: rule for method in methods if (rule := self._rule(method, route.path))}
            route.app = self._wrapped(route.app, route.path, rules)

    def undeclared(self, routes: Iterable[Route]) -> list[str]:
        """Return the doors that have no rule, for a test to find."""
        return sorted(
            f"{method} {route.path}"
            for route in routes
            for method in route.methods or ()
            if self._rule(method, route.path) is None
        )

    def _rule(self, method: str, path: str) -> Rule | None:
        found = self.access.get(f"{method} {path}")
        if found is None and method == "HEAD":
            return self.access.get(f"GET {path}")
        return found

    def _wrapped(self, inner: Application, path: str, rules: Mapping[str, Rule]) -> Application:
        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            method: str = scope["method"]
            rule = rules.get(method)
            if rule is None:
                raise ForbiddenError("node.guard.undeclared", field=f"{method} {path}")
            principal = await self._authenticator.authenticate(self._credentials(scope))
            rule.admit(principal)
            if not principal.is_anonymous:
                await self._limiter.principal(principal.name)
            scope.setdefault("state", {})["principal"] = principal
            await inner(scope, receive, self._settled(send) if rule.operation in _WRITES else send)

        return guarded

    def _settled(self, send: Send) -> Send:
        async def after_settling(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                await self._settle()
            await send(message)

        return after_settling

    def _credentials(self, scope: Scope) -> Credentials:
        shown: list[bytes] = []
        forwarded = False
        for name, value in scope["headers"]:
            if name == b"authorization":
                shown.append(value)
            elif name in _FORWARDED:
                forwarded = True
        address = scope["client"][0] if scope.get("client") else ""
        if not shown:
            return Credentials(authorization=None, secure=False, address=address)
        if len(shown) > 1:
            raise MalformedError("node.guard.credentials_twice", field="Authorization", count=len(shown))
        direct = self._proxied or not forwarded
        secure = scope["scheme"] == "https" or (direct and _is_loopback(address))
        return Credentials(authorization=shown[0].decode("latin-1"), secure=secure, address=address)


def _is_loopback(address: str) -> bool:
    return address.startswith(("127.", "::ffff:127.")) or address == "::1"
