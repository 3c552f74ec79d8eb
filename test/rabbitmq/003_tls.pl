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

$makes->authority($_) foreach qw(ours others);
$makes->certificate('server', 'ours', 'DNS:localhost,IP:127.0.0.2');
$makes->certificate('client', 'ours', 'DNS:relay');
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
my @own = ("ssl.certificate.location=$pki/client.pem", "ssl.key.location=$pki/client.key");
try('localhost', 'others', @own);
relay_says($node, 'postgres', $unslept, qr/could not connect to RabbitMQ at localhost:$port: .*(SSL|verif)/i);
try('127.0.0.1', 'ours', @own);
relay_says($node, 'postgres', $unslept, qr/could not connect to RabbitMQ at 127\.0\.0\.1:$port: .*host/i);
try('localhost', 'ours');
relay_says($node, 'postgres', $unslept, qr/could not connect to RabbitMQ at localhost:$port: /);
is($rabbit->waiting('sentinai.order'), undef, 'nothing was sent to whom was not proved');
chmod 0644, "$pki/client.key";
try('localhost', 'ours', @own);
relay_says($node, 'postgres', $unslept, qr/"ssl\.key\.location" must belong to the server's user with mode 0600/);
chmod 0600, "$pki/client.key";
$node->reload;
is(scalar $rabbit->take('sentinai.order', 1), 1, 'with all that is right the event arrives');

done_testing();
