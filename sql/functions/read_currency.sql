-- A currency in one spelling: upper case, and the code of a symbol that stands for one currency only; null if blank.
--
-- $ and ¥ stand for several currencies and remain what they are: currencies of their own.
create or replace function read_currency(sent text) returns text
language sql immutable parallel safe
return case trim_blanks(sent)
    when '' then null
    when '€' then 'EUR'
    when '£' then 'GBP'
    else upper(trim_blanks(sent))
end;
