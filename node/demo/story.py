"""The story: four empty folders become verified resolution across three tiers, also while a node is away.

Every step goes through a public door (HTTP, gRPC) or the command line of the node it concerns, and checks what it
got. The first thing that is not as it should be ends it with status 1.
"""

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import orjson

from node.demo.nodes import DemoNode, StoryError
from node.demo.passing import Passing
from node.demo.witness import verified
from proto import resolver_pb2 as pb
from proto import resolver_pb2_grpc
from registry.errors import HazlinkError
from registry.language import text

__all__ = ["run_demo"]

#: Seconds that the object of the story may be kept by others: short, so that staleness can be watched.
_SHORT_TTL = 2
_WATCHED = "88.107.1001/DEMO-TANK"
_SAMPLE = "88.107.1001/BATCH-1"
_LEAST_SAMPLES = 500
_MANY_SECONDS = 30.0


def run_demo(*, once: bool, data: Path | None, base_port: int, json_file: Path | None) -> int:
    """Run the story; return the exit status.

    Args:
        once: stop when the story is told; otherwise the nodes stay up until Ctrl-C.
        data: where the nodes keep their data; must be empty or missing. None: a temporary folder, removed at the end.
        base_port: node i listens on base + 10·i (HTTP) and the port after it (gRPC).
        json_file: written once all nodes are ready; when they stay up, once the story is told as well, so that
            whoever waits for it meets nodes that nobody stops any more.
    """
    kept = data is not None
    folder = data if data is not None else Path(tempfile.mkdtemp(prefix="hazlink-demo-"))
    story = Story(folder, base_port)
    told = False
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        if kept and folder.exists() and any(folder.iterdir()):
            raise StoryError("node.demo.not_empty", folder=str(folder))
        story.build()
        if once:
            _write(json_file, story)
        story.tell()
        told = True
        if not once:
            _write(json_file, story)
            _say("staying", where=" ".join(node.http for node in story.nodes))
            _wait()
    except KeyboardInterrupt:
        _say("interrupted")
        if not told:
            return 130
    except HazlinkError as error:
        print(f"✗ {error.message('zh')}\n  {error.message('en')}", file=sys.stderr)  # noqa: T201 — the demo's voice
        return 1
    finally:
        story.stop()
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
        signal.signal(signal.SIGTERM, before)
    _say("done", steps=story.steps)
    return 0


class Story:
    """Four nodes and what happens between them."""

    def __init__(self, folder: Path, base_port: int) -> None:
        self.steps = 0
        self._reports = folder
        tiers = (
            ("88", "top"),
            ("88.107", "secondary"),
            ("88.107.1001", "enterprise"),
            ("88.107.1002", "enterprise"),
        )
        self.nodes = [
            DemoNode(prefix, tier, folder / prefix, base_port + 10 * place)
            for place, (prefix, tier) in enumerate(tiers)
        ]
        self.top, self.park, self.owner, self.other = self.nodes
        #: The small enterprise that the park hosts: no process of its own.
        self.guest = DemoNode("88.107.1003", "hosted", self.park.folder, self.park.port)

    def build(self) -> None:
        """Make four nodes and join them, tier by tier.

        Raises:
            StoryError: a port is taken, or a step did not hold.
        """
        for node in self.nodes:
            node.require_ports()
        with self._step("init"):
            made = _together([partial(self._init, node) for node in self.nodes])
            self.top.admin, self.top.secret = made[0]["admin"], made[0]["secret"]
        with self._step("top"):
            self.top.start()
        with self._step("join", child=self.park.prefix, parent=self.top.prefix):
            self._join(self.park, self.top)
            self.park.start()
        for child in (self.owner, self.other):
            with self._step("join", child=child.prefix, parent=self.park.prefix):
                self._join(child, self.park)
        with self._step("start"):
            _together([self.owner.start, self.other.start])

    def tell(self) -> None:
        """Tell the rest, step by step."""
        self._import()
        self._resolve()
        self._host()
        self._watch()
        Passing(self.owner, self.park, self.top, self._reports, self._step).tell()

    def stop(self) -> None:
        """Stop every process."""
        for node in reversed(self.nodes):
            try:
                node.stop()
            except StoryError as error:
                print(f"✗ {error.message('zh')}", file=sys.stderr)  # noqa: T201 — the demo's voice

    def _init(self, node: DemoNode) -> Any:
        first = ("--root", "--prefix", node.prefix) if node.tier == "top" else ()
        doors = ("--http", f"127.0.0.1:{node.port}", "--grpc", f"127.0.0.1:{node.port + 1}")
        made = node.command("init", *first, *doors, "--allow-loopback-peers")
        # the docking table of objects goes up once a day; who watches the story should not have to wait for it
        settings = node.folder / "hazlink.toml"
        wanted = settings.read_text("utf-8").replace("# rhythms = []", 'rhythms = ["t9=real-time"]')
        settings.write_text(wanted, "utf-8")
        return made

    def _join(self, child: DemoNode, parent: DemoNode) -> None:
        letter = parent.command("invite", child.prefix)["invitation"]
        asked = child.command("join", letter, "--name", f"示例 {child.prefix}")
        _expect(asked["state"] == "pending", "join_state", prefix=child.prefix, state=asked["state"])
        child.admin, child.secret = asked["admin"], asked["secret"]
        parent.plain_command("approve", child.prefix)
        state = child.command("join")["state"]
        _expect(state == "active", "join_state", prefix=child.prefix, state=state)

    def _import(self) -> None:
        samples = _samples()
        with self._step("import") as told:
            files = [
                (node, file)
                for node in (self.owner, self.other)
                for file in sorted(samples.glob(f"{node.prefix}[.-]*"))
            ]
            summaries = [
                node.command("import", str(file), "--report", str(self._reports / f"{file.name}.report.csv"))
                for node, file in files
            ]
            created = sum(summary["created"] for summary in summaries)
            _expect(created >= _LEAST_SAMPLES, "too_few", created=created, least=_LEAST_SAMPLES)
            told["created"] = created
            node, file = files[0]
            again = node.command("import", str(file), "--report", str(self._reports / "again.csv"))
            _expect(again["created"] == again["changed"] == 0, "not_idempotent", created=again["created"])

    def _resolve(self) -> None:
        with self._step("grpc", identifier=_SAMPLE) as told:
            reply = self._ask(self.other, _SAMPLE)
            _expect(reply.outcome == pb.OUTCOME_FOUND, "outcome", identifier=_SAMPLE, outcome=_name(reply))
            told["tiers"] = len(reply.proof.chain)
            # The demonstration believes nobody: it verifies the answer itself, down from the root that 1002 pinned.
            _expect(
                verified(self.other.folder, reply) == ["88.107.1001", "88.107", "88"],
                "chain",
                identifier=_SAMPLE,
            )
        with self._step("http", identifier=_SAMPLE):
            answer = self.other.get(f"/api/handles/{_SAMPLE}")
            body = answer.json()
            _expect(
                answer.status_code == 200 and body["responseCode"] == 1 and bool(body["values"]),  # noqa: PLR2004 — HTTP
                "status",
                what=f"/api/handles/{_SAMPLE}",
                status=answer.status_code,
            )
        with self._step("nowhere"):
            reply = self._ask(self.other, "88.107.1001/NO-SUCH-THING")
            _expect(
                reply.outcome == pb.OUTCOME_NOT_FOUND,
                "outcome",
                identifier="NO-SUCH-THING",
                outcome=_name(reply),
            )

    def _host(self) -> None:
        guest, private = self.guest, f"{self.guest.prefix}/DEMO-PRIVATE"
        with self._step("host", prefix=guest.prefix):
            made = self.park.command("host", guest.prefix, "--name", "虚构微型企业")
            guest.admin, guest.secret = made["admin"], made["secret"]
            for file in sorted(_samples().glob(f"{guest.prefix}[.-]*")):
                self.park.command(
                    "import", str(file), "--report", str(self._reports / f"{file.name}.report.csv")
                )
            values = [
                _value(1, "URL", "https://guest.example/open"),
                _value(2, "NOTE", "only for the guest", permissions="1100"),
            ]
            self._put(guest, private, values)
        with self._step("hosted_privacy", prefix=guest.prefix):
            seen = {
                v["type"]
                for v in guest.get(f"/api/handles/{private}?publicOnly=false", auth=True).json()["values"]
            }
            _expect("NOTE" in seen, "guest_blind", prefix=guest.prefix)
            for node in (self.park, self.owner, self.other, self.top):
                answer = node.get(f"/api/handles/{private}", auth=True)
                shown = {v["type"] for v in answer.json().get("values", ())}
                _expect("NOTE" not in shown, "leak", prefix=node.prefix, identifier=private)
            refused = self.park.ask("PUT", f"/api/handles/{private}", auth=True, json=values[:1])
            _expect(refused.status_code == 403, "not_refused", status=refused.status_code)  # noqa: PLR2004 — HTTP

    def _watch(self) -> None:
        with self._step("short", seconds=_SHORT_TTL):
            self._put(self.owner, _WATCHED, [_value(1, "URL", "https://tank.example/1", ttl=_SHORT_TTL)])
            self._until("fresh", lambda r: r.outcome == pb.OUTCOME_FOUND and r.source != pb.SOURCE_STALE)
        with self._step("stopped", prefix=self.owner.prefix) as told:
            self.owner.stop()
            stale = self._until("stale", lambda r: r.source == pb.SOURCE_STALE)
            _expect(stale.outcome == pb.OUTCOME_FOUND, "outcome", identifier=_WATCHED, outcome=_name(stale))
            told["age"] = stale.age_seconds
        with self._step("returned", prefix=self.owner.prefix):
            self.owner.start()
            self._until("fresh", lambda r: r.outcome == pb.OUTCOME_FOUND and r.source != pb.SOURCE_STALE)
        with self._step("withdrawn", identifier=_WATCHED) as told:
            self.owner.command("withdraw", _WATCHED, "--reason", "演示：储罐停用")
            began = time.monotonic()
            for node in (self.owner, self.other):
                self._until("withdrawn", lambda r: r.outcome == pb.OUTCOME_WITHDRAWN, node=node)
            told["seconds"] = f"{time.monotonic() - began:.1f}"
            page = self.other.get(f"/id/{_WATCHED}", accept="text/html")
            _expect(
                page.status_code == 410 and "演示：储罐停用" in page.text,  # noqa: PLR2004 — HTTP
                "status",
                what=f"/id/{_WATCHED}",
                status=page.status_code,
            )

    def _put(self, node: DemoNode, identifier: str, values: list[dict[str, Any]]) -> None:
        answer = node.ask("PUT", f"/api/handles/{identifier}", auth=True, json=values)
        _expect(
            answer.status_code in {200, 201}, "status", what=f"PUT {identifier}", status=answer.status_code
        )

    def _ask(self, node: DemoNode, identifier: str) -> Any:
        with grpc.insecure_channel(node.grpc) as channel:
            resolver = resolver_pb2_grpc.ResolverStub(channel)
            return resolver.Resolve(pb.ResolveRequest(identifier=identifier, with_chain=True), timeout=30)

    def _until(self, what: str, good: Callable[[Any], bool], node: DemoNode | None = None) -> Any:
        """Ask for the watched object until the answer is as it should be."""
        until = time.monotonic() + _MANY_SECONDS
        while True:
            reply = self._ask(node or self.other, _WATCHED)
            if good(reply):
                return reply
            if time.monotonic() > until:
                raise StoryError(
                    "node.demo.never", what=what, outcome=_name(reply), source=pb.Source.Name(reply.source)
                )
            time.sleep(0.2)

    @contextmanager
    def _step(self, name: str, **params: object) -> Iterator[dict[str, object]]:
        """Tell a step once it has held; the block may add what it found out."""
        self.steps += 1
        found: dict[str, object] = {}
        began = time.monotonic()
        yield found
        took = f"{time.monotonic() - began:.1f} s"
        _say(f"step_{name}", mark=f"✓ {self.steps:>2}", took=took, **params, **found)


def _say(name: str, **params: object) -> None:
    told = [text(f"node.demo.{name}", language, **params) for language in ("zh", "en")]
    indent = " " * (len(str(params["mark"])) + 2) if "mark" in params else "  "
    mark = f"{params['mark']}  " if "mark" in params else ""
    print(f"{mark}{told[0]}\n{indent}{told[1]}", flush=True)  # noqa: T201 — the demo's voice


def _expect(holds: bool, name: str, **params: object) -> None:
    if not holds:
        raise StoryError(f"node.demo.{name}", field=None, retry_after=None, **params)


def _name(reply: Any) -> str:
    failure = f" ({reply.error.message_en})" if reply.HasField("error") else ""
    return f"{pb.Outcome.Name(reply.outcome)}{failure}"


def _value(index: int, kind: str, data: str, **more: object) -> dict[str, Any]:
    return {"index": index, "type": kind, "data": {"format": "string", "value": data}, **more}


def _together(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    with ThreadPoolExecutor(len(tasks)) as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]


def _samples() -> Path:
    """Find the sample files: beside this module in an installation, in docs/ in a checkout."""
    here = Path(__file__).parent
    for folder in (here / "examples", here.parent.parent / "docs" / "examples"):
        if folder.is_dir():
            return folder
    raise StoryError("node.demo.no_samples")


def _write(path: Path | None, story: Story) -> None:
    """Write where the nodes are: a file that appears whole, readable by its owner alone since it holds secrets."""
    if path is None:
        return
    beside = path.with_name(f".{path.name}.new")
    beside.touch(mode=0o600)
    beside.write_bytes(orjson.dumps({"nodes": [node.form() for node in story.nodes]}))
    beside.replace(path)


def _interrupt(*_: object) -> None:
    """Take SIGTERM as Ctrl-C: no node outlives the demonstration."""
    raise KeyboardInterrupt


def _wait() -> None:
    while True:
        time.sleep(3600)
