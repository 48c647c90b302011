"""kill -9 of sender and receiver at random points, under load, over a network that loses, doubles, holds back and cuts.

Here a handful of kills; the full run is `hazlink bench exchange-kill`.
"""

import pytest

from tests.support.exchange_books import require_equal
from tests.support.exchange_processes import STORM, Killer, Load, two_nodes

pytestmark = pytest.mark.slow

KILLS = 5


def test_fault_12_after_kills_of_both_sides_the_accepted_set_is_the_sent_set_in_order_each_with_one_effect(
    tmp_path,
):
    with two_nodes(tmp_path, seed=12) as nodes:
        nodes.proxy.weather = STORM
        with Load(nodes) as load:
            killer = Killer(nodes, load, seed=12)
            killer.kill(KILLS)
            load.stop()
        nodes.settle()
        for served in nodes.both:
            nodes.receipts.require_kept(served.data)
        tally = require_equal(
            nodes.above.data, nodes.below.data, entries=load.entries, alarms=load.alarms, records=load.records
        )
        # there was something to break, and it was broken
        assert sum(killer.kills.values()) == KILLS
        assert len(nodes.proxy.fates) > 4
        assert tally.envelopes["88.107 register"] >= load.entries > 100
        assert tally.envelopes["88.107 alarm"] == load.alarms > 0
        assert tally.envelopes["88 control"] >= load.words > 0
        assert nodes.receipts.count > 0
        print(f"{killer.kills}; {tally}; {dict(nodes.proxy.fates)}; {nodes.receipts.count} receipts seen")
