"""DuckDB SQL that extracts an event's common fields and times, and decides whether it can be loaded."""

from loader.duckdb import EARLIEST, LATEST
from loader.events.outcomes import ENDPOINT_REASONS, ENDPOINT_REJECT
from loader.events.times import EPOCH_SECONDS

#: Extracted fields, by their name in the SQL below.
FIELDS = {
    "id": "messageId",
    "anonymous_id": "anonymousId",
    "user_id": "userId",
    "event_text": "event",
    "type": "type",
    "original": "originalTimestamp",
    "stamp": "timestamp",
    "sent": "sentAt",
    "received": "receivedAt",
}
#: Calls of the tracking API that are not loaded.
IGNORED = ("identify", "page", "screen", "group", "alias")
MAX_ID = 100  # characters (Segment's tracking API)


def _odd(value: str) -> str:
    return f"({value} like '{{%' or {value} like '[%' or {value} = 'true' or {value} = 'false')"


# Numbers are accepted as ids, because some senders use them.
_WRONG_KIND = f"""
    {_odd("type")} and json_type(line, '/type') <> 'VARCHAR'
    or ({_odd("event_text")} or event_text between '-' and ':') and json_type(line, '/event') <> 'VARCHAR'
    or ({_odd("id")} or {_odd("user_id")} or {_odd("anonymous_id")}) and list_has_any(
        json_type(line, ['/messageId', '/userId', '/anonymousId']), ['OBJECT', 'ARRAY', 'BOOLEAN']
    )
"""

# The reason that the endpoint gives for an event which it rejects: `wrap_reject` in `loader.events.outcomes`.
_ENDPOINT_REASON = f"json_extract_string(line, '/{ENDPOINT_REJECT}/reason')"

# The first condition that holds is the reason.
_VERDICT = f"""
    case
        when type is null and event_text is null
            then case
                when json_type(line) <> 'OBJECT' then 'not_object'
                when {_ENDPOINT_REASON} in {ENDPOINT_REASONS} then {_ENDPOINT_REASON}
                else 'no_type'
            end
        when {_WRONG_KIND} then 'wrong_kind'
        when type in {IGNORED} then 'ignored'
        when type <> 'track' then 'unknown_type'
        when coalesce(event_text, '') = '' then 'no_event'
        when coalesce(user_id, '') = '' and coalesce(anonymous_id, '') = '' then 'no_identity'
        when received_at is null then 'no_time'
        when length(id) > {MAX_ID} then 'id_too_long'
    end
"""

# Correct the sender's clock by its error at the time of sending: received_at - sent_at (Segment, "Common Fields").
_CORRECTED = f"""
    case
        when original_timestamp is null then null
        when sent_at is null then original_timestamp
        when epoch_us(received_at) - (epoch_us(sent_at) - epoch_us(original_timestamp))
            between epoch_us(timestamptz '{EARLIEST}') and epoch_us(timestamptz '{LATEST}')
            then make_timestamptz(epoch_us(received_at) - (epoch_us(sent_at) - epoch_us(original_timestamp)))
        else original_timestamp
    end
"""

# A sender's clock that differs too much from the receiver's says nothing, so its error cannot be subtracted. Segment
# does it anyway, which moves the event by years.
_HAS_WRONG_CLOCK = "(is_ahead(sent_at, received_at) or is_ahead(received_at, sent_at))"
_TIMESTAMP = f"""
    case
        when not has_wrong_clock
            then coalesce(case when original is not null then stamp_read end, {_CORRECTED}, received_at)
        when original_timestamp >= to_timestamp({EPOCH_SECONDS.start}) and not is_ahead(original_timestamp, received_at)
            then original_timestamp
        else received_at
    end
"""

# The moments of an event, from `times`: its fields as they were read.
_MOMENTS = f"""
originals as (
    select *, case when original is null then stamp_read else original_read end as original_timestamp,
        coalesce(received_read, sent_at, case when original is null then stamp_read else original_read end)
            as received_at,
        coalesce(
            original is not null and original_read is null or stamp is not null and stamp_read is null
            or sent is not null and sent_at is null or received is not null and received_read is null, false
        ) as has_unread_time
    from times
), clocks as (
    select *, {_HAS_WRONG_CLOCK} as has_wrong_clock from originals
), moments as (
    select *, {_TIMESTAMP} as "timestamp" from clocks
)
"""


def create_envelope(objects: list[str], *, reads_any_form: bool) -> str:
    """Return SQL that creates `envelope` from `lines`: one row per event, with a hash of the keys in `objects`.

    `objects` are JSON pointers as SQL literals. `verdict` is null for an event to load, else a reject reason or
    `ignored`. `is_clock_suspect` says whether the clocks of sender and receiver differ too much, or a time of the event
    is that much later than its receipt. Without `reads_any_form`, only times in the usual forms are read; where
    `has_unread_time`, there are others.
    """
    pointers = ", ".join(f"'/{field}'" for field in FIELDS.values())
    values = ", ".join(f"v[{i}] as {name}" for i, name in enumerate(FIELDS, 1))
    read_time = "read_time_field" if reads_any_form else "read_usual_time_field"
    return f"""
        create or replace temp table envelope as
        with extracted as (
            select n, line, hash(json_keys(line, [{", ".join(objects)}])) as shape,
                json_extract_string(line, [{pointers}]) as v
            from lines
        ), fields as (
            select n, line, shape, {values} from extracted
        ), times as (
            select n, line, shape, nullif(id, '') as id, anonymous_id, user_id, event_text, type, original, stamp, sent,
                received, {read_time}(original) as original_read, {read_time}(stamp) as stamp_read,
                {read_time}(sent) as sent_at, {read_time}(received) as received_read
            from fields
        ), {_MOMENTS}
        select n, line, shape, coalesce(id, 'derived-' || md5(json(plain_text(line)))) as id, anonymous_id, user_id,
            event_text, original_timestamp, sent_at, received_at,
            "timestamp", has_unread_time,
            has_wrong_clock or is_ahead(original_timestamp, received_at) or is_ahead("timestamp", received_at)
                as is_clock_suspect,
            {_VERDICT} as verdict
        from moments
    """
