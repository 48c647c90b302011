"""`kill -9` in the midst of writing, again and again: what was acknowledged is there, nothing stands half."""

import threading
import time
from dataclasses import dataclass, field
from itertools import count

import grpc
import httpx
import pytest
from sqlalchemy import create_engine, select

from node.cli.base import at_node
from proto import registry_pb2 as rpb
from proto import resolver_pb2 as pb
from proto import resolver_pb2_grpc
from registry.identifier import Identifier
from registry.storage.tables import audit, change, counter, record
from registry.trust.chain import verify_chain
from registry.trust.record_signature import verify_record
from registry.value import DEFAULT_PERMISSIONS
from resolver.servicer_messages import answer_from_message
from tests.support.databases import a_postgres_url
from tests.support.ports import free_port
from tests.support.processes import Served, a_top_folder, put, until

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

#: Seconds of writing before each death; the writers are at a different place each time.
DEATHS = (0.7, 1.3, 2.1)
BATCH = 25
WITHDRAWN = "withdrawn"


@dataclass
class Story:
    """What one writer tried to make of one identifier, in order, and how far that was acknowledged."""

    tried: list[str] = field(default_factory=list)
    acknowledged: int = 0

    def fits(self, state: str | None) -> bool:
        """Say whether a state found later is the acknowledged one, or the one that was under way."""
        possible = [None, *self.tried][self.acknowledged :]
        return state in possible


class Writers:
    """Clients that write without pause until the node is gone; each owns its identifiers."""

    def __init__(self, served, login, name):
        self.stories: dict[str, Story] = {}
        self.batches: list[list[str]] = []
        self.surprises: list[object] = []
        self._served, self._login, self._name = served, login, name
        works = [self._over_http] * 3 + [self._over_grpc] * 2
        self._threads = [
            threading.Thread(target=self._run, args=(work, number)) for number, work in enumerate(works)
        ]

    def start(self):
        for thread in self._threads:
            thread.start()

    def join(self):
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        assert self.surprises == []

    @property
    def acknowledged(self):
        return sum(story.acknowledged for story in list(self.stories.values()))

    def _run(self, work, number):
        try:
            work(number)
        except httpx.TransportError:
            pass
        except grpc.RpcError as error:
            if error.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}:
                self.surprises.append(error)
        except Exception as error:
            self.surprises.append(error)

    def _over_http(self, number):
        with self._served.new_client() as client:
            for turn in count():
                identifier = f"88/{self._name}-H{number}-{turn // 3}"
                text = f"https://e.example/{turn % 3}"
                story = self.stories.setdefault(identifier, Story())
                story.tried.append(text)
                answer = put(client, identifier, text, self._login)
                if answer.status_code == 503:
                    # a worker whose first process is gone says so; nothing was acknowledged
                    return
                assert answer.status_code in {200, 201}, answer.text
                story.acknowledged += 1

    def _over_grpc(self, number):
        with self._served.new_channel() as channel:
            stub = Served.stub(channel)
            for turn in count():
                names = [f"88/{self._name}-G{number}-{turn}-{place}" for place in range(BATCH)]
                for name in names:
                    self.stories[name] = Story([f"https://e.example/{turn}"])
                self.batches.append(names)
                drafts = [a_draft(name, f"https://e.example/{turn}") for name in names]
                asked = rpb.BatchRegisterRequest(drafts=drafts)
                reply = stub.BatchRegister(asked, metadata=self._login.metadata, timeout=60)
                for name, result in zip(names, reply.results, strict=True):
                    assert result.done == rpb.DONE_CREATED, result
                    self.stories[name].acknowledged += 1
                self.stories[names[0]].tried.append(WITHDRAWN)
                asked = rpb.WithdrawRequest(identifier=names[0], reason="kill")
                stub.Withdraw(asked, metadata=self._login.metadata, timeout=60)
                self.stories[names[0]].acknowledged += 1


def a_draft(identifier, text):
    value = pb.Value(index=1, type="URL", data=text.encode(), ttl=60, permissions=DEFAULT_PERMISSIONS)
    return rpb.Draft(identifier=identifier, values=[value])


def answers(served, identifiers):
    stub = resolver_pb2_grpc.ResolverStub(served.channel)
    for first in range(0, len(identifiers), 500):
        asked = pb.BatchResolveRequest(identifiers=identifiers[first : first + 500], with_chain=True)
        yield from stub.BatchResolve(asked, timeout=60).replies


def state_of(reply):
    if reply.outcome == pb.OUTCOME_NOT_FOUND:
        return None
    if reply.outcome == pb.OUTCOME_WITHDRAWN:
        return WITHDRAWN
    assert reply.outcome == pb.OUTCOME_FOUND, reply
    return reply.record.values[0].data.decode()


def check_acknowledged(served, writers):
    names = list(writers.stories)
    states = {name: state_of(reply) for name, reply in zip(names, answers(served, names), strict=True)}
    wrong = {
        name: (story, states[name]) for name, story in writers.stories.items() if not story.fits(states[name])
    }
    assert not wrong
    for names in writers.batches:
        assert len({states[name] is None for name in names}) == 1, "a batch stands half"
    for name, story in list(writers.stories.items())[-10:]:
        if story.acknowledged and states[name] != WITHDRAWN:
            assert states[name] in served.get(name).text


def check_signatures(served, names):
    with at_node(served.data) as node:
        anchor, now = node.prefixes.anchor(), node.clock.now()
    chains = {}
    verified = 0
    for reply in answers(served, names):
        answer = answer_from_message(reply)
        if answer.record is None:
            continue
        if answer.proof.chain not in chains:
            chains[answer.proof.chain] = verify_chain(answer.proof.chain, anchor=anchor, now=now)
        verify_record(
            public_jws=answer.proof.public_jws,
            restricted_jws=answer.proof.restricted_jws,
            shown=answer.record.values,
            chain=chains[answer.proof.chain],
            identifier=Identifier.parse(answer.asked),
            now=now,
        )
        verified += 1
    return verified


def check_tables(url):
    """Positions without a gap in both tables, and each record where its last change says it is."""
    engine = create_engine(url)
    with engine.connect() as connection:
        if url.startswith("sqlite"):
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        changes = connection.execute(select(change).order_by(change.c.position)).all()
        trail = connection.execute(select(audit).order_by(audit.c.position)).all()
        last = connection.execute(select(counter.c.next)).scalar()
        records = connection.execute(select(record)).all()
    engine.dispose()
    assert [row.position for row in changes] == list(range(1, last + 1))
    assert [(row.position, row.prefix, row.suffix) for row in trail] == [
        (row.position, row.prefix, row.suffix) for row in changes
    ]
    versions: dict[tuple[str, str], list[int]] = {}
    status = {}
    for row in changes:
        versions.setdefault((row.prefix, row.suffix), []).append(row.version)
        status[row.prefix, row.suffix] = row.status
    assert {(row.prefix, row.suffix) for row in records} == set(versions)
    for row in records:
        place = row.prefix, row.suffix
        assert versions[place] == list(range(1, row.version + 1))
        assert row.status == status[place]
    return last


@pytest.mark.parametrize("kind", ["sqlite", "sqlite, two workers", "postgresql"])
def test_after_each_kill_9_every_acknowledged_write_is_there_and_nothing_stands_half(
    kind, tmp_path, postgres_server
):
    folder = tmp_path / "node"
    url = a_postgres_url(postgres_server) if kind == "postgresql" else f"sqlite:///{folder}/hazlink.sqlite3"
    login = a_top_folder(folder, *(("--database-url", url) if kind == "postgresql" else ()))
    words = ("--workers", "2") if "workers" in kind else ()
    # the very same ports each time: nothing of the dead process may stand in the way
    ports = ("--http-port", str(free_port()), "--grpc-port", str(free_port()))
    every: dict[str, Story] = {}
    with Served(folder, *words, *ports) as served:
        for number, seconds in enumerate(DEATHS):
            writers = Writers(served, login, f"R{number}")
            writers.start()
            until(lambda all_of=writers: all_of.acknowledged > 100, "the writers are at work")
            time.sleep(seconds)
            served.kill()
            writers.join()
            began = time.monotonic()
            served.start()
            took = time.monotonic() - began
            check_acknowledged(served, writers)
            every |= writers.stories
            print(f"{kind}: {writers.acknowledged} acknowledged writes; ready again in {took:.1f} s")
        verified = check_signatures(served, list(every))
        assert served.stop() == 0
    assert verified >= sum(1 for story in every.values() if story.acknowledged)
    print(f"{kind}: {check_tables(url)} changes, {verified} records verified")
