import asyncio

from node.background import Background
from node.health import Health
from registry.errors import UnavailableError
from tests.support.node import TestClock


async def well():
    return None


async def ill():
    return UnavailableError("node.health.no_prefix")


async def broken():
    raise RuntimeError("secret detail")


async def endless():
    await asyncio.sleep(60)


async def test_a_node_is_ready_when_every_check_holds():
    health = Health({"database": well})
    message = health.to_message(await health.findings())
    assert message["status"] == "ready"


async def test_a_reason_is_given_in_both_languages_and_no_more_than_that():
    health = Health({"database": broken, "prefixes": ill})
    message = health.to_message(await health.findings())
    assert message["status"] == "not ready"
    told = {check["name"]: check for check in message["checks"]}
    assert told["prefixes"]["reason_zh"]
    assert "init --root" in told["prefixes"]["reason_en"]
    assert "secret detail" not in str(message)


async def test_a_check_that_hangs_is_a_finding(monkeypatch):
    monkeypatch.setattr("node.health._PATIENCE_SECONDS", 0.01)
    findings = await Health({"database": endless}).findings()
    assert findings[1].error is not None


async def test_a_stopping_node_is_not_ready():
    health = Health({})
    health.stopping = True
    assert health.to_message(await health.findings())["status"] == "not ready"


async def test_a_background_task_that_fails_is_started_again_and_said_so_meanwhile():
    clock = TestClock()
    background = Background(clock=clock)
    runs = 0
    gate = asyncio.Event()

    async def fails_twice():
        nonlocal runs
        runs += 1
        if runs < 3:
            raise RuntimeError("x")
        gate.set()
        await asyncio.Event().wait()

    seen = []
    original = clock.sleep

    async def sleep(seconds):
        seen.append((seconds, await background.check()))
        await original(seconds)
        await asyncio.sleep(0)

    clock.sleep = sleep
    background.start("changes", fails_twice)
    await asyncio.wait_for(gate.wait(), 5)
    assert runs == 3
    assert [pause for pause, _ in seen] == [1.0, 2.0]
    assert all(error is not None and "changes" in str(error) for _, error in seen)
    assert await background.check() is None
    await background.stop()


async def test_what_is_done_every_so_often_goes_on_until_stopped():
    clock = TestClock()
    background = Background(clock=clock)
    done = asyncio.Event()
    times = []

    async def act():
        times.append(clock.time)
        if len(times) == 3:
            done.set()
        await asyncio.sleep(0)

    background.every("look", 5.0, act)
    await asyncio.wait_for(done.wait(), 5)
    await background.stop()
    assert times[1] - times[0] == times[2] - times[1] == 5.0
