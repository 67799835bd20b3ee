"""Calls for Selligent, and what its lists and segments hold after them: an independent model of the integration."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from loader.integrations.outcomes import DeliveryError, Outcome
from loader.integrations.protocol import Batch, Integration
from tests.support.selligent_server import KEY, ORGANIZATION, SelligentServer
from tests.support.targets import batch, integration

JOURNEYS = {
    "Order Completed": {
        "journey": "orders",
        "entrypoint": "placed",
        "parameters": {"PRICE": "properties.price", "SHOP": '"web"'},
    }
}
SETTINGS = {
    "organization": ORGANIZATION,
    "profile_list": "customers",
    "business_key": "CUSTOMER_ID",
    "profile_fields": "MAIL=traits.email, PLAN=traits.plan, AGE=traits.age",
    "events_fields": "EVENT_ID=messageId, CUSTOMER_ID=userId, EVENT=event, HAPPENED_AT=timestamp, "
    "PRICE=properties.price",
    "allowed_events": "Order Completed, Cart Viewed",
    "journeys": json.dumps(JOURNEYS),
    "alias": "yes",
    "page": "yes",
    "max_wait": "0",
}
TRAITS = {"MAIL": "email", "PLAN": "plan", "AGE": "age"}


def opened(server: SelligentServer, **settings: str) -> Integration:
    """Return the integration for a server."""
    return integration("selligent", KEY, **{**SETTINGS, "url": server.url, **settings})


def call(kind: str, number: int, user: str | None = "u1", **fields: Any) -> dict[str, Any]:
    """Return a call as the endpoint stores it."""
    moment = f"2026-03-01T10:00:{number % 60:02d}.000Z"
    made = {"type": kind, "messageId": f"m{number}", "userId": user, "originalTimestamp": moment, **fields}
    return {name: value for name, value in made.items() if value is not None}


def identify(number: int, user: str = "u1", **traits: Any) -> dict[str, Any]:
    return call("identify", number, user, traits=traits)


def track(number: int, user: str = "u1", event: str = "Order Completed", **properties: Any) -> dict[str, Any]:
    return call("track", number, user, event=event, properties=properties)


def group(number: int, user: str = "u1", segment: str = "vip", **traits: Any) -> dict[str, Any]:
    return call("group", number, user, groupId=segment, traits=traits)


def deliver(made: Integration, *calls: Mapping[str, Any]) -> Sequence[Outcome]:
    """Deliver a batch of calls."""
    return made.deliver(batch(made, *calls))


def deliver_all(
    made: Integration, events: Iterable[Mapping[str, Any]], sizes: Sequence[int], attempts: int = 50
) -> Any:
    """Deliver calls in batches until each is delivered or rejected; return the ids of the rejected ones."""
    left, rejected = list(events), {}
    turn = 0
    while left:
        size = sizes[turn % len(sizes)]
        now, turn = left[:size], turn + 1
        assert turn < attempts + len(left), "the calls are not delivered"
        made_batch: Batch = batch(made, *now)
        try:
            outcomes = made.deliver(made_batch)
        except DeliveryError:
            continue
        assert len(outcomes) == len(now)
        again = [event for event, outcome in zip(now, outcomes, strict=True) if outcome.status == "retry"]
        found = zip(now, outcomes, strict=True)
        rejected.update({event["messageId"]: outcome for event, outcome in found if outcome.status == "rejected"})
        left = again + left[size:]
    return rejected


class Model:
    """What the server holds after calls: profiles by key, rows by id, members by segment, triggers in order."""

    def __init__(self) -> None:
        self.profiles: dict[str, dict[str, Any]] = {}
        self.rows: dict[str, dict[str, Any]] = {}
        self.members: dict[str, set[str]] = {"vip": set(), "lapsed": set()}
        self.triggers: list[tuple[str, Any]] = []
        self.rejected: set[str] = set()
        #: Those of them that a later call with the same fields may have replaced before they were sent.
        self.replaceable: set[str] = set()
        self._rejected_of: dict[tuple[str, ...], set[str]] = {}

    def apply(self, event: Mapping[str, Any]) -> None:
        """Apply a call, as the vendor would if it were alone."""
        kind, user, name = event["type"], event["userId"], event.get("event")
        if kind == "identify":
            given = {field: event["traits"][trait] for field, trait in TRAITS.items() if trait in event["traits"]}
            rejected = self._rejected_of.setdefault((user, *given), set())
            if len(str(given.get("PLAN") or "")) > 10:
                self.rejected.add(event["messageId"])
                rejected.add(event["messageId"])
                return
            self.replaceable |= rejected
            blank = {"CUSTOMER_ID": user, "MAIL": None, "PLAN": None, "AGE": None}
            self.profiles[user] = {**self.profiles.get(user, blank), **given}
        elif kind == "group":
            members = self.members[event["groupId"]]
            if user in self.profiles and event["traits"].get("method") != "REMOVE":
                members.add(user)
            if event["traits"].get("method") == "REMOVE":
                members.discard(user)
        elif kind in {"alias", "page"} or name in {"Order Completed", "Cart Viewed"}:
            self.rows[event["messageId"]] = {
                "EVENT_ID": event["messageId"],
                "CUSTOMER_ID": user,
                "EVENT": name or kind,
                "HAPPENED_AT": event["originalTimestamp"],
                "PRICE": event.get("properties", {}).get("price"),
            }
            if name == "Order Completed":
                self.triggers.append((user, event["properties"].get("price")))

    def check(self, server: SelligentServer) -> None:
        """Check that the server holds the same."""
        assert server.rows("customers") == self.profiles
        assert server.rows("segment_events") == self.rows
        for segment, members in self.members.items():
            assert server.members("customers", segment, "CUSTOMER_ID") == members

    def check_rejected(self, found: set[str]) -> None:
        """Check that exactly the calls that the vendor refuses were set aside."""
        assert self.rejected - self.replaceable <= found <= self.rejected


def some_calls(most: int = 40) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Return random sequences of calls of a few people, with a plan that is too long now and then."""
    users = st.sampled_from(["u1", "u2", "anna@example.com"])
    plans = st.sampled_from(["free", "", "ümlaut", None, "a plan that is too long"])
    traits = st.fixed_dictionaries(
        {},
        optional={"email": st.sampled_from(["a@b.c", None]), "plan": plans, "age": st.integers(0, 99), "x": st.none()},
    )
    methods = st.sampled_from([{}, {"method": "ADD"}, {"method": "REMOVE", "userlist": "customers"}])
    kinds: st.SearchStrategy[tuple[str, str, dict[str, Any]]] = st.one_of(
        st.tuples(st.just("identify"), users, st.fixed_dictionaries({"traits": traits})),
        st.tuples(
            st.just("track"),
            users,
            st.fixed_dictionaries(
                {
                    "event": st.sampled_from(["Order Completed", "Cart Viewed", "Not Allowed"]),
                    "properties": st.fixed_dictionaries({}, optional={"price": st.sampled_from([1, 2.5])}),
                }
            ),
        ),
        st.tuples(
            st.just("group"),
            users,
            st.fixed_dictionaries({"groupId": st.sampled_from(["vip", "lapsed"]), "traits": methods}),
        ),
        st.tuples(st.sampled_from(["alias", "page"]), users, st.just({})),
    )
    return st.lists(kinds, max_size=most).map(
        lambda found: [call(kind, n, user, **fields) for n, (kind, user, fields) in enumerate(found)]
    )
