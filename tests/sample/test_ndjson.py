"""The sample events: reproducible, complete, realistic, and with all irregularities that a loader must handle."""

import hashlib
import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from loader.sample.ndjson import lines

Event = dict[str, Any]

COLLECTIONS = {
    "Email Delivered",
    "Email Opened",
    "Email Link Clicked",
    "Email Bounced",
    "Email Unsubscribed",
    "Email Marked as Spam",
}
EVERY_NAME = COLLECTIONS | {"Unsubscribed", "Email Machine Opened"}
APPLE = "Mozilla/5.0"
TIME = re.compile(r"2025-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z|2026-01-01T\d\d:\d\d:\d\d\.\d{3}Z")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def sample(events: int, seed: int = 1) -> list[bytes]:
    return b"".join(lines(events, seed)).splitlines(keepends=True)


def parsed(sample: Iterable[bytes]) -> list[Event]:
    """Return the distinct events in the order of their first line."""
    return [json.loads(line) for line in dict.fromkeys(sample)]


def at(event: Event, name: str = "timestamp") -> datetime:
    return datetime.fromisoformat(event[name])


def who(event: Event) -> str:
    return str(event.get("userId") or event["anonymousId"])


def copy(event: Event) -> tuple[str, str]:
    return who(event), event["properties"]["email_id"]


def agent(event: Event) -> str | None:
    found: str | None = event["context"].get("userAgent")
    return found


def by_name(events: Iterable[Event]) -> dict[str, list[Event]]:
    named = defaultdict(list)
    for event in events:
        named[event["event"]].append(event)
    return named


def deliveries(events: Iterable[Event]) -> dict[tuple[str, str], list[datetime]]:
    times = defaultdict(list)
    for event in by_name(events)["Email Delivered"]:
        times[copy(event)].append(at(event))
    return times


def after_delivery(event: Event, times: dict[tuple[str, str], list[datetime]]) -> timedelta | None:
    """Return the time since the latest earlier delivery, with half a second of clock skew allowed."""
    since = [at(event) - time for time in times[copy(event)] if time <= at(event) + timedelta(seconds=0.5)]
    return min(since, default=None)


@pytest.fixture(scope="module")
def year() -> list[bytes]:
    return sample(60_000)


@pytest.fixture(scope="module")
def events(year: list[bytes]) -> list[Event]:
    return parsed(year)


def test_the_bytes_of_a_seed_never_change() -> None:
    digest = hashlib.sha256(b"".join(lines(2_000, 1))).hexdigest()
    assert digest == "d087c6e79e03f2eb5f332892f1a2a1b3aac8fe7b0e72f57427e3e4bcadb32214"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    assert sample(3_000, 7) == sample(3_000, 7)
    assert not set(sample(3_000, 7)) & set(sample(3_000, 8))


@pytest.mark.parametrize("until", [date(2024, 2, 29), date(2026, 1, 3), date(2026, 11, 25)])
def test_a_sample_is_the_year_up_to_its_last_day(until: date) -> None:
    events = parsed(b"".join(lines(12_000, 1, until)).splitlines(keepends=True))
    days = Counter(at(event).date() for event in by_name(events)["Email Delivered"])
    assert (min(days), max(days)) == (until - timedelta(days=364), until)
    assert len(days) > 350
    busy = [day.weekday() for day, count in days.most_common(15) if day != min(days)]
    assert max(busy) < 5  # newsletters go out on working days
    own, others = ({event.get("messageId") for event in some} - {None} for some in (events, parsed(sample(12_000))))
    assert not own & others


@pytest.mark.parametrize("count", [0, 1, 2, 5, 14, 99, 100, 199, 200, 333, 334, 1_000, 1_700, 1_701, 12_345])
@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_there_are_exactly_as_many_lines_as_asked_for(count: int, seed: int) -> None:
    assert len(sample(count, seed)) == count


def test_blocks_hold_whole_lines_and_about_a_megabyte() -> None:
    blocks = list(lines(10_000, 1))
    assert all(block.endswith(b"\n") for block in blocks)
    assert all(800_000 < len(block) < 1_300_000 for block in blocks[:-1])


def test_every_line_is_compact_json_of_an_archived_event(year: list[bytes]) -> None:
    for line in year:
        event = json.loads(line)
        assert json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() == line.rstrip(b"\n")
        assert event["type"] == "track"
        assert event["event"] in EVERY_NAME
        assert ("userId" in event) != ("anonymousId" in event)
        assert event["context"]["library"].keys() == {"name", "version"}
        assert {"campaign_id", "campaign_name", "email_id", "audience"} <= event["properties"].keys()


def test_lines_have_a_realistic_length(year: list[bytes]) -> None:
    assert 550 < sum(map(len, year)) / len(year) < 660


def test_no_two_events_share_an_id_or_a_content(year: list[bytes], events: list[Event]) -> None:
    assert len(events) == len(year) - len(year) // 200
    ids = [event["messageId"] for event in events if "messageId" in event]
    assert len(set(ids)) == len(ids)
    assert all(UUID.fullmatch(one) for one in ids)


@pytest.mark.parametrize("seed", range(10))
def test_two_thousand_events_have_some_of_everything(seed: int) -> None:
    lines = sample(2_000, seed)
    events = parsed(lines)
    named = by_name(events)
    assert named.keys() == EVERY_NAME
    assert len(events) == 1_990
    assert {type(event["properties"].get("engagement_score")) for event in events} == {type(None), int, str}
    assert any("anonymousId" in event for event in events)
    assert any("messageId" not in event for event in events)
    assert any("sentAt" not in event for event in events)
    assert any(len(names) > 1 for names in campaign_names(events).values())
    assert any(agent(event) == APPLE for event in named["Email Opened"])


def campaign_names(events: Iterable[Event]) -> dict[str, list[str]]:
    """Return the names of each campaign in the order of first use."""
    names: dict[str, list[str]] = defaultdict(list)
    for event in sorted(events, key=at):
        campaign = event["properties"]
        if campaign["campaign_name"] not in names[campaign["campaign_id"]]:
            names[campaign["campaign_id"]].append(campaign["campaign_name"])
    return names


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_proportions_are_believable(seed: int) -> None:
    events = parsed(sample(60_000, seed))
    named = Counter(event["event"] for event in events)
    delivered = {copy(event) for event in events if event["event"] == "Email Delivered"}
    opened = {copy(event) for event in events if event["event"] == "Email Opened"}
    clicked = {copy(event) for event in events if event["event"] == "Email Link Clicked"}
    unsubscribed = named["Email Unsubscribed"] + named["Unsubscribed"]
    rates = {
        "delivered": named["Email Delivered"] / len(events),
        "opened": len(opened) / len(delivered),
        "clicked": len(clicked) / len(delivered),
        "bounced": named["Email Bounced"] / (named["Email Delivered"] + named["Email Bounced"]),
        "unsubscribed": unsubscribed / named["Email Delivered"],
        "complained": named["Email Marked as Spam"] / named["Email Delivered"],
        "anonymous": sum("anonymousId" in event for event in events) / len(events),
        "with an address": sum("traits" in event["context"] for event in events) / len(events),
    }
    bands = {
        "delivered": (0.55, 0.66),
        "opened": (0.25, 0.36),
        "clicked": (0.02, 0.045),
        "bounced": (0.013, 0.017),
        "unsubscribed": (0.0015, 0.0025),
        "complained": (0.0001, 0.0003),
        "anonymous": (0.10, 0.14),
        "with an address": (0.93, 0.97),
    }
    assert {name: rate for name, rate in rates.items() if not bands[name][0] < rate < bands[name][1]} == {}
    assert named["Unsubscribed"] < named["Email Unsubscribed"]


def test_the_whole_year_is_there(events: list[Event]) -> None:
    months = Counter(at(event).month for event in by_name(events)["Email Delivered"])
    assert months.keys() == set(range(1, 13))
    assert max(months.values()) < 2 * min(months.values())


def test_recipients_without_a_user_id_come_with_their_address(events: list[Event]) -> None:
    for event in events:
        address = event["context"].get("traits", {}).get("email")
        if "anonymousId" in event and address:
            assert event["anonymousId"] == address
    addresses = {(who(event), event["context"]["traits"]["email"]) for event in events if "traits" in event["context"]}
    assert len(addresses) == len({address for _, address in addresses}) == len({person for person, _ in addresses})


def test_nobody_real_is_met(events: list[Event]) -> None:
    addresses = {event["context"]["traits"]["email"] for event in events if "traits" in event["context"]}
    assert all(address.endswith(".example") for address in addresses)


def test_time_stamps_agree_with_each_other(events: list[Event]) -> None:
    for event in events:
        names = {"originalTimestamp", "sentAt", "receivedAt", "timestamp"} & event.keys()
        assert all(TIME.fullmatch(event[name]) for name in names)
        if "sentAt" in event:
            queued = at(event, "sentAt") - at(event, "originalTimestamp")
            assert queued > timedelta(0)
            assert at(event) == at(event, "receivedAt") - queued
        else:
            assert event["timestamp"] == event["originalTimestamp"]
        assert at(event) < at(event, "receivedAt") + timedelta(seconds=1)


def test_only_deliveries_go_without_a_message_id(events: list[Event]) -> None:
    assert {event["event"] for event in events if "messageId" not in event} == {"Email Delivered"}


def test_lines_stand_mostly_in_the_order_of_receipt(events: list[Event]) -> None:
    received = [at(event, "receivedAt") for event in events]
    steps = [later - earlier for earlier, later in itertools.pairwise(received)]
    backwards = [step for step in steps if step < timedelta(0)]
    assert 0.01 < len(backwards) / len(steps) < 0.15
    assert min(backwards) < -timedelta(hours=1)


def test_some_events_arrive_hours_late(events: list[Event]) -> None:
    late = [event for event in events if at(event, "receivedAt") - at(event) > timedelta(hours=1)]
    assert 0.005 < len(late) / len(events) < 0.02


def test_a_redelivered_line_is_identical_and_comes_later(year: list[bytes]) -> None:
    times = Counter(year)
    repeated = sum(count - 1 for count in times.values())
    assert repeated == len(year) // 200
    first: dict[bytes, int] = {}
    last: dict[bytes, int] = {}
    for position, line in enumerate(year):
        first.setdefault(line, position)
        last[line] = position
    assert any(last[line] - first[line] > 10 for line in year)


def test_a_newsletter_goes_out_in_a_burst_and_a_journey_every_day(events: list[Event]) -> None:
    times = defaultdict(list)
    for event in by_name(events)["Email Delivered"]:
        times[event["properties"]["email_id"]].append(at(event))
    lasting = [max(mailing) - min(mailing) for mailing in times.values()]
    assert 5 <= sum(one > timedelta(days=300) for one in lasting) <= 10
    assert all(one < timedelta(hours=3, minutes=1) or one > timedelta(days=300) for one in lasting)


def test_a_newsletter_meets_nobody_twice_and_a_journey_some(events: list[Event]) -> None:
    again = {email_id for (_, email_id), times in deliveries(events).items() if len(times) > 1}
    assert again == {"1043001", "1043002"}


def test_a_renamed_campaign_keeps_its_new_name(events: list[Event]) -> None:
    renamed = {campaign: names for campaign, names in campaign_names(events).items() if len(names) > 1}
    assert len(renamed) > 3
    for campaign, (old, new) in renamed.items():
        own = [event for event in events if event["properties"]["campaign_id"] == campaign]
        last_old = max(at(event) for event in own if event["properties"]["campaign_name"] == old)
        first_new = min(at(event) for event in own if event["properties"]["campaign_name"] == new)
        assert last_old < first_new


def test_opens_come_after_their_delivery_within_hours_or_days(events: list[Event]) -> None:
    times = deliveries(events)
    opens = [event for event in by_name(events)["Email Opened"] if agent(event) not in (APPLE, None)]
    delays = sorted(delay for event in opens if (delay := after_delivery(event, times)) is not None)
    assert len(delays) > 0.99 * len(opens)
    assert timedelta(hours=1) < delays[len(delays) // 2] < timedelta(hours=12)
    assert delays[-1] > timedelta(days=7)


def test_apple_opens_within_seconds_from_its_own_network(events: list[Event]) -> None:
    times = deliveries(events)
    opens = [event for event in by_name(events)["Email Opened"] if agent(event) == APPLE]
    assert len(opens) > 0.1 * len(by_name(events)["Email Opened"])
    assert all(event["context"]["ip"].startswith("17.") for event in opens)
    delays = [delay for event in opens if (delay := after_delivery(event, times)) is not None]
    assert sum(delay < timedelta(seconds=30) for delay in delays) > 0.99 * len(opens)  # some deliveries go unreported


def test_google_fetches_images_when_a_person_opens(events: list[Event]) -> None:
    times = deliveries(events)
    opens = [event for event in by_name(events)["Email Opened"] if "GoogleImageProxy" in (agent(event) or "")]
    slow = [event for event in opens if (after_delivery(event, times) or timedelta(0)) > timedelta(minutes=2)]
    assert len(slow) > 0.9 * len(opens) > 0


def test_scanners_follow_every_link_within_two_seconds(events: list[Event]) -> None:
    times, followed = deliveries(events), defaultdict(set)
    every = defaultdict(set)
    for event in by_name(events)["Email Link Clicked"]:
        link, delay = event["properties"]["link_id"], after_delivery(event, times)
        every[event["properties"]["email_id"]].add(link)
        if delay is not None and delay < timedelta(seconds=2.5):
            followed[copy(event)].add(link)
    complete = [links == every[email_id] for (_, email_id), links in followed.items()]
    assert sum(complete) > 0.9 * len(complete) > 50


def test_clicks_name_their_link_and_unsubscriptions_their_list(events: list[Event]) -> None:
    named = by_name(events)
    assert all({"link_id", "link_name", "link_url"} <= one["properties"].keys() for one in named["Email Link Clicked"])
    assert len({event["properties"]["link_id"] for event in named["Email Link Clicked"]}) > 3
    left = named["Email Unsubscribed"] + named["Unsubscribed"]
    assert all({"list_id", "list_name"} <= event["properties"].keys() for event in left)


def test_mail_servers_have_no_user_agent_and_a_few_opens_lack_it(events: list[Event]) -> None:
    named = by_name(events)
    reported = named["Email Delivered"] + named["Email Bounced"] + named["Email Marked as Spam"]
    assert not any({"ip", "userAgent"} & event["context"].keys() for event in reported)
    without = sum(agent(event) is None for event in named["Email Opened"])
    assert 0.01 < without / len(named["Email Opened"]) < 0.05


def test_what_should_not_happen_happens_now_and_then(events: list[Event]) -> None:
    named = {name: {copy(event) for event in some} for name, some in by_name(events).items()}
    assert named["Email Bounced"] & named["Email Delivered"]
    assert named["Email Link Clicked"] - named["Email Opened"]
    assert named["Email Opened"] - named["Email Delivered"]


def test_the_score_is_a_number_until_july_and_a_word_from_then_on(events: list[Event]) -> None:
    scores = [event for event in events if "engagement_score" in event["properties"]]
    assert {event["event"] for event in scores} == {"Email Opened"}
    for event in scores:
        expected = int if event["timestamp"] < "2025-07-01" else str
        assert type(event["properties"]["engagement_score"]) is expected


def test_properties_are_nested_listed_null_missing_and_not_ascii(events: list[Event]) -> None:
    properties = [event["properties"] for event in events]
    assert all(one["audience"].keys() == {"segment", "language"} for one in properties)
    assert 0 < sum(isinstance(one.get("categories"), list) for one in properties) < len(properties) / 2
    assert any("email_subject" not in one for one in properties)
    assert any(one.get("email_subject", "") is None for one in properties)
    texts = "".join({f"{one['campaign_name']}{one.get('email_subject')}" for one in properties})
    assert {"é", "☀", "🔥", '"'} <= set(texts)
