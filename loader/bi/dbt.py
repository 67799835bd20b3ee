"""Describe the tables and views of a source as a dbt source: `sources.yml` with types, tests and freshness."""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import yaml

from loader.reports.dictionary import Column, Relation

#: Collections that usually have events every day, and the limits of `selligent-loader check`. The age of others says
#: nothing. An event of the future must not make a table look fresh.
DAILY = ("tracks", "email_delivered", "email_opened", "email_link_clicked")
FRESHNESS = {
    "warn_after": {"count": 26, "period": "hour"},
    "error_after": {"count": 50, "period": "hour"},
    "filter": "timestamp <= now()",
}
#: Columns that identify a row alone, by view or table.
KEYS = {
    "campaigns": "campaign_id",
    "email_events": "event_key",
    "identity_coverage": "matched_by",
    "mailbox_domains": "mailbox_domain",
    "recipients": "person",
    "settings": "name",
}
#: Columns of event tables that are never null.
REQUIRED = ("id", "event", "received_at", "uuid_ts")
#: Views with a campaign, which is in `campaigns` too.
WITH_CAMPAIGN = ("campaign_days", "campaign_funnel", "email_messages", "links")


def as_dbt(schema: str, relations: Sequence[Relation]) -> str:
    """Return `sources.yml` for the tables and views of a schema, as dbt 1.10 and later read it."""
    source = {
        "name": schema,
        "schema": schema,
        "description": "E-mail events of Selligent, with the views of selligent-loader",
        "loader": "selligent-loader",
        "tables": [_describe_table(relation, schema) for relation in relations],
    }
    text = yaml.safe_dump({"version": 2, "sources": [source]}, sort_keys=False, allow_unicode=True, width=120)
    return f"# Written by `selligent-loader dictionary --format dbt`.\n{text}"


def _describe_table(relation: Relation, schema: str) -> dict[str, Any]:
    table: dict[str, Any] = {"name": relation.name, "description": _escape(relation.meaning)}
    if relation.name in DAILY:
        table["config"] = {"loaded_at_field": "timestamp", "freshness": deepcopy(FRESHNESS)}
    is_event_table = relation.kind == "table" and any(column.name == "uuid_ts" for column in relation.columns)
    table["columns"] = [
        _describe_column(column, _tests(relation, column.name, schema, is_event_table=is_event_table))
        for column in relation.columns
    ]
    return table


def _describe_column(column: Column, tests: Sequence[Any]) -> dict[str, Any]:
    described = {"name": column.name, "description": _escape(column.meaning), "data_type": column.type}
    return {**described, "data_tests": list(tests)} if tests else described


def _tests(relation: Relation, column: str, schema: str, *, is_event_table: bool) -> list[str | Mapping[str, Any]]:
    if KEYS.get(relation.name) == column:
        return ["unique"] if column == "mailbox_domain" else ["unique", "not_null"]
    if is_event_table and column in REQUIRED:
        return ["not_null"]
    if relation.name in WITH_CAMPAIGN and column == "campaign_id":
        to = f"source('{schema}', 'campaigns')"
        return ["not_null", {"relationships": {"arguments": {"to": to, "field": "campaign_id"}}}]
    return []


def _escape(text: str) -> str:
    """Return a description in which dbt finds no template: names that senders chose may be in it.

    >>> _escape("property `{{ env_var('X') }}`")
    "property `{ { env_var('X') }}`"
    """
    return re.sub(r"\{(?=[{%#])", "{ ", text)
