-- An e-mail address in one spelling; null for text that is no address: without @, without a part before or after it, with
-- blanks.
--
-- Most addresses are of ASCII without blanks, and are only put into lower case. Most other texts are ids without @.
create or replace function normalize_address(sent text) returns text
language sql immutable parallel safe
return case
    when sent ~ '^[!-~]+@[!-?A-~]+$' then lower(sent collate "C")
    when strpos(sent, '@') > 0 then normalize_rare_address(sent)
end;
