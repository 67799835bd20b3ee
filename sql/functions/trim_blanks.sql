-- A text without blanks at its ends, those of Unicode included. Most begin and end with a visible character of ASCII,
-- and are taken as they are.
create or replace function trim_blanks(sent text) returns text
language sql immutable parallel safe
return case
    when ascii(sent) between 33 and 126 and ascii(right(sent, 1)) between 33 and 126 then sent
    else btrim(
        sent,
        E'\t\n\x0b\x0c\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a'
        || E'\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff'
    )
end;
