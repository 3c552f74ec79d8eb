# What is redacted is nowhere: not in the files of the server, nor in its log, nor
# in a record; and nothing is stored while the key of hashes cannot be read.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use Digest::SHA qw(hmac_sha256_hex);
use File::Find;
use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 30;    # seconds within which anything here has to happen
my $top = PostgreSQL::Test::Utils::tempdir();
my $key = 'a key that is long enough for hashes';
my $broker = MockBroker->new;
my $node = new_node('redact', 'sentinai.launcher_naptime = 1s', 'fsync = off',
	"log_min_error_statement = 'panic'", 'log_statement = none', 'log_parameter_max_length_on_error = 0',
	"sentinai.secret_directory = '$top/secrets'",
	"sentinai.kafka_conf = 'bootstrap.servers=" . $broker->bootstrap . "'", "include_if_exists 'test.conf'");

# write_key(TEXT, MODE): the file of the key.
sub write_key
{
	my ($text, $mode) = @_;

	unlink "$top/secrets/key";
	append_to_file("$top/secrets/key", $text);
	chmod $mode // 0600, "$top/secrets/key";
	return;
}

# state(STATEMENT): its SQLSTATE and what comes behind, in a new session.
sub state
{
	my ($statement) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$statement");

	return $err =~ /ERROR:  (\S+): (.*)/ ? "$1 $2" : $out;
}

mkdir "$top/secrets", 0700 or die $!;
write_key("$key\n");
$node->safe_psql('postgres', q{
	create extension sentinai;
	select sentinai.set_redaction('acme', '*', '$..iban', 'hash');
	select sentinai.set_redaction('acme', '*', '$.customer.name', 'mask', keep => 3);
	select sentinai.set_redaction('acme', '*', '$..password', 'remove');
	select sentinai.set_redaction('*', '*', '$.phone', 'replace');
	select sentinai.set_redaction('*', '*', '$metadata.user', 'hash');
	select sentinai.set_redaction('*', '*', '$', 'secrets')});

# no key: nothing is stored, and the client does not learn where it would be
my $publish = q{select sentinai.publish('Order', 'acme', 'A-1', '{"iban": "DE89"}')};
like(state($publish), qr/^F0000 could not read the key that values are hashed with$/, 'no key is named');
my @broken = (
	[ 'no such file', sub { unlink "$top/secrets/key" }, qr/could not access file/ ],
	[ 'others can read it', sub { write_key("$key\n", 0644) }, qr/must belong to/ ],
	[ 'too short', sub { write_key("short\n") }, qr/32 to 1024 bytes/ ],
	[ 'too long', sub { write_key('x' x 1025) }, qr/32 to 1024 bytes/ ],
	[ 'outside', sub { write_key("$key\n") }, qr/is not in sentinai.secret_directory/, "$top/key" ],
	[ 'outside by a link', sub { symlink '/etc/hostname', "$top/secrets/link" }, qr/is a link out of/, "$top/secrets/link" ]);
foreach my $case (@broken)
{
	my ($name, $break, $why, $file) = @$case;
	my $before = -s $node->logfile;

	$file //= "$top/secrets/key";
	$break->();
	set_conf($node, "sentinai.redaction_key_file = '$file'");
	ok(wait_for($unslept, sub { $node->safe_psql('postgres', 'show sentinai.redaction_key_file') eq $file }), "$name: set");
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$publish");
	like($err, qr/ERROR:  F0000/, "$name: refused");
	unlike($err, qr/secrets|\Q$top\E/, "$name: the client learns no path");
	like(substr(slurp_file($node->logfile), $before), $why, "$name: the log says why");
}
is($node->safe_psql('postgres', 'select count(*) from sentinai.event_log'), '0', 'nothing is stored');
like(state("alter system set sentinai.redaction_key_file = '$top/secrets/key'"), qr/^55P02/, 'ALTER SYSTEM does not name the key');

write_key("$key\n");
set_conf($node, "sentinai.redaction_key_file = '$top/secrets/key'");
ok(wait_for($unslept, sub { state($publish) !~ /^F0000/ }), 'with a key it is');
is($node->safe_psql('postgres', q{select payload ->> 'iban' from sentinai.event_log}), 'hmac-sha256:' . hmac_sha256_hex("acme\0DE89", $key),
	'as anybody with the key can compute');

# a session goes on with what it has read until the server reads its configuration anew
my $session = $node->background_psql('postgres', on_error_stop => 0);
sub in_session
{
	my ($iban) = @_;

	return $session->query(qq{with e as (select sentinai.publish('Order', 'acme', 'A-2', '{"iban": "$iban"}') as id) select id from e}) =~ s/\s//gr;
}
my $first = in_session('one');
like($first, qr/^[0-9a-f-]{36}$/, 'a session that has read the key');
unlink "$top/secrets/key";
my $second = in_session('one');
like($second, qr/^[0-9a-f-]{36}$/, 'still has it when the file is gone');
my $other = 'quite another key, which is longer than the sixty-four bytes of a block';
write_key($other);
$node->reload;
ok(wait_for($unslept, sub {
	my $id = in_session('one');
	return $node->safe_psql('postgres', "select payload ->> 'iban' from sentinai.event_log where event_id = '$id'") eq
		'hmac-sha256:' . hmac_sha256_hex("acme\0one", $other);
}), 'a reload brings another');
is($node->safe_psql('postgres', "select count(distinct payload) from sentinai.event_log where event_id in ('$first', '$second')"), '1',
	'the two before have the same hash');
$session->quit;

# The canaries go every way, from a client of which the server logs no statement.
my $canary = 'c4n4ry';
my %told = map { $_ => "${canary}_$_" } qw(iban name password phone user error list deep);
my $big = join ' ', map { "word$_" } 1 .. 20000;    # an event that is TOASTed
my $doc = qq({"customer": {"name": "$told{name}xyz", "accounts": [{"iban": "$told{iban}"}, {"iban": ["$told{list}"]}]},
	"a": [[{"b": {"password": {"x": "$told{password}"}}}]], "phone": "$told{phone}", "\\u0069\\u0062an": "$told{deep}",
	"note": "Bearer ${canary}0123456789", "big": "$big"});
my $meta = qq({"user": "$told{user}", "redacted": "$canary"});
my $copy = $doc =~ s/\\/\\\\/gr =~ s/\n\t/ /gr;
$node->safe_psql('postgres', qq{
	select sentinai.subscribe('agent', '{Order}', max_attempts => 1);
	select sentinai.publish('Order', 'acme', 'C', \$j\$$doc\$j\$, metadata => '$meta');
	select sentinai.publish_batch('{Order,Order}', '{acme,acme}', '{C,C}', array[\$j\$$doc\$j\$, '{}']::jsonb[], metadata => '$meta');
	insert into sentinai.outbox (tenant_id, aggregateid, type, payload, metadata) values ('acme', 'C', 'Order', \$j\$$doc\$j\$, '$meta');
	copy sentinai.outbox (tenant_id, aggregateid, type, payload, metadata) from stdin;
acme\tC\tOrder\t$copy\t$meta
\\.
	begin; select sentinai.publish('Order', 'acme', 'C', \$j\$$doc\$j\$, metadata => '$meta'); rollback;
	begin; insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('acme', 'C', 'Order', \$j\$$doc\$j\$); rollback});
my (undef, undef, $refused) = $node->psql('postgres', qq{
	copy sentinai.outbox (tenant_id, aggregateid, type, payload) from stdin;
ac:me\tC\tOrder\t$copy
\\.
});
like($refused, qr/COPY outbox, line 1$/m, 'a COPY that is refused names the line');
unlike($refused, qr/$canary/, 'and quotes nothing of it');
ok(wait_for($unslept, sub {
	$node->safe_psql('postgres', qq{create temp table c as select * from sentinai.claim('agent', 1);
		select sentinai.fail(token, event_id, 'Authorization: bearer ${canary}9876543210 refused', false) from c}) eq 'dead'
}), 'an agent gives one up');
is($node->safe_psql('postgres', q{select reason from sentinai.dead_letter}), 'Authorization: bearer [redacted] refused', 'a dead letter');
ok(wait_for($unslept, sub { $broker->records('sentinai.exception') >= 5 }), 'the broker has them');
my $records = join "\n", map { $_->{value} . join ' ', %{ $_->{headers} } } $broker->records('sentinai.exception');
like($records, qr/hmac-sha256:/, 'with hashes');
unlike($records, qr/$canary/, 'and without a canary');
is($node->safe_psql('postgres', qq{select count(*) from sentinai.event_log where payload::text || metadata::text like '%$canary%'}), '0', 'nor has the log');
like($node->safe_psql('postgres', q{select payload from sentinai.event_log where aggregate_id = 'C' limit 1}), qr/\*xyz"/, 'a mask shows its end');

# a payload that breaks its schema says nothing of what it was
$node->safe_psql('postgres', q{select sentinai.register_event_type('Strict', '{"properties": {"phone": {"type": "integer"}}}')});
my ($rc, $out, $err) = $node->psql('postgres', qq{select sentinai.publish('Strict', 'acme', 'S', '{"phone": "$told{phone}"}')});
like($err, qr/"pointer": ?"\/phone"/, 'an error names the place');
unlike($err =~ s/LINE 1:.*//sr, qr/$canary/, 'and not the value');

# nothing on disk: heap, TOAST, WAL, files of sorts, the server's log
$node->safe_psql('postgres', 'checkpoint');
$node->stop;
my ($files, @found) = (0);
find({ no_chdir => 1, wanted => sub {
	return unless -f $_;
	$files++;
	push @found, $_ if slurp_file($_) =~ /$canary/;
} }, $node->data_dir);
cmp_ok($files, '>', 900, "$files files");
is("@found", '', 'no file of the server has a canary');
unlike(slurp_file($node->logfile), qr/$canary/, 'nor has its log');

done_testing();
