"""A local Selligent (Marigold Engage): lists, segments and journeys behind the REST API, as its documents describe it.

It is the oracle of the integration `selligent`. Sources of the rules, by the letters in the comments:

- [api] developers.meetmarigold.com/engage/api/smc-v1, "Authentication" and "HTTP status codes"; its changelog
- [rb] github.com/catawiki/selligent-rb, a client: paths, parameters, bodies
- [segment] Segment's catalog, "Selligent Marketing Cloud Destination"
- [news] getstarted.meetmarigold.com, "What's new", version 5.89 of March 2025
- [tealium] docs.tealium.com, "Selligent by Marigold connector", batch limits
- [strict] not documented; the server takes the reading that is harder for a client
"""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.targets import Received, Reply, Target

KEY = "service-key:service-secret"
ORGANIZATION = "Acme"
#: [tealium] Records and bytes of a request.
MAX_RECORDS, MAX_BYTES = 2500, 20 << 20

_LIST = r"/lists/(?P<list>[^/]+)"
_SEGMENT = _LIST + r"/segments/(?P<segment>[^/]+)"
#: [rb] Endpoints: method, path below `/Portal/Api/organizations/<organization>` [rb], and the name of the right to use.
ENDPOINTS = (
    ("GET", re.compile(_LIST + "/fields"), "fields"),
    ("POST", re.compile(_LIST + "/data/load"), "load"),
    ("POST", re.compile(_SEGMENT + "/data/load"), "segment_load"),
    ("DELETE", re.compile(_SEGMENT + "/data"), "segment_delete"),
    ("POST", re.compile(r"/journeys/custom/(?P<journey>[^/]+)/entrypoints/(?P<entry>[^/]+)/trigger"), "trigger"),
)
#: [rb] `data_type` and `length` of a list's field; the check of a value by type is ours.
TYPES: dict[str, Callable[[Any], bool]] = {
    "Text": lambda value: isinstance(value, str),
    "Integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "Float": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "Boolean": lambda value: isinstance(value, bool),
}


class ApiError(Exception):
    """An answer other than 2xx: the status, and the message in its body."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Field:
    """A field of a list."""

    type: str = "Text"
    length: int = 100


@dataclass
class UserList:
    """A list: its fields, the unique index (the business key of 1 to 3 fields), its records and its segments.

    A static segment has the numbers of records. It has to exist before it is filled [segment].
    """

    fields: dict[str, Field]
    key: tuple[str, ...] = ()
    records: list[dict[str, Any]] = field(default_factory=list)
    segments: dict[str, set[int]] = field(default_factory=dict)
    busy: threading.Lock = field(default_factory=threading.Lock)

    def find(self, fields: Sequence[str], values: Sequence[Any]) -> int | None:
        """Return the number of the record with these values."""
        if fields == [*self.key]:
            return self._index().get(tuple(map(repr, values)))
        known = (n for n, record in enumerate(self.records) if [record.get(name) for name in fields] == [*values])
        return next(known, None)

    def _index(self) -> dict[tuple[str, ...], int]:
        if len(self._found) != len(self.records):  # keys of records do not change
            self._found = {tuple(repr(r[name]) for name in self.key): n for n, r in enumerate(self.records)}
        return self._found

    _found: dict[tuple[str, ...], int] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """A request as it came in."""

    endpoint: str
    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Fault:
    """What happens to a request instead of its normal answer.

    Without a status the connection is closed. `is_applied`: the change is made nevertheless. `delay` is in seconds; the
    list is busy meanwhile.
    """

    status: int | None = None
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    is_applied: bool = False
    delay: float = 0


class SelligentServer(Target):
    """A target that answers from lists and journeys, its state, which tests read."""

    def __init__(self, lists: dict[str, UserList], port: int = 0) -> None:
        self.lists = lists
        #: Triggers of the entry points of journeys: the body of each, in order. An entry point has to exist.
        self.journeys: dict[tuple[str, str], list[Any]] = {}
        #: What the service account may do [api: "under endpoints you can specify which actions … can be performed"].
        self.rights = {name for *_, name in ENDPOINTS}
        self.calls: list[Call] = []
        #: Called for each request that is authorized; what it returns happens instead of the normal answer.
        self.fault: Callable[[Call], Fault | None] = lambda _: None
        #: The highest number of requests at a time, over all lists.
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        super().__init__(self._respond, port)

    def rows(self, name: str) -> dict[Any, dict[str, Any]]:
        """Return the records of a list by the first field of its key."""
        found = self.lists[name]
        return {record[found.key[0]]: record for record in found.records}

    def members(self, name: str, segment: str, by: str) -> set[Any]:
        """Return a field's values of the records in a segment."""
        found = self.lists[name]
        return {found.records[number][by] for number in found.segments[segment]}

    def _respond(self, request: Received) -> Reply:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            call, found = self._route(request)
            fault = self.fault(call)
            if fault is None or fault.is_applied:
                answer = self._apply(call, found, fault.delay if fault else 0)
            if fault:
                return Reply(fault.status, fault.body, fault.headers)
            return Reply(200, json.dumps(answer).encode())
        except ApiError as exc:
            # [api] 400: "The body of the response will have more info". Its form is not documented [strict].
            return Reply(exc.status, json.dumps({"errors": [{"message": str(exc)}]}).encode())
        finally:
            with self._lock:
                self._at_once -= 1

    def _route(self, request: Received) -> tuple[Call, dict[str, str]]:
        # [api, rb] The header has key and secret of a service account.
        if request.headers.get("x-apikey") != KEY:
            raise ApiError(401, "the access key was incorrect")
        parts = urlsplit(request.path)
        base = f"/Portal/Api/organizations/{ORGANIZATION}"
        if not parts.path.startswith(base + "/"):
            raise ApiError(404, "the resource cannot be found")
        path = parts.path.removeprefix(base)
        matches = [(m, name, found) for m, pattern, name in ENDPOINTS if (found := pattern.fullmatch(path))]
        allowed = [(name, found) for m, name, found in matches if m == request.method]
        if not allowed:
            raise ApiError(405 if matches else 404, "the method is not allowed" if matches else "not found")
        ((name, found),) = allowed
        # [api] 401 also for an endpoint that the account may not use.
        if name not in self.rights:
            raise ApiError(401, f"the service account may not use {name}")
        if len(request.body) > MAX_BYTES:
            raise ApiError(413, "the request is too large")
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        places = {key: unquote(value) for key, value in found.groupdict().items()}
        try:
            content = request.json if request.body else None
        except ValueError:
            raise ApiError(400, "the body is not JSON") from None
        call = Call(name, request.method, path, query, content, request.headers)
        with self._lock:
            self.calls.append(call)
        return call, places

    def _apply(self, call: Call, places: dict[str, str], seconds: float) -> Any:
        if call.endpoint == "trigger":
            return self._trigger(call, places)
        found = self.lists.get(places["list"])
        if found is None:
            raise ApiError(404, f"there is no list {places['list']}")
        if call.endpoint == "fields":
            return {"fields": [{"name": n, "data_type": f.type, "length": f.length} for n, f in found.fields.items()]}
        # [api, changelog] One bulk call per list at a time; a second one is refused at once.
        if not found.busy.acquire(blocking=False):
            raise ApiError(429, "another bulk operation on this list is running")
        try:
            self._closing.wait(seconds)
            return self._load(found, call, places)
        finally:
            found.busy.release()

    def _load(self, found: UserList, call: Call, places: dict[str, str]) -> Any:
        # [rb] Parameters with names separated by commas; `mode` is Sync or Stream; the body is an array of arrays.
        fields, keys = (call.query.get(name, "").split(",") for name in ("fields", "keyFields"))
        if call.query.get("mode") not in {"Sync", "Stream"}:
            raise ApiError(400, "mode is neither Sync nor Stream")
        rows = call.body
        if (
            not isinstance(rows, list)
            or not rows
            or not all(isinstance(r, list) and len(r) == len(fields) for r in rows)
        ):
            raise ApiError(400, "the data is not an array of arrays with one value for each field")
        if len(rows) > MAX_RECORDS:
            raise ApiError(413, f"more than {MAX_RECORDS} records")
        if unknown := [name for name in [*fields, *(keys if keys != [""] else [])] if name not in found.fields]:
            raise ApiError(400, f"the list has no field {unknown[0]}")
        if call.endpoint == "load":
            return self._upsert(found, fields, keys, rows)
        members = found.segments.get(places["segment"])
        if members is None:
            raise ApiError(404, f"there is no segment {places['segment']}")
        # [strict] Values that no record of the list has are ignored, so a profile has to be there before.
        numbers = {found.find(fields, row) for row in rows} - {None}
        if call.endpoint == "segment_load":
            members |= numbers  # type: ignore[arg-type]
        else:
            members -= numbers
        return {"processed": len(rows)}

    def _upsert(self, found: UserList, fields: list[str], keys: list[str], rows: list[list[Any]]) -> Any:
        if keys != [""]:
            # [api, changelog] Key fields need a unique index, and [rb] are among the fields.
            if tuple(keys) != found.key:
                raise ApiError(400, f"there is no unique index on {','.join(keys)}")
            places = [fields.index(name) for name in keys if name in fields]
            given = [tuple(repr(row[n]) for n in places) for row in rows]
            if len(places) < len(keys):
                raise ApiError(400, "a key field is not among the fields")
            # [strict] Without `deduplication` [rb] a call has each key once.
            if len(set(given)) < len(given):
                raise ApiError(400, "the data has a key twice")
            if any(row[n] is None for row in rows for n in places):
                raise ApiError(422, "a key is empty")
        # [strict] A call with one wrong record changes nothing.
        for number, row in enumerate(rows):
            for name, value in zip(fields, row, strict=True):
                self._check(number, name, found.fields[name], value)
        for row in rows:
            record = dict(zip(fields, row, strict=True))
            at = None if keys == [""] else found.find(keys, [record[name] for name in keys])
            if at is None:
                found.records.append(dict.fromkeys(found.fields) | record)
            else:  # [news] Upsert by default. An empty text is not null. Fields that are not named keep their values.
                found.records[at].update(record)
        return {"processed": len(rows)}

    def _check(self, number: int, name: str, expected: Field, value: Any) -> None:
        if value is None:
            return
        if not TYPES[expected.type](value):
            raise ApiError(422, f"record {number}: {value!r} of {name} is not of type {expected.type}")
        if expected.type == "Text" and len(value) > expected.length:
            raise ApiError(422, f"record {number}: {value!r} of {name} has more than {expected.length} characters")

    def _trigger(self, call: Call, places: dict[str, str]) -> Any:
        # [rb] {"user_id": 0, "parameter_values": {…}}
        found = self.journeys.get((places["journey"], places["entry"]))
        if found is None:
            raise ApiError(404, "there is no such journey or entry point")
        body = call.body
        if not isinstance(body, dict) or not isinstance(body.get("user_id"), int):
            raise ApiError(400, "user_id is missing")
        if not isinstance(body.get("parameter_values"), dict):
            raise ApiError(400, "parameter_values is missing")
        with self._lock:
            found.append(body)
        return {"result": "triggered"}


def acme() -> dict[str, UserList]:
    """Return the lists of a small sender: profiles with two segments, and the events data list."""
    profiles = {"CUSTOMER_ID": Field(), "MAIL": Field(), "PLAN": Field(length=10), "AGE": Field("Integer")}
    events = {
        "EVENT_ID": Field(),
        "CUSTOMER_ID": Field(),
        "EVENT": Field(),
        "HAPPENED_AT": Field(),
        "PRICE": Field("Float"),
    }
    return {
        "customers": UserList(profiles, ("CUSTOMER_ID",), segments={"vip": set(), "lapsed": set()}),
        "segment_events": UserList(events, ("EVENT_ID",)),
    }


@contextmanager
def selligent(lists: dict[str, UserList] | None = None) -> Iterator[SelligentServer]:
    """Run a server for the body."""
    server = SelligentServer(acme() if lists is None else lists)
    server.journeys["orders", "placed"] = []
    try:
        yield server
    finally:
        server.close()
