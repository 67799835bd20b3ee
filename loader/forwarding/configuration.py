"""Add, read, change and remove the integrations of a source."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from loader.errors import UsageError
from loader.forwarding.secrets import decrypt, encrypt
from loader.integrations.addresses import HttpRules, check_url
from loader.integrations.mapping import EventMapping, read_mapping
from loader.integrations.protocol import Integration
from loader.integrations.registry import check_settings, create, find_kind
from loader.postgres.connection import Warehouse

#: Names of integrations: they are written in events, log lines and metrics.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")

_COLUMNS = (
    *("integration_id", "name", "kind", "settings", "secret", "mapping", "send_personal_data", "allow_http"),
    *("allow_private", "retry_for", "backlog_limit", "status", "status_reason", "created_at"),
)
_SELECT = f"select {', '.join(_COLUMNS)} from integrations order by name"
_ADD = f"""
    insert into integrations ({", ".join(_COLUMNS[1:11])})
    values (%s, %s, %s::jsonb, %s, %s, %s, %s, %s, %s, %s)
    on conflict (name) do nothing
    returning integration_id
"""
_SET_STATUS = """
    update integrations set status = %s, status_reason = %s where name = %s returning integration_id
"""


@dataclass(frozen=True, slots=True)
class Configuration:
    """An integration as it is stored. `secret` is encrypted."""

    integration_id: str
    name: str
    kind: str
    settings: Mapping[str, str]
    secret: bytes | None = field(repr=False)
    mapping: str | None
    send_personal_data: bool
    allow_http: bool
    allow_private: bool
    retry_for: timedelta
    backlog_limit: int
    status: str
    status_reason: str | None
    created_at: datetime

    @property
    def is_enabled(self) -> bool:
        """Whether events are forwarded to it."""
        return self.status == "enabled"

    @property
    def label(self) -> str:
        """The name of its kind in the `integrations` object of events."""
        return find_kind(self.kind).label

    def open(self) -> Integration:
        """Return the integration, ready to send.

        Raises UsageError if its kind is not installed or its secret cannot be decrypted.
        """
        secret = decrypt(self.secret) if self.secret else ""
        return create(self.kind, self.settings, secret, HttpRules(self.allow_http, self.allow_private))

    def read_mapping(self) -> EventMapping:
        """Return the checked mapping."""
        return read_mapping(self.mapping, send_personal_data=self.send_personal_data or self._is("names_fields"))

    @property
    def reads_site(self) -> bool:
        """Whether it gets the calls of the company's site and apps instead of the e-mail events."""
        return self._is("reads_site")

    def _is(self, attribute: str) -> bool:
        """Return an attribute that a kind need not have; False if the kind is not installed."""
        with suppress(UsageError):
            return bool(getattr(find_kind(self.kind), attribute, False))
        return False

    def describe(self) -> dict[str, Any]:
        """Return what people may see: everything but the secret."""
        shown = {name: getattr(self, name) for name in _COLUMNS if name not in {"integration_id", "secret"}}
        return {**shown, "secret": "stored, encrypted" if self.secret else "none"}


@dataclass(frozen=True, slots=True)
class NewIntegration:
    """What is known of an integration before it is stored. `secret` is in clear."""

    name: str
    kind: str
    settings: Mapping[str, str] = field(default_factory=dict)
    secret: str = field(default="", repr=False)
    mapping: str | None = None
    send_personal_data: bool = False
    allow_http: bool = False
    allow_private: bool = False
    retry_for: timedelta = timedelta(hours=24)
    backlog_limit: int = 10 * 10**9


def add_integration(warehouse: Warehouse, new: NewIntegration) -> None:
    """Check and store an integration. Events that are received from now on are forwarded to it.

    Raises UsageError for anything that is invalid, or a name that is taken.
    """
    if not _NAME.fullmatch(new.name):
        raise UsageError(f"{new.name!r} is not a name; write at most 63 letters, digits, and _ . - between them")
    rules = HttpRules(new.allow_http, new.allow_private)
    create(new.kind, new.settings, new.secret, rules)
    settings = check_settings(find_kind(new.kind), new.settings)
    if "url" in settings and "://" in settings["url"]:
        check_url(settings["url"], rules)
    read_mapping(new.mapping)
    secret = encrypt(new.secret) if new.secret else None
    values = (new.name, new.kind, json.dumps(settings), secret, new.mapping, new.send_personal_data)
    with warehouse.transaction():
        found = warehouse.fetch(_ADD, *values, new.allow_http, new.allow_private, new.retry_for, new.backlog_limit)
    if not found:
        raise UsageError(f"there is an integration {new.name!r} already; choose another --name, or remove it first")


def list_integrations(warehouse: Warehouse) -> list[Configuration]:
    """Return all integrations by name."""
    with warehouse.transaction():
        return read_integrations(warehouse)


def read_integrations(warehouse: Warehouse) -> list[Configuration]:
    """Return all integrations by name, in the current transaction."""
    rows = [dict(zip(_COLUMNS, row, strict=True)) for row in warehouse.fetch(_SELECT)]
    return [Configuration(**{**row, "integration_id": str(row["integration_id"])}) for row in rows]


def find_integration(warehouse: Warehouse, name: str) -> Configuration:
    """Return an integration.

    Raises UsageError if there is none of that name.
    """
    for found in list_integrations(warehouse):
        if found.name == name:
            return found
    raise UsageError(f"there is no integration {name!r}; `selligent-loader integrations list` lists them")


def set_status(warehouse: Warehouse, name: str, status: str, reason: str | None = None) -> None:
    """Enable, pause or disable an integration.

    Raises UsageError if there is none of that name.
    """
    with warehouse.transaction():
        found: Sequence[Any] = warehouse.fetch(_SET_STATUS, status, reason, name)
    if not found:
        find_integration(warehouse, name)


def remove_integration(warehouse: Warehouse, name: str) -> None:
    """Remove an integration with its secret, its cursors and its undelivered events.

    Raises UsageError if there is none of that name.
    """
    found = find_integration(warehouse, name)
    with warehouse.transaction():
        warehouse.fetch("delete from integrations where integration_id = %s", found.integration_id)
