import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.content.config import SharingConfig
from federation.content.dataset import Entry, Operation, Rhythm, Sharing, Tier, load_datasets
from federation.content.policy import Policy, Relays, day_of, proves, salted, slot_of
from registry.errors import InvalidValueError, MalformedError
from registry.identifier import Prefix
from registry.trust.encoding import b64u
from tests.support.content import SECRET, a_policy

T9 = load_datasets().newest("t9")
T6 = load_datasets().newest("t6")
PARK, TOP, ENTERPRISE = Prefix("88.107"), Prefix("88"), Prefix("88.107.1001")
ENTRY = Entry(
    2,
    Operation.MODIFY,
    9,
    {
        "identifier": "88.107.1001/B-1",
        "created": "2026-09-21",
        "metadata": "batch/1",
        "status": "active",
        "maker": "示例",
        "active_imei": "861234567890123",
    },
)


def shared(policy, receiver=PARK, dataset=T9, entry=ENTRY):
    return policy.apply(dataset, entry, owner=ENTERPRISE, receiver=receiver)


def test_what_nobody_restricts_goes_as_it_is():
    assert shared(a_policy()).content["maker"] == "示例"


def test_what_is_passed_on_is_as_narrow_as_the_strictest_tier_above():
    # the park may see the number, the top only a digest; and the park passes the entry on
    assert a_policy().shares(T9, Tier.SECONDARY)["active_imei"] is Sharing.DIGEST
    assert a_policy(rules=["t6.contact@top=withheld"]).shares(T6, Tier.SECONDARY)["contact"] is Sharing.VALUE


def test_a_digest_hides_the_value_and_the_salt_proves_it():
    policy = a_policy()
    digest = shared(policy).content["active_imei"]["digest"]
    salt = policy.salt(T9, ENTERPRISE, "88.107.1001/B-1", 2, "active_imei")
    assert proves(b64u(salt), "861234567890123", digest)
    assert not proves(b64u(salt), "861234567890124", digest)
    with pytest.raises(MalformedError):
        proves("short", "861234567890123", digest)


def test_salts_differ_by_everything_they_belong_to():
    policy = a_policy()
    places = [
        (T9, ENTERPRISE, "k", 1, "maker"),
        (T6, ENTERPRISE, "k", 1, "maker"),
        (T9, PARK, "k", 1, "maker"),
        (T9, ENTERPRISE, "l", 1, "maker"),
        (T9, ENTERPRISE, "k", 2, "maker"),
        (T9, ENTERPRISE, "k", 1, "brand"),
    ]
    salts = {policy.salt(*place) for place in places}
    other = Policy(datasets=load_datasets(), secret=b"x" * 32)
    assert len(salts) == len(places)
    assert other.salt(*places[0]) not in salts


def test_withheld_fields_are_named_without_their_values():
    made = shared(a_policy(rules=["t9.maker@*=withheld"]))
    assert "maker" not in made.content
    assert made.withheld == ("maker",)


def test_the_last_rule_that_fits_counts():
    rules = ["*.*@*=withheld", "stream:register.maker@secondary=digest", "t9.maker@top=value"]
    shares = a_policy(rules=rules).shares(T9, Tier.TOP)
    assert shares["maker"] is Sharing.VALUE
    assert shares["brand"] is Sharing.WITHHELD
    assert shares["identifier"] is Sharing.VALUE


def test_what_arrives_can_still_be_read_by_the_receiver():
    for rules in ((), ("*.*@*=digest",), ("*.*@*=withheld",)):
        made = shared(a_policy(rules=rules))
        assert T9.read(T9.body([made])) == (made,)


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "t9.maker",
        "t9.maker@top",
        "t9.maker@top=secret",
        "t9.nothing@top=value",
        "t12.maker@top=value",
        "t9.maker@moon=value",
        "stream:nothing.maker@top=value",
        "t9.identifier@top=digest",
        "*.identifier@*=withheld",
    ],
)
def test_a_rule_that_means_nothing_or_hides_the_key_is_refused(rule):
    with pytest.raises(InvalidValueError):
        Policy(datasets=load_datasets(), config=SharingConfig(rules=(rule,)), secret=SECRET)


def test_a_rhythm_may_be_faster_but_never_slower():
    assert a_policy("t9=real-time").rhythm(T9) is Rhythm.REAL_TIME
    assert a_policy().rhythm(T9) is Rhythm.DAILY
    for wrong in ("t1=daily", "t9=monthly", "t9=soon", "t9", "t12=daily"):
        with pytest.raises(InvalidValueError):
            a_policy(wrong)


def test_registrations_and_alarms_are_passed_on_and_subjects_are_not():
    relays = Relays(load_datasets())
    assert relays.relays("register", "dataset.entries")
    assert relays.relays("alarm", "alarm")
    assert not relays.relays("register", "dataset.subjects")
    assert not relays.relays("report", "dataset.report")
    assert not relays.relays("control", "relay")


def test_days_begin_at_midnight_in_china():
    # 2026-09-20T16:00:00Z is midnight of the 21st in China
    midnight = 1_789_920_000
    assert day_of(midnight - 1) == "2026-09-20"
    assert day_of(midnight) == "2026-09-21"
    assert slot_of(Rhythm.DAILY, midnight) == slot_of(Rhythm.DAILY, midnight - 1) + 1


@given(st.integers(0, 4_000_000_000), st.sampled_from(list(Rhythm)))
def test_periods_never_go_back(now, rhythm):
    assert slot_of(rhythm, now) <= slot_of(rhythm, now + 1)


@given(st.text(), st.text())
def test_digests_of_different_values_differ(one, other):
    assert (salted(b"0" * 16, one) == salted(b"0" * 16, other)) == (one == other)
