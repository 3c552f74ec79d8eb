# Whoever may set kafka_conf, and no more than that, has no file sent anywhere
# that the server's own configuration does not offer; a secret in the setting
# itself reaches no log.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 30;    # seconds within which anything here has to happen
my $canary = 'c4n4ry5ec4e7';
my $top = PostgreSQL::Test::Utils::tempdir();
my $node = new_node('secrets', 'sentinai.launcher_naptime = 1s',
	"log_min_error_statement = 'error'", 'log_statement = none', 'log_error_verbosity = verbose',
	"include_if_exists 'test.conf'");

mkdir "$top/secrets", 0700 or die $!;
foreach my $file ('secrets/inside', 'outside')
{
	open my $out, '>', "$top/$file" or die $!;
	print $out "$canary\n";
	close $out;
	chmod 0600, "$top/$file";
}
symlink "$top/outside", "$top/secrets/link" or die $!;

# asked(QUERY): what psql says as the role with the one right
sub asked
{
	my ($query) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$query",
		extra_params => [ '-U', 'operator' ]);

	return $err;
}

# said(PATTERN): wait for a line of the server's log that is newer than the last
my $seen = 0;
sub said
{
	my ($pattern) = @_;

	return wait_for($unslept, sub {
		my $log = substr slurp_file($node->logfile), $seen;

		return 0 unless $log =~ $pattern;
		$seen += length $log;
		return 1;
	});
}

$node->safe_psql('postgres', q{
	create extension sentinai;
	create role operator login;
	grant alter system on parameter sentinai.kafka_conf to operator});
open my $hba, '>>', $node->data_dir . '/pg_hba.conf' or die $!;
print $hba "local all operator trust\n";
close $hba;

# the directory is for the server's own file
like(asked("alter system set sentinai.secret_directory = '$top'"), qr/42501|55P02/,
	'the role cannot choose the directory');
my ($rc, $out, $err) = $node->psql('postgres',
	"\\set VERBOSITY verbose\nalter system set sentinai.secret_directory = '$top'");
like($err, qr/55P02/, 'nor does ALTER SYSTEM, whoever says it');
foreach my $bad ('relative', '/', '//', '/a/../b', '/a/..')
{
	set_conf($node, "sentinai.secret_directory = '$bad'");
	ok(said(qr/invalid value for parameter "sentinai.secret_directory": "\Q$bad\E"/),
		"not as directory: $bad");
}
set_conf($node);

# which files the role can have read
sub try_file
{
	my ($property, $path) = @_;

	is(asked("alter system set sentinai.kafka_conf = 'bootstrap.servers=127.0.0.1:9,$property=$path'"),
		'', "$property=$path is set");
	$node->reload;
	return;
}
my $dir = "sentinai.secret_directory = '$top/secrets'";
try_file('sasl.password.file', "$top/secrets/inside");
ok(said(qr/could not set up the connection.*secret_directory is not set/),
	'without a directory no file is read');
set_conf($node, $dir);
foreach my $property (qw(sasl.password.file ssl.key.location ssl.keystore.location sasl.kerberos.keytab))
{
	try_file($property, "$top/outside");
	ok(said(qr/could not set up the connection.*"\Q$top\E\/outside" of .*is not in sentinai\.secret_directory/),
		"$property: not of another directory");
	try_file($property, "$top/secrets/link");
	ok(said(qr/could not set up the connection.*is a link out of sentinai\.secret_directory/),
		"$property: not by a link");
}
try_file('ssl.ca.location', '/dev/zero');
ok(said(qr/could not set up the connection.*"\/dev\/zero" of "ssl\.ca\.location" is not a plain file/),
	'a device is no certificate');
try_file('sasl.password.file', "$top/secrets/inside");
ok(wait_for($unslept, sub {
	answer($node, 'postgres', 'select count(*) = 1 from sentinai.stat_relay where pid is not null') eq 't';
}), 'a file of the directory will do');

# a secret in the value itself
my $value = "bootstrap.servers=127.0.0.1:9,sasl.password=$canary";
foreach my $command ("alter system set sentinai.kafka_conf = '$value'",
	"ALTER SYSTEM SET Sentinai.Kafka_Conf TO '$value'",
	"set sentinai.kafka_conf = '$value'", "set local sentinai.kafka_conf = '$value'",
	"alter database postgres set sentinai.kafka_conf = '$value'",
	"alter role operator set sentinai.kafka_conf = '$value'")
{
	my ($rc2, $out2, $err2) = $node->psql('postgres', "\\set VERBOSITY verbose\n$command");

	like($err2, qr/22023/, 'refused: ' . $command =~ s/\Q$canary/.../r);
	unlike($err2, qr/$canary/, 'and not repeated');
}
my (undef, undef, $said) = $node->psql('postgres',
	"\\set VERBOSITY verbose\nalter system set sentinai.rabbitmq_conf = 'hosts=a,password=$canary'");
like($said, qr/22023.*password\.file/s, 'refused: a password of RabbitMQ in the setting');
unlike($said, qr/$canary/, 'and not repeated');
set_conf($node, $dir, "sentinai.kafka_conf = '$value'");
ok(said(qr/invalid value for parameter "sentinai.kafka_conf"\n/),
	'in the file it is refused, too');
unlike(slurp_file($node->logfile), qr/$canary/, 'and the log has it nowhere');

$node->stop;
done_testing();
