"""Name what an erasure cannot reach: sources, backups, replicas, and systems to which events were forwarded."""

from collections.abc import Collection, Mapping

from loader.postgres.connection import Warehouse

#: The request for erasure that each kind of integration offers, by its vendor's documentation.
REQUESTS: Mapping[str, str] = {
    "segment": "Segment: POST /regulations with SUPPRESS_WITH_DELETE, by userId",
    "amplitude": "Amplitude: POST /api/2/deletions/users (User Privacy API)",
    "mixpanel": "Mixpanel: POST /api/app/data-deletions/v3.0 (GDPR API)",
    "posthog": "PostHog: DELETE /api/projects/:project/persons/:id with delete_events=true",
    "ga4": "Google Analytics: User Deletion API, userDeletionRequests.upsert",
    "selligent": "Selligent: delete the profile in the list, and withdraw its membership of segments",
    "s3": "S3: delete or rewrite the objects with the person's events",
    "webhook": "ask whoever runs the receiver",
}
_FILES = """
    select distinct files.uri
    from erased_keys as keys
    inner join chunks on keys.uuid_ts = chunks.uuid_ts
    inner join files on chunks.load_id = files.load_id
    where keys.subject = %s and files.uri <> 'rejects'
    order by files.uri
"""
_REJECTED_FILES = "select distinct uri from files where events_read > 0 and uri <> 'rejects' order by uri limit 1000"
_INTEGRATIONS = """
    select integrations.name, integrations.kind
    from integrations
    inner join forwarding on integrations.integration_id = forwarding.integration_id
    group by integrations.name, integrations.kind
    having sum(forwarding.events_delivered) > 0
    order by integrations.name
"""
_SPOOLS = "select distinct host, folder from forwarding order by host, folder"
_SITE = """
    select found.schema_name, found.table_name, count(*)
    from (
        select schema_name, table_name, user_id as name from site_visits
        union all
        select schema_name, table_name, user_id from site_conversions
        union all
        select schema_name, table_name, user_id from site_identifies
        union all
        select schema_name, table_name, email from site_identifies
    ) as found
    where found.name = any(%s)
    group by found.schema_name, found.table_name
    order by found.schema_name, found.table_name
"""
_REPLICAS = "select count(*) from pg_stat_replication"


def find_unreachable(warehouse: Warehouse, number: int, names: Collection[str]) -> list[Mapping[str, str]]:
    """Return what has data of a person and cannot be reached, in the current transaction, after `find_events`.

    Each has `what`, `where` and `todo`.
    """
    found: list[Mapping[str, str]] = []
    files = warehouse.fetch(_FILES, number) or warehouse.fetch(_REJECTED_FILES)
    todo = "delete the person's lines there, or the file; what is loaded again is suppressed"
    found += [_entry("file that was loaded", uri, todo) for (uri,) in files]
    for schema, table, count in warehouse.fetch(_SITE, list(names)):
        found.append(_entry("table of the site", f"{schema}.{table}", f"delete the person's {count:,} rows there"))
    for name, kind in warehouse.fetch(_INTEGRATIONS):
        found.append(_entry("integration", f"{name} ({kind})", REQUESTS.get(kind, REQUESTS["webhook"])))
    for host, folder in warehouse.fetch(_SPOOLS):
        found.append(
            _entry("spool, unless it was searched now", f"{folder} on {host}", "run the erasure there with --spool")
        )
    copies = "tables and views that other tools have copied"
    found.append(_entry("copies", copies, "delete the person's rows there, or copy the tables again"))
    ((replicas,),) = warehouse.fetch(_REPLICAS)
    if replicas:
        found.append(_entry("replicas", f"{replicas} are connected", "they follow; delayed ones later"))
    found.append(
        _entry(
            "backups and write-ahead log",
            "of the database server",
            "let them expire; erase again after a restore: `selligent-loader privacy erase` with the same identities",
        )
    )
    return found


def _entry(what: str, where: str, todo: str) -> Mapping[str, str]:
    return {"what": what, "where": where, "todo": todo}
