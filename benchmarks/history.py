"""History: years of events that are stored already, made in the database itself."""

from benchmarks.loading import execute
from loader.config import Settings
from loader.events.fields import COLUMN_FIELDS

#: Which part of the events each collection has.
SHARES = {"email_delivered": 0.62, "email_opened": 0.32, "email_link_clicked": 0.06}
_INSERT = """
    insert into {schema}.{table} (
        id, user_id, event, event_text, context_ip, context_user_agent, context_traits_email,
        original_timestamp, sent_at, received_at, "timestamp", email_id, email_subject, campaign_id, campaign_name
    )
    select gen_random_uuid()::text, (1200000 + i % 300000)::text, '{table}', '{table}', '100.107.138.216',
        'Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X)', 'person' || i % 300000 || '@mail.example',
        moment, moment + interval '2 s', moment + interval '3 s', moment + interval '1 s',
        (i % 900)::text, 'Your weekly offers are here', (i % 400)::text, 'Newsletter of spring'
    from (
        select i, timestamptz '2020-01-01' + i * (interval '5 years' / {rows}) as moment
        from generate_series(1, {rows}) as i
    ) as history
"""


def fill(settings: Settings, rows: int) -> None:
    """Store so many events of the years before the samples', and as many rows in `tracks`."""
    shared = ", ".join(
        f'"{name}"' for name in (*COLUMN_FIELDS, "context_ip", "context_user_agent", "context_traits_email")
    )
    for table, share in SHARES.items():
        execute(settings, _INSERT.format(schema=settings.schema, table=table, rows=int(rows * share)))
        execute(
            settings,
            f"insert into {settings.schema}.tracks ({shared}) select {shared} from {settings.schema}.{table}",
        )
    for table in ("tracks", *SHARES):
        execute(settings, f"vacuum analyze {settings.schema}.{table}")
