-- SPDX-License-Identifier: PostgreSQL
\echo Use "CREATE EXTENSION sentinai" to load this file. \quit

-- Names below that no schema qualifies are PostgreSQL's own.
set local search_path = pg_catalog, pg_temp;
