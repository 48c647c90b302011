"""The second part of the story: what goes up, what proves it, and what holds when a node is gone."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from node.demo.nodes import DemoNode, StoryError
from proto import resolver_pb2 as pb
from proto import resolver_pb2_grpc

__all__ = ["Passing"]

_SAMPLE = "88.107.1001/BATCH-1"
_PATIENCE_SECONDS = 60.0
_OK = 200

#: Opens a step of the story; the block may add what it found out.
Step = Callable[..., AbstractContextManager[dict[str, object]]]


class Passing:
    """An enterprise, its park and the top, and what passes between them.

    Args:
        owner: the enterprise.
        park: its superior.
        top: the superior's superior.
        reports: where files of evidence are put.
        step: opens a step.
    """

    def __init__(self, owner: DemoNode, park: DemoNode, top: DemoNode, reports: Path, step: Step) -> None:
        self._owner, self._park, self._top = owner, park, top
        self._reports = reports
        self._step = step

    def tell(self) -> None:
        """Tell it, step by step."""
        env = self._entries()
        self._alarm("DEMO-ALARM-1", "step_alarm")
        self._prove(env)
        self._killed()
        self._taken_over()

    def _entries(self) -> str:
        """The registrations of the enterprise arrive at the park, and relayed unchanged at the top."""
        with self._step("entries") as told:
            at_park = self._until("entries", lambda: self._entry(self._park, "t9", _SAMPLE))
            at_top = self._until("entries", lambda: self._entry(self._top, "t9", _SAMPLE))
            # the very envelope that the enterprise signed, whoever brought it
            _expect(at_park["env"] == at_top["env"] and at_top["via"] == ["88.107"], "not_original")
            told["env"] = at_park["env"]
            return str(at_park["env"])

    def _alarm(self, number: str, name: str) -> None:
        with self._step(name.removeprefix("step_")) as told:
            began = time.monotonic()
            self._send(number)
            self._until("alarm", lambda: self._entry(self._park, "alarm", number))
            told["park"] = f"{time.monotonic() - began:.1f}"
            self._until("alarm", lambda: self._entry(self._top, "alarm", number))
            told["top"] = f"{time.monotonic() - began:.1f}"

    def _send(self, number: str) -> None:
        words = ("exchange", "alarm", _SAMPLE, "演示：罐区泄漏", "--grade", "1", "--id", number)
        self._owner.command(*words)

    def _prove(self, env: str) -> None:
        """From one file alone: who sent what when, and that it was received; one changed byte, and it says no."""
        file, anchor = self._reports / "evidence.json", self._anchor()
        with self._step("proof") as told:
            self._until("proof", lambda: self._proven(env, file))
            verdict = self._verdict(file, anchor)
            _expect(verdict["holds"] is True, "not_proven", said=verdict["detail_en"])
            told["bytes"] = file.stat().st_size
            forged = self._reports / "forged.json"
            raw = bytearray(file.read_bytes())
            raw[len(raw) // 2] ^= 1
            forged.write_bytes(raw)
            _expect(self._verdict(forged, anchor)["holds"] is False, "forgery_held")

    def _proven(self, env: str, file: Path) -> bool:
        try:
            self._owner.plain_command("log", "prove", env, "--out", str(file))
        except StoryError:
            return False
        return True

    def _verdict(self, file: Path, anchor: str) -> Any:
        return self._owner.verdict("log", "verify", str(file), f"--anchor={anchor}", "--json")

    def _anchor(self) -> str:
        return str(self._owner.command("prefixes")["anchor"])

    def _killed(self) -> None:
        with self._step("killed", prefix=self._park.prefix) as told:
            self._park.kill()
            for number in ("DEMO-ALARM-2", "DEMO-ALARM-3"):
                self._send(number)
            self._park.start()
            began = time.monotonic()
            for number in ("DEMO-ALARM-2", "DEMO-ALARM-3"):
                for node in (self._park, self._top):
                    self._until("alarm", partial(self._entry, node, "alarm", number))
            told["seconds"] = f"{time.monotonic() - began:.1f}"

    def _taken_over(self) -> None:
        owner, park = self._owner, self._park
        with self._step("deposit", prefix=owner.prefix) as told:
            owner.plain_command("escrow", "deposit")
            told["records"] = self._until("deposit", self._deposited)
        with self._step("takeover", prefix=owner.prefix) as told:
            owner.kill()
            loaded = park.command("escrow", "takeover", owner.prefix, "--reason", "演示：节点失效")
            told["records"] = loaded["records"]
            answer = self._until("takeover", lambda: self._answered(park))
            told["source"] = pb.Source.Name(answer.source).removeprefix("SOURCE_").lower()
        with self._step("handback", prefix=owner.prefix):
            park.plain_command("escrow", "handback", owner.prefix)
            owner.start()
            self._until("handback", lambda: self._answered(owner))

    def _deposited(self) -> int:
        """Return how many records the park holds of the enterprise, once all of them are there."""
        held = self._park.command("escrow", "held", "--prefix", self._park.prefix)
        count = sum(row["records"] for row in held if row["owner"] == self._owner.prefix)
        return int(count) if len([row for row in held if row["owner"] == self._owner.prefix]) > 1 else 0

    def _answered(self, node: DemoNode) -> Any:
        with grpc.insecure_channel(node.grpc) as channel:
            resolver = resolver_pb2_grpc.ResolverStub(channel)
            try:
                reply = resolver.Resolve(pb.ResolveRequest(identifier=_SAMPLE), timeout=10)
            except grpc.RpcError:
                return None
        return (
            reply if reply.outcome == pb.OUTCOME_FOUND and reply.source == pb.SOURCE_AUTHORITATIVE else None
        )

    def _entry(self, node: DemoNode, dataset: str, key: str) -> Any:
        """Return an entry of the enterprise as it arrived at a node; None when it has not."""
        after = f"{self._owner.prefix} "
        path = f"/exchange-entries/{dataset}?prefix={node.prefix}&owner={self._owner.prefix}&limit=1000"
        while after:
            answer = node.get(path, auth=True)
            if answer.status_code != _OK:
                return None
            page = answer.json()
            found = next((entry for entry in page["entries"] if entry["key"] == key), None)
            if found is not None:
                return found
            after = page["next"]
            path = f"{path.partition('&after=')[0]}&after={after}"
        return None

    def _until(self, what: str, act: Callable[[], Any]) -> Any:
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            found = act()
            if found:
                return found
            if time.monotonic() > until:
                raise StoryError("node.demo.never_came", what=what)
            time.sleep(0.2)


def _expect(holds: bool, name: str, **params: object) -> None:
    if not holds:
        raise StoryError(f"node.demo.{name}", field=None, retry_after=None, **params)
