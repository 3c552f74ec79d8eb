# test/rabbitmq/003_tls.pl: RabbitMQ behind TLS. Who it is has to be proved, and a
# reload with the right settings heals what was wrong.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";
use Pki;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RabbitNode;
use Sentinai;
use Test::More;

my $unslept = 90;    # seconds within which anything here has to happen
my $pki = PostgreSQL::Test::Utils::tempdir();

my $makes = Pki->new($pki);

# show(NAME): the certificate that the broker has from now on
sub show
{
	my ($name) = @_;

	foreach my $kind (qw(pem key))
	{
		unlink "$pki/server.$kind";
		symlink "$pki/$name.$kind", "$pki/server.$kind" or die $!;
	}
	return;
}

$makes->authority($_) foreach qw(ours others);
$makes->certificate('new', 'ours', 'DNS:localhost,IP:127.0.0.2');
$makes->certificate('old', 'ours', 'DNS:localhost', -1);
$makes->certificate('client', 'ours', 'DNS:relay');
show('new');
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $rabbit = RabbitNode->new("$PostgreSQL::Test::Utils::tmp_check/rabbit_tls",
	"listeners.ssl.1 = 127.0.0.1:$port", "ssl_options.cacertfile = $pki/ours.pem",
	"ssl_options.certfile = $pki/server.pem", "ssl_options.keyfile = $pki/server.key",
	'ssl_options.verify = verify_peer', 'ssl_options.fail_if_no_peer_cert = true');
my $node = new_node('rabbit_tls', "sentinai.broker = 'rabbitmq'",
	"sentinai.secret_directory = '$pki'", 'sentinai.launcher_naptime = 1s',
	'sentinai.breaker_open_time = 1s', "include_if_exists 'test.conf'");

# try(HOST, AUTHORITY, MORE): the settings
sub try
{
	my ($host, $authority, @more) = @_;

	set_conf($node, "sentinai.rabbitmq_conf = '" . join(';', "hosts=$host:$port",
		'security.protocol=ssl', "ssl.ca.location=$pki/$authority.pem", @more) . "'");
	return;
}

$node->safe_psql('postgres', q{create extension sentinai;
	select sentinai.publish('Paid', 'acme', 'order-1', '{}', aggregate_type => 'order')});
my $at = qr/could not connect to RabbitMQ at/;
my $not_accepted = qr/certificate of the broker is not accepted: /;
my @own = ("ssl.certificate.location=$pki/client.pem", "ssl.key.location=$pki/client.key");
try('localhost', 'others', @own);
relay_says($node, 'postgres', $unslept, qr/$at localhost:$port: ${not_accepted}its authority is not known \(ssl\.ca\.location\)/);
try('127.0.0.1', 'ours', @own);
relay_says($node, 'postgres', $unslept, qr/$at 127\.0\.0\.1:$port: ${not_accepted}it is for another host name \(hosts\)/);
try('localhost', 'ours');
relay_says($node, 'postgres', $unslept, qr/$at localhost:$port: .*certificate required/);
show('old');
$rabbit->ctl('eval', 'ssl:clear_pem_cache().');
try('localhost', 'ours', @own);
relay_says($node, 'postgres', $unslept, qr/$at localhost:$port: ${not_accepted}it has expired/);
is($rabbit->waiting('sentinai.order'), undef, 'nothing was sent to whom was not proved');
chmod 0644, "$pki/client.key";
try('localhost', 'ours', @own);
relay_says($node, 'postgres', $unslept, qr/"ssl\.key\.location" must belong to the server's user with mode 0600/);
show('new');
$rabbit->ctl('eval', 'ssl:clear_pem_cache().');
chmod 0600, "$pki/client.key";
$node->reload;
is(scalar $rabbit->take('sentinai.order', 1), 1, 'with all that is right the event arrives');

done_testing();
