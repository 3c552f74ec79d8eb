-- SPDX-License-Identifier: PostgreSQL
-- Random patterns on random texts: what a schema says, and what the server's
-- own operator says of the same expression, whose syntax is that of both.
select plan(6);
select setseed(0.14);
create temp table tried as
with recursive p (n, depth, re) as (
    select n, 0, (array['a', 'b', 'c', '[ab]', '[^a]', '[b-é]', 'é', '[^é😀]', '^a', 'c$', '[a-c]', '(?:^|b)'])[1 + floor(random() * 12)]
    from generate_series(1, 1500) n
    union all
    select n, depth + 1,
           case floor(random() * 8)
               when 0 then '(' || re || ')*' when 1 then '(' || re || '|b)+' when 2 then '(' || re || ')?' || 'é'
               when 3 then re || '[ac]' when 4 then 'b' || re when 5 then '(' || re || '){' || floor(random() * 3) || ',3}'
               when 6 then '^' || re || '$' else re || '|' || 'cc' end
    from p where depth < 5)
select re, array(select string_agg((array['a', 'b', 'c', 'é', '😀', 'd'])[1 + floor(random() * 6)], '')
                 from generate_series(1, 30) c where depth >= 0 group by c % 8) || array[''] as texts
from p where depth > 1;
create temp table said as
select re, t, t ~ re as wanted, sentinai.validate_json(jsonb_build_object('pattern', re), to_jsonb(t)) = '[]' as found
from tried cross join unnest(texts) t;
select cmp_ok((select count(*) from said), '>', 50000::bigint, 'many were tried');
select cmp_ok((select count(*) filter (where wanted) * 100 / count(*) from said), '>', 20::bigint, 'of which many match');
select cmp_ok((select count(*) filter (where not wanted) * 100 / count(*) from said), '>', 20::bigint, 'and many do not');
select is((select string_agg(distinct format('%s on "%s": %s', re, t, found), E'\n') from (select * from said where wanted <> found limit 5) x), null, 'a schema says of a text what the server does');
select is((select count(*) from generate_series(65500, 65600) n
           where sentinai.validate_json('{"pattern": "^a*é*$"}', to_jsonb(repeat('a', n) || repeat('é', 70))) <> '[]'), 0::bigint, 'a long text is read in parts, which are whole characters');
select is(sentinai.validate_json('{"pattern": "b$"}', to_jsonb(repeat('a', 300000) || 'b')), '[]', 'to its end');
select * from finish();
