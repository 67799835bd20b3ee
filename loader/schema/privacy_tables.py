"""SQLAlchemy metadata of the tables in the ops schema that erasure, suppression and retention need."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Identity,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Table,
    Text,
    false,
    func,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION, JSONB

from loader.schema.event_tables import timestamptz


def suppression_key(metadata: MetaData, ops: str) -> Table:
    """Return the table with the secret key of the hashes of people."""
    return Table(
        "suppression_key",
        metadata,
        Column("is_this", Boolean, primary_key=True, server_default=true(), comment="Always true: one row"),
        Column("key", LargeBinary, nullable=False, comment="Secret key of the hashes of people"),
        Column(
            "version", BigInteger, nullable=False, server_default=text("1"), comment="Raised by each change of the list"
        ),
        CheckConstraint("is_this", name="suppression_key_is_this_check"),
        schema=ops,
        comment="One row: the key of the hashes of people",
    )


def suppressed(metadata: MetaData, ops: str) -> Table:
    """Return the table of suppressed people."""
    return Table(
        "suppressed",
        metadata,
        Column("digest", LargeBinary, primary_key=True, comment="Keyed hash of a user id or an e-mail address"),
        Column("sieve", Integer, nullable=False, comment="Keyed hash of 24 bits, with which loads preselect events"),
        Column("reason", Text, nullable=False, comment="requested, or erased"),
        Column("added_at", timestamptz(), nullable=False, server_default=func.now(), comment="When"),
        schema=ops,
        comment="One row per identity of a person whose events are not loaded",
    )


def erasures(metadata: MetaData, ops: str) -> Table:
    """Return the log of erasures."""
    return Table(
        "erasures",
        metadata,
        Column("erasure_id", BigInteger, Identity(always=True), primary_key=True, comment="Number of the erasure"),
        Column("subject", LargeBinary, nullable=False, comment="Keyed hash of the identities that were asked for"),
        Column("mode", Text, nullable=False, comment="erase or anonymize"),
        Column("status", Text, nullable=False, comment="running, deleted (figures are still to be computed) or done"),
        Column("requested_at", timestamptz(), nullable=False, server_default=func.now(), comment="When"),
        Column("finished_at", timestamptz(), comment="When it was done"),
        Column("requested_by", Text, nullable=False, comment="User, host and database role"),
        Column("identities", Integer, nullable=False, comment="Number of user ids and addresses of the person"),
        Column(
            "removed", JSONB, nullable=False, server_default=text("'{}'"), comment="What was removed: count by place"
        ),
        Column("unreachable", JSONB, nullable=False, server_default=text("'[]'"), comment="What could not be reached"),
        schema=ops,
        comment="One row per erasure of a person",
    )


def retention(metadata: MetaData, ops: str) -> Table:
    """Return the table with the policy of retention."""
    return Table(
        "retention",
        metadata,
        Column("kind", Text, primary_key=True, comment="events, raw (the spool's loaded segments) or rejects"),
        Column("kept_for", Interval, nullable=False, comment="How long they are kept"),
        Column("applied_at", timestamptz(), comment="When older ones were last deleted"),
        Column(
            "is_pending",
            Boolean,
            nullable=False,
            server_default=false(),
            comment="Whether events have been deleted that the figures still have",
        ),
        schema=ops,
        comment="One row per kind of data that is deleted after some time",
    )


def retained_campaigns(metadata: MetaData, ops: str) -> Table:
    """Return the table with what deleted events have contributed to the figures of campaigns."""
    return Table(
        "retained_campaigns",
        metadata,
        Column("campaign_id", Text, primary_key=True, comment="The campaign"),
        Column("campaign_name", Text, comment="Its latest name"),
        Column("named_at", timestamptz(), comment="When it had that name"),
        Column("first_delivered_at", timestamptz(), comment="Its first delivery"),
        Column("last_delivered_at", timestamptz(), comment="Its last delivery, as of the deletion"),
        Column("seconds_to_open", ARRAY(DOUBLE_PRECISION), comment="Percentiles, as of the deletion"),
        Column("seconds_to_click", ARRAY(DOUBLE_PRECISION), comment="Percentiles, as of the deletion"),
        Column("figures", JSONB, nullable=False, comment="Sums by the names of the columns of stored_campaigns"),
        schema=ops,
        comment="One row per campaign of which events have been deleted for their age: what they had contributed",
    )


def retained_campaign_days(metadata: MetaData, ops: str) -> Table:
    """Return the table with what deleted events have contributed to the figures of campaigns by day."""
    return Table(
        "retained_campaign_days",
        metadata,
        Column("campaign_id", Text, primary_key=True, comment="The campaign"),
        Column("delivery_day", Date, primary_key=True, comment="Day of delivery in the reporting time zone then"),
        Column("dimensions", JSONB, primary_key=True, comment="Values of the setting dimensions then"),
        Column("figures", JSONB, nullable=False, comment="Sums by the names of the columns of stored_campaign_days"),
        schema=ops,
        comment="One row per campaign and day of which events have been deleted: what they had contributed",
    )
