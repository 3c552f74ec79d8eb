-- What pg_dump must carry.  Partitions made at run time are no members of the
-- extension and are dumped as ordinary tables.  relay_control is left out: a
-- restored database starts with the row of a new one, and whether it may relay
-- is then decided from the rows of node.
select pg_catalog.pg_extension_config_dump('sentinai_internal.event_kept', '');
select pg_catalog.pg_extension_config_dump('sentinai_internal.node', '');
select pg_catalog.pg_extension_config_dump('sentinai_internal.stream', 'where stream_id > 0');
select pg_catalog.pg_extension_config_dump('sentinai_internal.stream_stream_id_seq', '');
select pg_catalog.pg_extension_config_dump('sentinai_internal.subscription', '');
select pg_catalog.pg_extension_config_dump('sentinai_internal.subscription_sub_id_seq', '');
select pg_catalog.pg_extension_config_dump('sentinai_internal.retry_policy', '');
select pg_catalog.pg_extension_config_dump('sentinai_internal.round_0', '');
select pg_catalog.pg_extension_config_dump('sentinai_internal.round_1', '');
select pg_catalog.pg_extension_config_dump('sentinai_internal.lane_state_0', '');
select pg_catalog.pg_extension_config_dump('sentinai_internal.lane_state_1', '');
select pg_catalog.pg_extension_config_dump('sentinai_internal.event_retry', '');
select pg_catalog.pg_extension_config_dump('sentinai_internal.dead_letter', '');
