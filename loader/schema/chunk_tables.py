"""SQLAlchemy metadata of the tables that record in which transactions events were stored and changed."""

from sqlalchemy import BigInteger, Boolean, Column, Index, MetaData, Table, false, text

from loader.schema.event_tables import timestamptz

POSITION = "Number of the refresh that read it, or read changes of it; null until then"


def chunks(metadata: MetaData, ops: str) -> Table:
    table = Table(
        "chunks",
        metadata,
        Column("uuid_ts", timestamptz(), primary_key=True, comment="What its rows have in uuid_ts"),
        Column("load_id", BigInteger, comment="The load; null for chunks older than this table"),
        Column("events", BigInteger, nullable=False, comment="Rows in tracks"),
        Column("is_taken", Boolean, nullable=False, server_default=false(), comment="Whether a refresh has read it"),
        Column("position", BigInteger, comment=POSITION),
        schema=ops,
        comment="One row per transaction in which a load stored events",
    )
    Index("chunks_new_idx", table.c.uuid_ts, postgresql_where=text("not is_taken"))
    Index("chunks_position_idx", table.c.position)
    return table


def changed_chunks(metadata: MetaData, ops: str) -> Table:
    return Table(
        "changed_chunks",
        metadata,
        Column("uuid_ts", timestamptz(), nullable=False, comment="The chunk"),
        schema=ops,
        comment="One row per change of a chunk's rows after they were loaded, until the next refresh",
    )
