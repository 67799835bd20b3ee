-- New chunks: those that no refresh has taken. On Citus, the refresh then waits until the workers show their rows.
--
-- Reads  chunks.
-- Writes new_chunks (temporary).
-- Cost   follows the new chunks.
create temporary table new_chunks on commit drop as
select
    uuid_ts,
    events
from chunks
where not is_taken;

analyze new_chunks;
