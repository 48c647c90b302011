"""Two real nodes over links that lose, double, hold back, drip and cut: each kind of fault alone, then all at once."""

import time

import pytest

from registry.storage.engine import Database
from tests.support.exchange_books import database_url, progress, require_equal
from tests.support.exchange_processes import STORM, an_alarm, an_entry, queue, two_nodes
from tests.support.fault_proxy import Fate, FaultProxy, Weather
from tests.support.processes import until

pytestmark = pytest.mark.slow

ENTRIES, ALARMS = 120, 5
#: What alone makes a link bad; shares higher than in nature, so that few envelopes meet every kind.
WEATHERS = {
    "requests are lost before they arrive, or their answers": (Weather(lose=0.3), Fate.LOST_AFTER),
    "requests come twice": (Weather(double=0.5), Fate.DOUBLED),
    "requests overtake one another": (Weather(late=0.4), Fate.LATE),
    "answers break off": (Weather(cut=0.4), Fate.CUT),
    "some links give one byte a second": (Weather(drip=0.1), Fate.DRIPPED),
    "all of it at once": (STORM, Fate.LOST_BEFORE),
}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    with two_nodes(tmp_path_factory.mktemp("lossy"), seed=11) as made:
        yield made
        # everything that came over every link, at the very end
        made.proxy.weather = Weather()
        made.settle()
        for served in made.both:
            made.receipts.require_kept(served.data)
        rounds = made.rounds
        require_equal(made.above.data, made.below.data, entries=ENTRIES * rounds, alarms=ALARMS * rounds)


@pytest.mark.parametrize("name", WEATHERS)
def test_fault_11_over_a_bad_link_everything_arrives_once_in_order_and_is_acknowledged(nodes, name):
    weather, typical = WEATHERS[name]
    nodes.proxy.fates.clear()
    nodes.proxy.weather = weather
    database = Database(database_url(nodes.below.data))
    known = progress(nodes.below.data).acked
    round_ = nodes.rounds
    nodes.rounds += 1
    for turn in range(4):
        share = ENTRIES // 4
        first = round_ * ENTRIES + turn * share
        queue(database, [an_entry(first + number) for number in range(share)])
        if turn == 0:
            queue(database, [an_alarm(round_ * ALARMS + number) for number in range(ALARMS)])
        time.sleep(0.3)
    database.close()

    until(lambda: nodes.left() == 0, f"everything arrives although {name}", pause=0.2)

    assert progress(nodes.below.data).acked >= known + ENTRIES + ALARMS
    nodes.receipts.require_kept(nodes.above.data)
    nodes.receipts.require_kept(nodes.below.data)
    until(lambda: nodes.proxy.fates[typical] > 0, f"the link was bad: {nodes.proxy.fates}")
    print(f"{name}: {dict(nodes.proxy.fates)}")


def test_the_weather_follows_from_the_seed_and_each_path_has_its_own():
    paths = [("POST", "/exchange/register"), ("GET", "/exchange/control")]

    def drawn(seed, order):
        proxy = FaultProxy(1, seed=seed)
        proxy.weather = STORM
        found = {path: [] for path in paths}
        for place in order:
            found[paths[place]].append(proxy.fate(paths[place]))
        return found, proxy.fates

    turns, apart = [0, 1] * 500, [0] * 500 + [1] * 500
    found, fates = drawn(7, turns)
    assert found == drawn(7, apart)[0] != drawn(8, turns)[0]
    assert set(fates) == set(Fate)
    lost = fates[Fate.LOST_BEFORE] + fates[Fate.LOST_AFTER]
    assert 250 < lost < 350
