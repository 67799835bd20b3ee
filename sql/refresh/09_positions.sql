-- New chunks are taken, and get their positions, for readers that copy new events: chunks that were read by this refresh,
-- or were changed since one has read them, get the next number. Refreshes run one after another, so whoever sees a number
-- sees all smaller ones.
--
-- Reads  new_chunks, chunks, changed_chunks.
-- Writes chunks, changed_chunks.
-- Cost   follows the new and changed chunks.
update chunks set is_taken = true
where uuid_ts in (select uuid_ts from new_chunks);

create temporary table changed_positions on commit drop as
with changed as (
    delete from changed_chunks
    returning uuid_ts
)

select uuid_ts from changed
union
select uuid_ts from chunks
where is_taken and position is null;

update chunks set position = (select nextval('chunks_position_seq'))
where uuid_ts in (select uuid_ts from changed_positions);
