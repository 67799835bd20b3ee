-- The share of events whose person is a known user, as in identity_coverage, in a sample of the stored events.
select avg((stored.matched_by in ('u', 'e'))::int) as identified
from (
    select identity
    from stored_events tablesample system (%(percent)s) -- noqa: PRS
) as sampled
inner join stored_identities as stored on sampled.identity = stored.identity
