-- A label of a domain with other characters than ASCII, as RFC 3492 encodes it (without the prefix xn--).
create or replace function encode_punycode(label text) returns text
language plpgsql immutable strict parallel safe
as $$
declare
    digits constant text := 'abcdefghijklmnopqrstuvwxyz0123456789';
    points constant int[] := array(
        select ascii(letter)
        from string_to_table(label, null) with ordinality as letters (letter, place)
        order by place
    );
    basic constant text := regexp_replace(label, '[^\x01-\x7f]', '', 'g');
    encoded text := basic || case when basic <> '' then '-' else '' end;
    done int := length(basic);
    bias int := 72;
    smallest int := 128;
    next_point int;
    other_point int;
    delta bigint := 0;
    rest bigint;
    threshold int;
    steps int;
begin
    while done < cardinality(points) loop
        select min(later.point) into next_point
        from unnest(points) as later (point)
        where later.point >= smallest;
        delta := delta + (next_point - smallest)::bigint * (done + 1);
        smallest := next_point;
        foreach other_point in array points loop
            if other_point < smallest then
                delta := delta + 1;
            elsif other_point = smallest then
                rest := delta;
                steps := 36;
                loop
                    threshold := least(greatest(steps - bias, 1), 26);
                    exit when rest < threshold;
                    encoded := encoded || substr(digits, (threshold + (rest - threshold) % (36 - threshold))::int + 1, 1);
                    rest := (rest - threshold) / (36 - threshold);
                    steps := steps + 36;
                end loop;
                encoded := encoded || substr(digits, rest::int + 1, 1);
                -- The bias adapts to the distance between points.
                delta := delta / case when done = length(basic) then 700 else 2 end;
                delta := delta + delta / (done + 1);
                bias := 0;
                while delta > 455 loop
                    delta := delta / 35;
                    bias := bias + 36;
                end loop;
                bias := bias + (36 * delta / (delta + 38))::int;
                delta := 0;
                done := done + 1;
            end if;
        end loop;
        delta := delta + 1;
        smallest := smallest + 1;
    end loop;
    return encoded;
end
$$;
