-- SPDX-License-Identifier: PostgreSQL
-- A database whose text is not UTF-8 is refused.
set client_min_messages = warning;
create database encodings_latin1 template template0 encoding 'LATIN1' locale 'C';
create database encodings_ascii template template0 encoding 'SQL_ASCII' locale 'C';
select current_database() as home \gset
\set SHOW_CONTEXT never
\c encodings_latin1
create extension sentinai;
select count(*) from pg_namespace where nspname = 'sentinai';
\c encodings_ascii
create extension sentinai;
\c :home
drop database encodings_latin1;
drop database encodings_ascii;
