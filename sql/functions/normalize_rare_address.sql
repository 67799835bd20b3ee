-- An e-mail address in one spelling: without blanks at its ends, in lower case, its domain in ASCII (RFC 5890).
create or replace function normalize_rare_address(sent text) returns text
language sql immutable strict parallel safe
return (
    with trimmed as (
        select trim_blanks(sent) as address
    ),

    halves as (
        select
            lower(normalize(regexp_replace(address, '@[^@]*$', ''), nfc)) as mailbox,
            -- The lower case of the dotted capital I is two letters.
            lower(normalize(replace(substring(address from '@([^@]*)$'), 'İ', E'i\u0307'), nfkc)) as domain
        from trimmed
    ),

    encoded as (
        select
            halves.mailbox || '@' || string_agg(
                case when labels.label ~ '[^\x01-\x7f]' then 'xn--' || encode_punycode(labels.label) else label end,
                '.' order by labels.place
            ) as address
        from halves
        cross join string_to_table(translate(halves.domain, '。', '.'), '.') with ordinality as labels (label, place)
        group by halves.mailbox
    )

    select address
    from encoded
    where address ~ '^[^\s\u0085\u00a0\u1680\u2000-\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]+@[!-?A-~]+$'
);
