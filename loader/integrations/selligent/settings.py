"""The settings of the integration `selligent`: lists, fields and where their values come from, journeys, requests.

Much of Selligent's API is agreed with each customer or not documented, so paths, parameters and names are settings.
Sources of the defaults: [segment] Segment's catalog, "Selligent Marketing Cloud Destination"; [rb] the client
github.com/catawiki/selligent-rb; [tealium] docs.tealium.com, "Selligent by Marigold connector".
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from loader.errors import UsageError
from loader.integrations.protocol import Options, Setting
from loader.integrations.selligent.sources import Source, read_source

#: [tealium] Records in a request. The size is half of theirs, 20 MB.
MAX_RECORDS, MAX_BYTES = 2500, 10 << 20
#: Seconds for which an incomplete batch may wait at most.
MAX_WAIT = 3600
#: A part of a mapping, `FIELD=source`, in which a constant stands in quotes.
_PAIR = re.compile(r'\s*([^\s,="]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^,"=]+)\s*(,|$)')
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_YES_NO = ("yes", "no")

SETTINGS = (
    Setting("url", "Address of the environment, https://<customer>.slgnt.eu or .us."),
    Setting("organization", "Name of the organization, as Selligent shows it at the top right."),
    Setting("profile_list", "API name of the list of profiles."),
    Setting("business_key", "Field of its business key, FIELD or FIELD=source; the source is userId if it is missing."),
    Setting("profile_fields", "Other fields of a profile: FIELD=source, …; only these are sent.", ""),
    # [segment] "Events data list API name. The default value is segment_events."
    Setting("events_list", "API name of the events data list; empty: no rows of events.", "segment_events"),
    Setting("events_key", "Field with a unique index, so that a repeat changes nothing; empty: none.", "EVENT_ID"),
    Setting(
        "events_fields",
        "Fields of its rows: FIELD=source, …; only these are sent.",
        "EVENT_ID=messageId, USER_ID=userId, EVENT=event, EVENT_TIME=timestamp",
    ),
    Setting("allowed_events", "Names of track events that become rows, separated by commas, or *.", ""),
    Setting(
        "journeys",
        'Entry points that events trigger, as JSON: {"EVENT": {"journey": "API_NAME", "entrypoint": "NAME", '
        '"parameters": {"PARAMETER": "source"}}}.',
        "{}",
    ),
    Setting("group", "Whether group calls fill static segments.", "yes", choices=_YES_NO),
    Setting("group_lists", "API names of the lists whose segments they may fill; empty: profile_list.", ""),
    *(
        Setting(call, f"Whether {call} calls become rows of events.", "no", choices=_YES_NO)
        for call in ("alias", "page")
    ),
    Setting("screen", "Whether screen calls become rows of events.", "no", choices=_YES_NO),
    Setting("records", "Maximum number of events in a batch.", str(MAX_RECORDS)),
    Setting("max_wait", "Seconds for which an incomplete batch waits for more events; 0: not at all.", "10"),
    Setting("check_fields", "Whether to compare the fields with those of the lists first.", "yes", choices=_YES_NO),
    # [rb] Paths, parameters and bodies of the requests. A parameter without a value is left out.
    Setting("api_path", "Path of the organization.", "/Portal/Api/organizations/{organization}"),
    Setting("load_path", "Upsert into a list.", "/lists/{list}/data/load?fields={fields}&keyFields={keys}&mode=Sync"),
    Setting("add_path", "Fill a segment.", "/lists/{list}/segments/{segment}/data/load?fields={fields}&mode=Sync"),
    Setting(
        "remove_path",
        "Remove from a segment, by DELETE.",
        "/lists/{list}/segments/{segment}/data?fields={fields}&keyFields={fields}&mode=Sync",
    ),
    Setting("trigger_path", "Trigger a journey.", "/journeys/custom/{journey}/entrypoints/{entrypoint}/trigger"),
    Setting("fields_path", "Read the fields of a list, by GET.", "/lists/{list}/fields"),
)

#: Fields by name, with the source of each.
Fields = Mapping[str, Source]


@dataclass(frozen=True, slots=True)
class Journey:
    """An entry point of a journey, and where the values of its parameters come from."""

    name: str
    entrypoint: str
    parameters: Fields


@dataclass(frozen=True, slots=True)
class SelligentSettings:
    """The checked settings. `allowed_events` is None for all."""

    base: str
    profile_list: str
    key: str
    key_source: Source
    profile_fields: Fields
    events_list: str
    events_key: str
    events_fields: Fields
    allowed_events: frozenset[str] | None
    journeys: Mapping[str, Journey]
    group_lists: frozenset[str]
    switches: frozenset[str]
    records: int
    max_wait: int
    paths: Mapping[str, str]

    def is_on(self, switch: str) -> bool:
        """Return whether a setting that is yes or no is yes."""
        return switch in self.switches

    def url(self, name: str, **values: str) -> str:
        """Return the URL of a request, with values in the path and the parameters quoted."""
        path, _, query = self.paths[name].partition("?")
        pairs = [part for part in query.split("&") if part and _fill(part.partition("=")[2], values)]
        parameters = "&".join(_fill(part, values) for part in pairs)
        return self.base + _fill(path, values) + ("?" + parameters if parameters else "")


def _fill(template: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: quote(values[found[1]], safe=","), template)


def read_settings(options: Options) -> SelligentSettings:
    """Return the checked settings.

    Raises UsageError for one that is invalid, for a key that is not among the fields, and for a mapping of nothing.
    """
    given = options.settings
    base = _read_base(given["url"], given["api_path"], given["organization"].strip())
    for name in ("organization", "profile_list"):
        if not given[name].strip():
            raise UsageError(f"the setting {name} is empty")
    key_field, key_source = _read_business_key(given["business_key"])
    profile_fields = _read_fields("profile_fields", given["profile_fields"])
    if key_field in profile_fields:
        raise UsageError(f"profile_fields has the business key {key_field}; leave it out there")
    events_list, events_key = given["events_list"].strip(), given["events_key"].strip()
    events_fields = _read_fields("events_fields", given["events_fields"])
    if events_list and not events_fields:
        raise UsageError("the setting events_fields is empty; write FIELD=source, or leave events_list empty")
    if events_list and events_key and events_key not in events_fields:
        raise UsageError(f"events_fields has no {events_key}, which is the events_key")
    allowed = given["allowed_events"].strip()
    return SelligentSettings(
        base,
        given["profile_list"].strip(),
        key_field,
        key_source,
        profile_fields,
        events_list,
        events_key,
        events_fields,
        None if allowed == "*" else frozenset(_names(allowed)),
        _read_journeys(given["journeys"]),
        frozenset(_names(given["group_lists"]) or [given["profile_list"].strip()]),
        frozenset(name for name, value in given.items() if value == "yes"),
        _number(given, "records", 1, MAX_RECORDS),
        _number(given, "max_wait", 0, MAX_WAIT),
        {name: _check_path(name, given[name]) for name in _PATHS},
    )


#: The placeholders of each path.
_PATHS = {
    "load_path": {"list", "fields", "keys"},
    "add_path": {"list", "segment", "fields"},
    "remove_path": {"list", "segment", "fields"},
    "trigger_path": {"journey", "entrypoint"},
    "fields_path": {"list"},
}


def _read_business_key(text: str) -> tuple[str, Source]:
    """Return the field of the business key and its source."""
    fields = _read_fields("business_key", text if "=" in text else f"{text}=userId")
    if len(fields) != 1:
        raise UsageError("the setting business_key has to be one field; write FIELD or FIELD=source")
    ((field, source),) = fields.items()
    return field, source


def _check_path(name: str, path: str) -> str:
    if not path.startswith("/") or (unknown := set(_PLACEHOLDER.findall(path)) - _PATHS[name]):
        more = f"; it can have {', '.join(f'{{{part}}}' for part in sorted(_PATHS[name]))}"
        wrong = f"has {{{min(unknown)}}}" if path.startswith("/") else "does not begin with /"
        raise UsageError(f"the setting {name} {wrong}{more}")
    return path


def _read_base(url: str, path: str, organization: str) -> str:
    """Return what the URLs of all requests begin with."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.path not in {"", "/"}:
        raise UsageError("the setting url is invalid; write https://<customer>.slgnt.eu")
    if not path.startswith("/") or set(_PLACEHOLDER.findall(path)) - {"organization"}:
        raise UsageError("the setting api_path is invalid; it begins with / and can have {organization}")
    return f"{parts.scheme}://{parts.netloc}{_fill(path.rstrip('/'), {'organization': organization})}"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _number(given: Mapping[str, str], name: str, lowest: int, highest: int) -> int:
    text = given[name]
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and lowest <= int(text) <= highest):
        raise UsageError(f"the setting {name} is {text!r}; write a number from {lowest} to {highest}")
    return int(text)


def _read_fields(name: str, text: str) -> Fields:
    """Return the fields of a mapping `FIELD=source, FIELD="constant"`."""
    fields: dict[str, Source] = {}
    position = 0
    while position < len(text.rstrip()):
        found = _PAIR.match(text, position)
        if found is None:
            raise UsageError(f"the setting {name} cannot be read at {text[position:][:30]!r}; write FIELD=source, …")
        if found[1] in fields:
            raise UsageError(f"the setting {name} has {found[1]} twice")
        fields[found[1]] = read_source(name, found[2].strip())
        position = found.end()
    return fields


def _read_journeys(text: str) -> Mapping[str, Journey]:
    try:
        found = json.loads(text)
        return {event: _read_journey(entry) for event, entry in found.items()}
    except (ValueError, AttributeError, KeyError, TypeError):
        raise UsageError(
            'the setting journeys is invalid; write {"EVENT": {"journey": "API_NAME", "entrypoint": "NAME", '
            '"parameters": {"PARAMETER": "source"}}}'
        ) from None


def _read_journey(entry: Any) -> Journey:
    name, entrypoint = entry["journey"], entry["entrypoint"]
    if entry.keys() - {"journey", "entrypoint", "parameters"} or not (name and entrypoint):
        raise ValueError
    parameters = {
        str(parameter): read_source("journeys", source) for parameter, source in entry.get("parameters", {}).items()
    }
    return Journey(str(name), str(entrypoint), parameters)
