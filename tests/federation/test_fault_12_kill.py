"""kill -9 of sender and receiver at random points, under load, over a network that loses, doubles, holds back and cuts.

Here a handful of kills; the full run is `hazlink bench exchange-kill`.
"""

import pytest

from tests.support.exchange_books import require_equal
from tests.support.exchange_killing import Business, Killer, Load
from tests.support.exchange_processes import STORM, two_nodes

pytestmark = pytest.mark.slow

KILLS = 5


def test_fault_12_after_kills_of_both_sides_the_accepted_set_is_the_sent_set_in_order_each_with_one_effect(
    tmp_path,
):
    with two_nodes(tmp_path, seed=12, forked=True) as nodes:
        nodes.proxy.weather = STORM
        business, killer = Business(), Killer(nodes, seed=12)
        with Load(nodes, business) as load:
            killer.kill(KILLS, load)
            load.stop()
        nodes.settle()
        for served in nodes.both:
            nodes.receipts.require_kept(served.data)
        tally = require_equal(
            nodes.above.data,
            nodes.below.data,
            entries=business.entries,
            alarms=business.alarms,
            records=business.records,
        )
        # there was something to break, and it was broken
        assert killer.done == KILLS
        assert len(nodes.proxy.fates) > 4
        assert tally.envelopes["88.107 register"] >= business.entries > 100
        assert tally.envelopes["88.107 alarm"] == business.alarms > 0
        assert tally.envelopes["88 control"] >= business.words > 0
        assert nodes.receipts.count > 0
        print(f"{killer.kills}; {tally}; {dict(nodes.proxy.fates)}; {nodes.receipts.count} receipts seen")
