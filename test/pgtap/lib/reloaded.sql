-- SPDX-License-Identifier: PostgreSQL
-- Reloads the configuration, and goes on when a setting has its value here. Then the server has told its other processes, too.
--     \set setting sentinai.max_tracks
--     \set value 7
--     \ir lib/reloaded.sql
select pg_reload_conf();
select format('select pg_sleep(case current_setting(%L) when %L then 0 else 0.05 end)', :'setting', :'value') from generate_series(1, 200) \gexec
