-- The amount that a text says, and the currency that it names; no amount if the text is none, or can be read in two ways.
--
-- Alone, a point is the decimal sign, as in JSON. A comma before three digits is ambiguous (1,234), and so is a point
-- beside a currency (€ 1.234). Of two signs the last is the decimal sign; a sign that is repeated separates thousands.
create or replace function read_amount(sent text, out amount numeric, out currency text)
language plpgsql immutable parallel safe
as $$
declare
    -- Sign, currency, sign, digits, currency.
    pattern constant text := '^([-+]?) ?(C?) ?([-+]?) ?([0-9.](?:[0-9.,'' ]*[0-9])?) ?(C?)$';
    currencies constant text := '[A-Za-z]{3}|[$€£¥₹₽₺₩₪₴₫₱฿₦]';
    parts text[];
    digits text;
    is_bare boolean;
begin
    if length(sent) > 60 then
        return;
    end if;
    if sent ~ '^[-+]?[0-9]*[.]?[0-9]+([eE][-+]?[0-9]{1,2})?$' then
        amount := sent::numeric;
        return;
    end if;
    sent := regexp_replace(sent, '[\s\u00a0\u2000-\u200a\u202f\u205f\u3000]', ' ', 'g');
    sent := translate(btrim(sent), '’−', '''-');
    parts := regexp_match(sent, replace(pattern, 'C?', '(?:' || currencies || ')?'));
    if parts is null or (parts[1] <> '' and parts[3] <> '') or (parts[2] <> '' and parts[5] <> '') then
        return;
    end if;
    digits := parts[4];
    is_bare := parts[2] || parts[5] = '';
    digits := case
        when digits ~ '^[0-9]*[.]?[0-9]+$' and (is_bare or digits !~ '^[1-9][0-9]{0,2}[.][0-9]{3}$') then digits
        when digits ~ '^[0-9]+,[0-9]+$' and digits !~ '^[1-9][0-9]{0,2},[0-9]{3}$' then replace(digits, ',', '.')
        -- 1,234.56 and 1,234,567; in India 12,34,567.89
        when digits ~ '^[1-9][0-9]{0,2}(,[0-9]{2,3})*,[0-9]{3}[.][0-9]+$' then replace(digits, ',', '')
        when digits ~ '^[1-9][0-9]{0,2}(,[0-9]{2,3})+,[0-9]{3}$' then replace(digits, ',', '')
        -- 1.234,56 and 1.234.567
        when digits ~ '^[1-9][0-9]{0,2}([.][0-9]{3})+,[0-9]+$' then replace(replace(digits, '.', ''), ',', '.')
        when digits ~ '^[1-9][0-9]{0,2}([.][0-9]{3}){2,}$' then replace(digits, '.', '')
        -- 1 234,56 and 1'234.56
        when digits ~ '^[1-9][0-9]{0,2}(( [0-9]{3})+|(''[0-9]{3})+)([.,][0-9]+)?$'
            then replace(translate(digits, ' ''', ''), ',', '.')
    end;
    amount := (parts[1] || parts[3] || digits)::numeric;
    currency := case when amount is not null then nullif(parts[2] || parts[5], '') end;
end
$$;
