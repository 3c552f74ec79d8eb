# The exception platform as an extension: installed beside the core, dumped,
# restored, dropped and made again.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = new_node('platform');

sub sql { my ($sql, $db) = @_; return $node->safe_psql($db // 'postgres', $sql); }

# state_of(SQL, DB): in another database, if it is named
sub state_of { return state_in($node, $_[1] // 'postgres', $_[0]); }

# restored(DATABASE, NEW ONE): a dump of it in a new database
sub restored
{
	my ($from, $to) = @_;

	$node->command_ok([ 'pg_dump', '-f', "$dir/$to", $from ], "pg_dump of $from");
	sql("create database $to");
	$node->command_ok([ 'psql', '-Xq1', '-v', 'ON_ERROR_STOP=1', '-d', $to, '-f', "$dir/$to" ], "it is restored");
	sql('select sentinai.after_restore()', $to);
	return;
}

my $types = q{select event_type, version, direction, compatibility, is_default, deprecated_since, registered_at, md5(schema::text || examples) from sentinai.event_types order by 1, 2};
my $actions = q{select action_id, action, object, after from sentinai.actions where action <> 'after_restore' order by 1};
my $things = q{select count(*) from (select pronamespace from pg_proc union all select relnamespace from pg_class) t (n)
	where n = 'sentinai_platform'::regnamespace};
my $feedback = q{'{"type": "object", "properties": {"exception_id": {"type": "string", "minLength": 1, "maxLength": 1024},
	"outcome": {"type": "string", "minLength": 1, "maxLength": 200}, "seconds": {"type": "number", "minimum": 0}},
	"required": ["exception_id", "outcome", "seconds"], "additionalProperties": false}'};

# Somebody has had a type of that name before, and others change some later.
sql('create database app');
sql("create extension sentinai; select sentinai.register_event_type('FeedbackCaptured', $feedback)", 'app');
sql('create extension sentinai_platform', 'app');
is(sql(q{select max(version) from sentinai.event_types where event_type = 'FeedbackCaptured'}, 'app'), 2, 'a type that was there gets a version');
sql(q{select sentinai.deprecate_event_type('PlaybookMatched', 1);
	select sentinai.publish('TriageRequested', 'acme', 'EX-17', '{"exception_id": "EX-17", "reason": "why"}')}, 'app');
restored('app', 'copy');
is(sql($types, 'copy'), sql($types, 'app'), 'the copy has the same types, of the same versions');
is(sql($actions, 'copy'), sql($actions, 'app'), 'and what people did with them');
is(sql(q{select sentinai.register_event_type('FeedbackCaptured', schema, 2, description, direction, examples) from sentinai.event_types where event_type = 'FeedbackCaptured' and version = 2}, 'copy'), 2,
	'where its own registration finds itself');
restored('copy', 'again');
is(sql($types, 'again'), sql($types, 'app'), 'so has a copy of the copy');

# A type that it cannot agree with
sql('create database other');
sql(q{create extension sentinai; select sentinai.register_event_type('FeedbackCaptured', '{"type": "object", "properties": {"stars": {"type": "integer"}}}')}, 'other');
is(state_of('create extension sentinai_platform', 'other'), 'SN409', 'a type of another meaning is left alone: the platform is not made');
is(sql(q{select count(*) from pg_extension where extname = 'sentinai_platform'}, 'other'), 0, 'and nothing of it is there');

# Dropped and made again
is(state_of('drop extension sentinai', 'app'), '2BP01', 'the core cannot go without it');
my $before = sql($types, 'app');
sql('drop extension sentinai_platform', 'app');
is(sql($types, 'app'), $before, 'types and events stay when it is dropped');
is(sql($things, 'app'), 0, 'what it made does not');
sql('create extension sentinai_platform', 'app');
is(sql($types, 'app'), $before, 'and they are found again');
sql('drop extension sentinai cascade', 'app');
is(sql($things, 'app'), 0, 'all of it can go at once');

done_testing();
