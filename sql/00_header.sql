-- SPDX-License-Identifier: PostgreSQL
\echo Use "CREATE EXTENSION sentinai" to load this file. \quit
