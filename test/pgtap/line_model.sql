-- SPDX-License-Identifier: PostgreSQL
-- The model of model.sql with more tenants that are set apart than there are tracks. Nobody counts as working for a
-- subscription, so those who share a track come back while it lags, and its lanes hand out their tracks in line.
alter system set sentinai.crowded_at = 2;
alter system set sentinai.idle_after = 0;
alter system set sentinai.max_tracks = 7;
\set setting sentinai.max_tracks
\set value 7
\ir lib/reloaded.sql
\set model_runs 8
\set model_steps 120
\set model_lane 7
\set model_tenants 10
\ir model.sql
alter system reset sentinai.crowded_at;
alter system reset sentinai.idle_after;
alter system reset sentinai.max_tracks;
select pg_reload_conf();
