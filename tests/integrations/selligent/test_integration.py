"""What Selligent's lists, segments and journeys hold after calls, and what becomes of calls that it refuses."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.errors import UsageError
from loader.integrations.outcomes import DeliveryError, EventRejected, EventSkipped, TryLater
from tests.support.selligent_calls import (
    SETTINGS,
    Model,
    deliver,
    deliver_all,
    group,
    identify,
    opened,
    some_calls,
    track,
)
from tests.support.selligent_server import KEY, Call, Fault, SelligentServer, selligent
from tests.support.targets import batch, integration


@pytest.fixture
def server() -> Iterator[SelligentServer]:
    with selligent() as found:
        yield found


def paths(server: SelligentServer) -> list[str]:
    return [f"{call.method} {call.path}" for call in server.calls if call.endpoint != "fields"]


def test_each_call_becomes_what_segments_destination_made_of_it(server: SelligentServer) -> None:
    calls = [
        identify(1, email="anna@example.com", plan="gold", password="secret"),
        track(2, price=9.5),
        group(3),
        identify(4, "u2"),
        group(5, "u2", "lapsed", userlist="customers", matchkey="CUSTOMER_ID", method="add"),
    ]
    assert [outcome.status for outcome in deliver(opened(server), *calls)] == ["delivered"] * 5
    assert server.rows("customers") == {
        "u1": {"CUSTOMER_ID": "u1", "MAIL": "anna@example.com", "PLAN": "gold", "AGE": None},
        "u2": {"CUSTOMER_ID": "u2", "MAIL": None, "PLAN": None, "AGE": None},
    }
    moment = "2026-03-01T10:00:02.000Z"
    row = {"EVENT_ID": "m2", "CUSTOMER_ID": "u1", "EVENT": "Order Completed", "HAPPENED_AT": moment, "PRICE": 9.5}
    assert server.rows("segment_events") == {"m2": row}
    assert server.journeys["orders", "placed"] == [{"user_id": 0, "parameter_values": {"PRICE": 9.5, "SHOP": "web"}}]
    assert server.members("customers", "vip", "CUSTOMER_ID") == {"u1"}
    assert server.members("customers", "lapsed", "CUSTOMER_ID") == {"u2"}
    deliver(opened(server), group(6, method="REMOVE"), identify(7, plan=None))
    assert server.members("customers", "vip", "CUSTOMER_ID") == set()
    assert (server.rows("customers")["u1"]["MAIL"], server.rows("customers")["u1"]["PLAN"]) == (
        "anna@example.com",
        None,
    )


def test_many_people_take_few_requests(server: SelligentServer) -> None:
    calls = [
        made
        for n in range(600)
        for made in (identify(3 * n, f"u{n}", plan="a"), track(3 * n + 1, f"u{n}", "Cart Viewed"))
    ]
    deliver(opened(server), *calls, *(identify(5000 + n, "u1", plan=f"p{n}") for n in range(100)))
    assert (len(server.rows("customers")), len(server.rows("segment_events"))) == (600, 600)
    assert server.rows("customers")["u1"]["PLAN"] == "p99"
    assert len(paths(server)) == 3


@settings(max_examples=60)
@given(
    calls=some_calls(),
    sizes=st.lists(st.integers(1, 25), min_size=1, max_size=3),
    faults=st.dictionaries(st.integers(0, 30), st.sampled_from(["503", "429", "lost", "applied", "413"]), max_size=8),
)
def test_the_lists_hold_exactly_what_the_calls_say(
    calls: list[dict[str, Any]], sizes: list[int], faults: dict[int, str]
) -> None:
    """Whatever fails in between; a refused call is set aside alone."""
    kinds = {
        "503": Fault(503, b"maintenance"),
        "429": Fault(429, b"too many requests", {"Retry-After": "1"}),
        "413": Fault(413),
        "lost": Fault(),
        "applied": Fault(is_applied=True),
    }
    model = Model()
    for event in calls:
        model.apply(event)

    with selligent() as server:

        def fail(made: Call) -> Fault | None:
            kind = faults.pop(len(server.calls), None)
            # A single record that is too large is refused for good, so only larger requests get that answer.
            is_single = not isinstance(made.body, list) or len(made.body) < 2
            return None if kind is None or (kind == "413" and is_single) else kinds[kind]

        server.fault = fail
        sent = [event for event in calls if event.get("event") != "Not Allowed"]
        applied = list(faults.values()).count("applied")
        rejected = deliver_all(opened(server), sent, sizes)
        model.check(server)
        model.check_rejected(set(rejected))
        assert all("***" in o.answer or "PLAN" in o.answer for o in rejected.values())
        triggered = [body["parameter_values"].get("PRICE") for body in server.journeys["orders", "placed"]]
        # A trigger whose answer is lost is sent again.
        assert 0 <= len(triggered) - len(model.triggers) <= applied
        assert server.most_at_once == 1 or not sent


def test_a_refused_record_is_found_and_the_others_go_on(server: SelligentServer) -> None:
    calls = [
        identify(n, f"u{n}", plan="x" * (11 if n in {7, 40} else 3), email=f"u{n}@example.com") for n in range(100)
    ]
    outcomes = deliver(opened(server), *calls)
    assert [n for n, outcome in enumerate(outcomes) if outcome.status == "rejected"] == [7, 40]
    assert (outcomes[7].reason, outcomes[7].code) == ("refused", 422)
    assert "has more than 10 characters" in outcomes[7].answer
    assert len(server.rows("customers")) == 98
    assert len(paths(server)) < 30


def test_of_two_calls_of_one_person_only_the_refused_one_is_set_aside(server: SelligentServer) -> None:
    outcomes = deliver(opened(server), identify(1, plan="gold"), identify(2, plan="x" * 11))
    assert [outcome.status for outcome in outcomes] == ["delivered", "rejected"]
    assert server.rows("customers")["u1"]["PLAN"] == "gold"


def test_addresses_and_secrets_are_masked_in_what_the_vendor_says(server: SelligentServer) -> None:
    server.fault = lambda made: None if made.endpoint == "fields" else Fault(422, f"{made.body} by {KEY}".encode())
    (outcome,) = deliver(opened(server), identify(1, "anna@example.com", email="anna@example.org"))
    assert outcome.answer == "[['***@***', '***@***']] by ********"


def test_a_busy_list_is_waited_for(server: SelligentServer) -> None:
    made = opened(server)
    server.lists["customers"].busy.acquire()
    with pytest.raises(TryLater) as raised:
        deliver(made, identify(1), track(2))
    assert (raised.value.reason, raised.value.code) == ("throttled", 429)
    assert server.rows("segment_events") == {}
    server.lists["customers"].busy.release()
    deliver(made, identify(1), track(2))
    assert (len(server.rows("customers")), len(server.rows("segment_events"))) == (1, 1)


def test_what_is_done_is_not_sent_again_after_a_failure(server: SelligentServer) -> None:
    """An event with two requests, of which the second one fails."""
    server.rights.discard("trigger")
    made = opened(server)
    with pytest.raises(DeliveryError) as raised:
        deliver(made, track(1))
    assert (raised.value.reason, raised.value.code) == ("unauthorized", 401)
    server.rights.add("trigger")
    deliver(made, track(1))
    assert paths(server) == [
        "POST /lists/segment_events/data/load",
        "POST /journeys/custom/orders/entrypoints/placed/trigger",
    ]


@pytest.mark.parametrize("right", ["load", "fields"])
def test_a_right_that_is_missing_is_reported_and_waited_for(server: SelligentServer, right: str) -> None:
    server.rights.discard(right)
    if right == "fields":  # the check is left out
        assert deliver(opened(server), identify(1))[0].status == "delivered"
        return
    with pytest.raises(TryLater, match="may not use load"):
        deliver(opened(server), identify(1))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"profile_fields": "MAIL=traits.email, NAME=traits.name"}, "the list customers has no field NAME"),
        ({"events_list": "shop_events"}, "there is no list shop_events"),
        ({"business_key": "ID"}, "the list customers has no field ID"),
    ],
)
def test_a_wrong_mapping_is_reported_before_anything_is_sent(
    server: SelligentServer, given: dict[str, str], problem: str
) -> None:
    with pytest.raises(TryLater, match=problem) as raised:
        deliver(opened(server, **given), identify(1), track(2))
    assert raised.value.reason == "wrong_mapping"
    assert paths(server) == []


def test_a_segment_that_does_not_exist_stops_nobody_else(server: SelligentServer) -> None:
    outcomes = deliver(opened(server), identify(1), group(2, segment="nobody"), group(3), track(4))
    assert [(outcome.status, outcome.code) for outcome in outcomes][1] == ("rejected", 404)
    assert [outcome.status for outcome in outcomes if outcome.status != "rejected"] == ["delivered"] * 3
    assert server.members("customers", "vip", "CUSTOMER_ID") == {"u1"}


@pytest.mark.parametrize(
    ("event", "problem"),
    [
        (group(1, segment="../x"), "API name"),
        (group(1, userlist="others"), "group_lists"),
        (group(1, matchkey="PHONE"), "not a field"),
        (group(1, method="SET"), "ADD or REMOVE"),
    ],
)
def test_a_group_call_that_leads_elsewhere_is_rejected(server: SelligentServer, event: Any, problem: str) -> None:
    with pytest.raises(EventRejected, match=problem):
        deliver(opened(server), event)


@pytest.mark.parametrize(
    "event",
    [
        track(1, event="Secret Viewed"),
        {**identify(1), "userId": ""},
        {**track(1), "userId": None, "anonymousId": "a"},
        {"type": "screen", "userId": "u1", "messageId": "m"},
    ],
)
def test_calls_that_the_settings_leave_out_are_skipped(server: SelligentServer, event: Any) -> None:
    with pytest.raises(EventSkipped):
        deliver(opened(server), event)


def test_the_preview_shows_all_requests_without_the_secret(server: SelligentServer) -> None:
    made = opened(server)
    text = made.preview(batch(made, identify(1, email="a@b.c"), track(2, price=1.50), group(3, method="REMOVE")))
    base = f"{server.url}/Portal/Api/organizations/Acme"
    lines = text.splitlines()
    assert [line for line in lines if " http" in line] == [
        f"POST {base}/lists/customers/data/load?fields=CUSTOMER_ID,MAIL&keyFields=CUSTOMER_ID&mode=Sync",
        f"POST {base}/lists/segment_events/data/load?fields=EVENT_ID,CUSTOMER_ID,EVENT,HAPPENED_AT,PRICE"
        "&keyFields=EVENT_ID&mode=Sync",
        f"POST {base}/journeys/custom/orders/entrypoints/placed/trigger",
        f"DELETE {base}/lists/customers/segments/vip/data?fields=CUSTOMER_ID&keyFields=CUSTOMER_ID&mode=Sync",
    ]
    assert '[["u1","a@b.c"]]' in lines
    assert json.loads(lines[-1]) == [["u1"]]
    assert "X-ApiKey: ********" in lines
    assert "service-" not in text
    assert server.calls == []


@pytest.mark.parametrize("secret", ["", "key", "key:", ":secret", "key:ü"])
def test_a_secret_that_is_none_of_a_service_account_is_refused(server: SelligentServer, secret: str) -> None:
    with pytest.raises(UsageError, match="secret"):
        integration("selligent", secret, url=server.url, **SETTINGS)
