"""Three days without a link, by a clock that is put forward: an alarm first, everything else once, in bounded memory.

The full run, with a million envelopes, is `hazlink bench exchange-partition`.
"""

import pytest

from tests.bench.exchange_partition import Partition

pytestmark = pytest.mark.slow

RECORDS = 3_000


def test_fault_11_after_72_hours_the_alarm_comes_before_what_waited_longer_and_everything_comes_once(
    tmp_path,
):
    story = Partition(tmp_path, RECORDS, hours=72)

    # both sets of books are compared at its end
    story.run()

    assert story.before_alarm < RECORDS / 2, "the alarm stood behind the bulk"
    assert story.tally.envelopes["88.107 alarm"] == story.raised >= 2
    assert story.tally.envelopes["88.107 register"] >= RECORDS
    assert story.peak < 512
    print(f"{story.first_alarm:.2f} s, {story.second_alarm:.2f} s; {story.rate:.0f}/s; {story.peaks}")
