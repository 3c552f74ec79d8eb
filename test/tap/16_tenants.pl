# The wall between tenants where several sessions matter: what is granted or
# taken back in one counts in the others, act_as() through a pool of connections,
# and proofs with a key in a file.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use Digest::SHA qw(hmac_sha256_hex);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Agents;

my $node = PostgreSQL::Test::Cluster->new('tenants');
my $secrets = PostgreSQL::Test::Utils::tempdir();
my $key = 'k3y-that-nobody-reads';

mkdir "$secrets/keys", 0700 or die $!;
append_to_file("$secrets/keys/proof", "$key\n");
chmod 0600, "$secrets/keys/proof";
$node->init;
$node->append_conf('postgresql.conf', join "\n", "shared_preload_libraries = 'sentinai'",
	"sentinai.tenant_isolation = on", "sentinai.secret_directory = '$secrets/keys'",
	"sentinai.proof_key_file = '$secrets/keys/proof'", "log_statement = none",
	"log_min_error_statement = panic", '');
$node->start;
$node->safe_psql('postgres', q{
	create extension sentinai;
	create role team; create role app; create role pool;
	grant usage on schema sentinai to app, pool;
	grant execute on function sentinai.publish(text, text, text, jsonb, text, jsonb, text, uuid, text, timestamptz, int) to app, pool;
	grant select on sentinai.event_log to app, pool;
	select sentinai.grant_tenant('app', 'acme', 'publish'), sentinai.grant_tenant('team', 'globex', 'publish'),
	       sentinai.grant_tenant('pool', '*', 'publish'), sentinai.grant_tenant('pool', '*', 'read')});
use_node($node);

# A session that stays: what one statement says in it, or its SQLSTATE.
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query('set role app');
$session->query('\set VERBOSITY sqlstate');
sub told
{
	my ($statement) = @_;
	my $said = $session->query($statement);
	my $error = $session->{stderr};

	$session->{stderr} = '';
	return $error =~ /ERROR: +(\w+)/ ? $1 : $said;
}
sub publishes
{
	my ($tenant) = @_;

	return told("select sentinai.publish('T', '$tenant', 'k', '{}') is not null");
}

is(publishes('acme'), 't', 'a session publishes for its tenant');
is(publishes('globex'), 'SN403', 'and for no other');
sql('grant team to app');
is(publishes('globex'), 't', 'a membership that another session gives counts in its next statement');
sql('revoke team from app');
is(publishes('globex'), 'SN403', 'and is gone as fast');
sql(q{select sentinai.grant_tenant('app', 'globex', 'publish')});
is(publishes('globex'), 't', 'so is a grant');
sql(q{select sentinai.revoke_tenant('app', 'globex', 'publish')});
is(publishes('globex'), 'SN403', 'that is taken back');
sql('alter role app noinherit; grant team to app');
is(publishes('globex'), 'SN403', 'who does not inherit has nothing of his groups');
sql('alter role app inherit; revoke team from app; grant team to app');
is(publishes('globex'), 't', 'who does, has');
told('begin');
is(publishes('globex'), 't', 'in a transaction');
sql('revoke team from app');
told('commit');
is(publishes('globex'), 'SN403', 'what was taken back meanwhile is gone in the next one');
sql(q{begin; select sentinai.grant_tenant('app', 'globex', 'publish'); rollback});
is(publishes('globex'), 'SN403', 'what was rolled back never was');
told('select sentinai.act_as(\'acme\')');
is(publishes('acme'), 't', 'act_as() is over with its statement');
$session->quit;

# Proofs
sub proof
{
	my ($role, $tenant, $expiry, $with) = @_;

	return "$expiry." . hmac_sha256_hex("v1\n$expiry\n$role\n$tenant", $with // $key);
}
sub acts
{
	my ($tenant, $proof, $then) = @_;
	my (undef, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\nbegin; set local role pool;
		select sentinai.act_as('$tenant', " . (defined $proof ? "'$proof'" : 'null') . ");
		select sentinai.publish('T', '" . ($then // $tenant) . "', 'k', '{}') is not null; commit", on_error_stop => 1);

	return $err =~ /ERROR: +(\w+)/ ? $1 : $out =~ s/\s+//gr;
}
my $soon = time + 600;

sql(q{select sentinai.require_proof('pool')});
is(acts('acme', proof('pool', 'acme', $soon)), 't', 'a role that is marked acts with a proof');
is(acts('acme', proof('pool', 'acme', $soon), 'globex'), 'SN403', 'for that tenant');
is(acts('acme', undef), 'SN403', 'not without');
is(acts('acme', proof('pool', 'globex', $soon)), 'SN403', 'not with one for another tenant');
is(acts('acme', proof('app', 'acme', $soon)), 'SN403', 'or of another role');
is(acts('acme', proof('pool', 'acme', $soon, 'guess')), 'SN403', 'or with another key');
is(acts('acme', proof('pool', 'acme', time - 1)), 'SN403', 'or one that has expired');
is(acts('acme', ($soon + 1) . (proof('pool', 'acme', $soon) =~ s/^\d+//r)), 'SN403', 'or whose expiry was changed');
is(acts('acme', substr(proof('pool', 'acme', $soon), 0, -1)), 'SN403', 'or that is cut');
is(acts('acme', proof('pool', 'acme', $soon) . '0'), 'SN403', 'or too long');
is(acts('acme', "99999999999999999999." . '0' x 64), 'SN403', 'or none at all');
chmod 0644, "$secrets/keys/proof";
is(acts('acme', proof('pool', 'acme', $soon)), 'SN403', 'a key that others can read is no key');
chmod 0600, "$secrets/keys/proof";
is(acts('acme', proof('pool', 'acme', $soon)), 't', 'as before when they cannot');
unlike(slurp_file($node->logfile), qr/$key/, 'the log has nothing of the key');

# A role that the pool becomes needs none of its own. Its code does not run for somebody
# else without one, as autovacuum or a superuser runs the expressions of its indexes.
sql(q{
	create role helper; grant helper to pool; create schema helper authorization helper; grant usage on schema sentinai to helper;
	grant execute on function sentinai.publish(text, text, text, jsonb, text, jsonb, text, uuid, text, timestamptz, int) to helper;
	select sentinai.grant_tenant('helper', 'acme', 'publish');
	set role helper;
	create table helper.t as select generate_series(1, 20) i;
	create function helper.smuggle(int) returns int immutable language plpgsql as $$
		begin
			if current_setting('application_name') = 'another' then perform sentinai.publish('Smuggled', 'acme', 'k', '{}'); end if;
			return 1;
		end $$;
	create index on helper.t (helper.smuggle(i))});
# another(SQL): the state of what a superuser's session says then
sub another
{
	my ($statement) = @_;
	my ($ret, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\nset application_name = 'another'; $statement");

	return $err =~ /ERROR: +(\w+)/ ? $1 : '00000';
}
is(another('analyze helper.t'), 'SN403', 'what runs for the owner of a table has no proof');
is(another("set role helper; select helper.smuggle(1)"), '00000', 'who is that role, and not marked, needs none');
is(sql(q{select count(*) from sentinai.event_log where event_type = 'Smuggled'}), 1, 'and nothing was smuggled');
sql(q{
	grant execute on function sentinai.get_trace(text, text, int) to helper;
	select sentinai.grant_tenant('helper', 'acme', 'read'), sentinai.publish('Traced', 'acme', 'k', '{}', correlation_id => 'flow')});
is(sql(q{set role helper; select count(*) from sentinai.get_trace('flow')}), 1, 'what reads for it as another needs none either');
sql(q{select sentinai.require_proof('pool', false)});
is(another('analyze helper.t'), '00000', 'where nobody is marked nobody is asked');

# A pool in transaction mode: every transaction says for whom it acts.
SKIP:
{
	my ($port, $user, $pooler) = start_pgbouncer(2);

	skip 'no pgbouncer', 3 unless $pooler;
	append_to_file("$dir/act.sql", <<'END');
\set t random(1, 20)
begin;
set local role pool;
select sentinai.act_as('t' || :t);
select sentinai.publish('T', 't' || :t, 'k', jsonb_build_object('for', 't' || :t));
select 1 / (case when exists (select from sentinai.event_log e where e.tenant_id <> 't' || :t) then 0 else 1 end);
commit;
END
	command_ok([ $node->installed_command('pgbench'), '-n', '-h', $dir, '-p', $port, '-U', $user,
			'-c', 6, '-t', 60, '-f', "$dir/act.sql", 'postgres' ],
		'transactions of twenty tenants share two sessions, and none sees another\'s event');
	is(sql(q{select count(*) || ' ' || count(*) filter (where payload->>'for' <> tenant_id) from sentinai.event_log where tenant_id ~ '^t\d'}),
		'360 0', 'each published for its own');
	my ($out, $err);
	IPC::Run::run([ $node->installed_command('psql'), '-XAtq', '-h', $dir, '-p', $port, '-U', $user, 'postgres' ],
		'<', \q{begin; select sentinai.act_as('t1'); rollback; select sentinai.may('read', 't2')}, '>', \$out, '2>', \$err);
	is($out =~ s/\s+//gr, 't', 'and leaves nothing to the next');
	$pooler->signal('INT');
	$pooler->finish;
}

# Where the library is loaded by who needs it, a client's settings are there before.
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$node->restart;
sql('create role stranger login; grant usage on schema sentinai to stranger; grant select on sentinai.event_log to stranger');
sub connected_with
{
	my ($role, $options, $statement) = @_;
	my (undef, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\n$statement; select count(*) from sentinai.event_log",
		connstr => $node->connstr('postgres') . " user=$role options='$options'");

	return $err =~ /ERROR: +(\w+)/ ? $1 : $out =~ s/\s+//gr;
}
is(connected_with('stranger', '', 'select'), '0', 'a session that loads the library itself has the wall');
is(connected_with('stranger', "-c $_", 'select'), '42501', "and a connection cannot begin without: $_")
	foreach 'sentinai.tenant_isolation=off', 'Sentinai.Tenant_Isolation=off', 'sentinai.unknown_event_types=allow', 'sentinai.max_payload=256MB';
is(connected_with('stranger', '-c sentinai.tenant_isolation=off', $_), '42501', "not by $_ either")
	foreach 'reset sentinai.tenant_isolation', 'set sentinai.tenant_isolation = off', 'discard all';
is(connected_with('stranger', '', 'set sentinai.tenant_isolation = off'), '0', 'nor can a session take it down');
is(connected_with('stranger', '-c sentinai.long_run=8', 'select'), '0', 'what is for everybody may come with a connection');
sql('grant set on parameter sentinai.tenant_isolation to stranger');
isnt(connected_with('stranger', '-c sentinai.tenant_isolation=off', 'select'), '0', 'and what was granted');

$node->stop;
done_testing();
