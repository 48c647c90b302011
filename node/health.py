"""Alive and ready, with reasons.

Alive: the event loop answers. Ready: every check holds. A check returns nothing when all is well, or an error that
says in both languages what is wrong; a check that raises or takes too long has failed too. The answer names no
address, path or account, since anybody may ask.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from registry.errors import HazlinkError, UnavailableError

__all__ = ["Check", "Finding", "Health"]

Check = Callable[[], Awaitable[HazlinkError | None]]
_PATIENCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `error` is None when all is well."""

    name: str
    error: HazlinkError | None


class Health:
    """The readiness of a node. Owner of `stopping`: the program that serves."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = dict(checks)
        self.stopping = False

    async def findings(self) -> list[Finding]:
        """Run every check at once."""
        found = [Finding("serving", UnavailableError("node.health.stopping") if self.stopping else None)]
        results = await asyncio.gather(*(_run(name, check) for name, check in self._checks.items()))
        return found + list(results)

    @staticmethod
    def to_message(findings: list[Finding]) -> dict[str, object]:
        """Return the body of the answer."""
        return {
            "status": "ready" if all(found.error is None for found in findings) else "not ready",
            "checks": [
                {"name": found.name, "ok": found.error is None}
                | (
                    {"reason_zh": found.error.message("zh"), "reason_en": found.error.message("en")}
                    if found.error is not None
                    else {}
                )
                for found in findings
            ],
        }


async def _run(name: str, check: Check) -> Finding:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return Finding(name, await check())
    except TimeoutError:
        return Finding(name, UnavailableError("node.health.slow", seconds=int(_PATIENCE_SECONDS)))
    except HazlinkError as error:
        return Finding(name, error)
    except Exception:  # noqa: BLE001 — a check that breaks is a finding, not a crash
        return Finding(name, UnavailableError("node.health.broken", name=name))
