-- SPDX-License-Identifier: PostgreSQL
-- The model of model.sql with tenants that are set apart by their second event, and brought back when all of it is done:
-- batches of two tracks of a lane are out at a time, and events of a key are in both.
alter system set sentinai.crowded_at = 2;
select pg_reload_conf();
\set model_runs 12
\set model_lane 7
\ir model.sql
alter system reset sentinai.crowded_at;
select pg_reload_conf();
