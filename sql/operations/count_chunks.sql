-- All chunks are new: those that tracks has now.
create temporary table new_chunks on commit drop as
select
    uuid_ts,
    count(*) as events
from tracks
group by uuid_ts;

analyze new_chunks
