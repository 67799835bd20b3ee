-- Records how a load ended; its counts are the sums of its files. Files that it was still reading have failed.
with failed_files as (
    update files
    set status = 'failed', error = %(error)s, finished_at = clock_timestamp()
    where load_id = %(load_id)s and status = 'running'
),

sums as (
    select
        count(*) as files,
        coalesce(sum(events_read), 0) as events_read,
        coalesce(sum(events_loaded), 0) as events_loaded,
        coalesce(sum(events_duplicate), 0) as events_duplicate,
        coalesce(sum(events_rejected), 0) as events_rejected,
        coalesce(sum(events_ignored), 0) as events_ignored,
        coalesce(sum(events_suppressed), 0) as events_suppressed,
        coalesce(sum(values_discarded), 0) as values_discarded,
        coalesce(sum(values_repaired), 0) as values_repaired,
        coalesce(sum(events_clock_suspect), 0) as events_clock_suspect
    from files
    where load_id = %(load_id)s
)

update loads
set
    status = %(status)s,
    error = %(error)s,
    finished_at = clock_timestamp(),
    files = sums.files,
    events_read = sums.events_read,
    events_loaded = sums.events_loaded,
    events_duplicate = sums.events_duplicate,
    events_rejected = sums.events_rejected,
    events_ignored = sums.events_ignored,
    events_suppressed = sums.events_suppressed,
    values_discarded = sums.values_discarded,
    values_repaired = sums.values_repaired,
    events_clock_suspect = sums.events_clock_suspect
from sums
where loads.load_id = %(load_id)s
