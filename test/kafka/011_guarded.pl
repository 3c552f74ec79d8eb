# test/kafka/011_guarded.pl: Kafka behind TLS, SCRAM-SHA-512 and ACLs. What
# stat_relay says of each thing that can be wrong, and that the right setting,
# file or ACL and a reload heal it, in the same process of the server. On Kafka 4
# without SCRAM, which librdkafka does right from 2.6.1 on.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";
use KafkaNode;
use Pki;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 60;    # seconds within which anything here has to happen
my $secrets = PostgreSQL::Test::Utils::tempdir();
my $pki = Pki->new($secrets);
my %port = map { ($_ => PostgreSQL::Test::Cluster::get_free_port()) }
  qw(ADMIN SCRAM EXPIRED MUTUAL CONTROLLER);

# put(FILE, TEXT): a private file, in place as a whole
sub put
{
	my ($file, $text) = @_;

	open my $out, '>', "$secrets/$file.new" or die $!;
	print $out $text;
	close $out;
	chmod 0600, "$secrets/$file.new" or die $!;
	rename "$secrets/$file.new", "$secrets/$file" or die $!;
	return;
}

# keystore(LISTENER, NAME): of a listener, as Kafka reads it
sub keystore
{
	my ($listener, $name) = @_;

	put("$name.store", slurp_file("$secrets/$name.key") . slurp_file("$secrets/$name.pem"));
	return map { 'listener.name.' . lc($listener) . ".ssl.$_" }
	  'keystore.type=PEM', "keystore.location=$secrets/$name.store", 'truststore.type=PEM', "truststore.location=$secrets/ours.pem";
}

# put_copy(FILE, OF)
sub put_copy
{
	my ($file, $of) = @_;

	return put($file, slurp_file("$secrets/$of"));
}

$pki->authority($_) foreach qw(ours others);
$pki->certificate('server', 'ours', 'DNS:localhost');
$pki->certificate('old', 'ours', 'DNS:localhost', -1);
$pki->certificate('relay', 'ours', 'DNS:relay');
$pki->certificate('past', 'ours', 'DNS:relay', -1);
$pki->certificate('stranger', 'others', 'DNS:relay');

my $scram = 'org.apache.kafka.common.security.scram.ScramLoginModule required;';
my $kafka = KafkaNode->new("$PostgreSQL::Test::Utils::tmp_check/kafka_guarded", $port{ADMIN},
	'--add-scram=SCRAM-SHA-512=[name=relay,password=c0ffee5ec4e7]',
	'listeners=' . join(',', map { "$_://127.0.0.1:$port{$_}" } sort keys %port),
	'advertised.listeners=' . join(',', map { "$_://localhost:$port{$_}" } grep { $_ ne 'CONTROLLER' } sort keys %port),
	'listener.security.protocol.map=ADMIN:PLAINTEXT,CONTROLLER:PLAINTEXT,SCRAM:SASL_SSL,EXPIRED:SASL_SSL,MUTUAL:SSL',
	'inter.broker.listener.name=ADMIN', "controller.quorum.voters=1\@127.0.0.1:$port{CONTROLLER}",
	'sasl.enabled.mechanisms=SCRAM-SHA-512',
	(map { "listener.name.$_.scram-sha-512.sasl.jaas.config=$scram" } qw(scram expired)),
	keystore('SCRAM', 'server'), keystore('EXPIRED', 'old'), keystore('MUTUAL', 'server'),
	'listener.name.mutual.ssl.client.auth=required',
	'authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer',
	'super.users=User:ANONYMOUS');

# allow(TOPIC): the relay may write it, by either of its names
sub allow
{
	my ($topic) = @_;

	$kafka->tool('acl', '--add', '--topic', $topic,
		(map { ('--allow-principal', "User:$_") } 'relay', 'CN=relay'),
		map { ('--operation', $_) } qw(Write Create Describe));
	return;
}

allow('sentinai.thing');

my $node = new_node('guarded', "sentinai.secret_directory = '$secrets'",
	'sentinai.launcher_naptime = 1s', 'sentinai.topic_replication = 1',
	'sentinai.topic_partitions = 1', 'sentinai.breaker_failures = 2',
	'sentinai.breaker_open_time = 1s', "include_if_exists 'test.conf'");

sub sql { return $node->safe_psql('postgres', $_[0]); }

# scram(HOST, LISTENER, CHANGE...): kafka_conf of a user with a password
sub scram
{
	my ($host, $listener, %change) = @_;

	return join ';', "bootstrap.servers=$host:$port{$listener}", map { "$_->[0]=" . ($change{ $_->[0] } // $_->[1]) }
	  [ 'security.protocol', 'sasl_ssl' ], [ 'ssl.ca.location', "$secrets/ca.pem" ],
	  [ 'sasl.mechanism', 'SCRAM-SHA-512' ], [ 'sasl.username', 'relay' ],
	  [ 'sasl.password.file', "$secrets/password" ];
}

# mutual(): kafka_conf of a client with a certificate
sub mutual
{
	return "bootstrap.servers=localhost:$port{MUTUAL};security.protocol=ssl;ssl.ca.location=$secrets/ca.pem"
	  . ";ssl.certificate.location=$secrets/client.pem;ssl.key.location=$secrets/client.key";
}

my $published = 0;
my $with_scram = ($ENV{SENTINAI_KAFKA} || 3) < 4;
my $right = $with_scram ? scram('localhost', 'SCRAM') : mutual();

# healed_ok(CASE): all that was published arrives
sub healed_ok
{
	my ($case) = @_;

	ok(wait_for($unslept, sub { return $kafka->records('sentinai.thing') >= $published; }), "$case: healed")
	  or diag(sql('select * from sentinai.stat_relay'));
	return;
}

# case_ok(CASE, SAYS, CONF, BREAK, HEAL, OPENS): after BREAK and with the setting an
# event waits, and stat_relay says why. Then HEAL, and a reload with the setting
# that it returns. OPENS: the broker is left alone meanwhile. It is in other cases
# too, but later: librdkafka tells the same error once in half a minute.
sub case_ok
{
	my ($case, $says, $conf, $break, $heal, $opens) = @_;
	my ($said, $pid) = ('', '');

	$break->();
	set_kafka_conf($node, $conf);
	my $since = sql(qq{select clock_timestamp() from sentinai.publish('Thing', 'acme', 'k', '{"n": @{[++$published]}}', 'thing')});
	wait_for($unslept, sub {
		$said = sql("select last_error from sentinai.stat_relay where last_error_at > '$since'");
		return $said =~ $says;
	});
	like($said, $says, "$case: stat_relay says so");
	# which has a line a minute, and the first may be that nothing was answered
	ok(wait_for(2 * $unslept, sub { return log_count($node, $says) > 0; }), "$case: and the log");
	is(sql('select lag_events from sentinai.stat_relay'), '1', "$case: the event waits");
	$pid = sql('select pid from sentinai.stat_relay');
	poll_ok($node, 'postgres', $unslept, q{select state = 'waiting' from sentinai.stat_relay}, "$case: the breaker is open") if $opens;
	set_kafka_conf($node, $heal->());
	healed_ok($case);
	is(sql('select pid from sentinai.stat_relay'), $pid, "$case: the process is the same");
	return;
}

# nothing to change
sub as_is { return; }

sql('create extension sentinai');
put_copy('ca.pem', 'ours.pem');
put('password', "c0ffee5ec4e7\n");
my $not_accepted = qr/certificate of the broker is not accepted: /;
my $wanted = qr/the broker wants another client certificate: /;

put_copy("client.$_", "relay.$_") foreach qw(pem key);
case_ok('wrong CA', qr/localhost:\d+.*${not_accepted}its issuer is not known \(ssl\.ca\.location\)/, $right,
	sub { put_copy('ca.pem', 'others.pem') }, sub { put_copy('ca.pem', 'ours.pem'); return $right; }, 1);
case_ok('wrong host', qr/127\.0\.0\.1:$port{SCRAM}.*${not_accepted}it is for another address \(bootstrap\.servers\)/,
	scram('127.0.0.1', 'SCRAM'), \&as_is, sub { return $right; });
case_ok('expired certificate of the broker', qr/localhost:$port{EXPIRED}.*${not_accepted}it has expired/,
	scram('localhost', 'EXPIRED'), \&as_is, sub { return $right; });
case_ok('wrong mechanism', qr/Unsupported SASL mechanism: broker's supported mechanisms: SCRAM-SHA-512/,
	scram('localhost', 'SCRAM', 'sasl.mechanism' => 'SCRAM-SHA-256'), \&as_is, sub { return $right; });
case_ok('no TLS', qr/localhost:$port{SCRAM}.*does this port want TLS\?/,
	scram('localhost', 'SCRAM', 'security.protocol' => 'sasl_plaintext'), \&as_is, sub { return $right; });
case_ok('TLS to who has none', qr/localhost:$port{ADMIN}.*does this port speak TLS\?/,
	scram('localhost', 'ADMIN'), \&as_is, sub { return $right; });
case_ok('no SASL', qr/localhost:$port{SCRAM}.*does this port want SASL\?/,
	scram('localhost', 'SCRAM', 'security.protocol' => 'ssl'), \&as_is, sub { return $right; });
case_ok('wrong password', qr/Authentication failed .*invalid credentials/, scram('localhost', 'SCRAM'),
	sub { put('password', "wr0ng5ec4e7\n"); }, sub { put('password', "c0ffee5ec4e7\n"); return $right; }, 1);
foreach my $case ([ 'expired certificate of the relay', 'past' ], [ 'certificate of another authority', 'stranger' ])
{
	case_ok($case->[0], $wanted, mutual(),
		sub { put_copy("client.$_", "$case->[1].$_") foreach qw(pem key) },
		sub { put_copy("client.$_", "relay.$_") foreach qw(pem key); return mutual(); });
}
case_ok('no certificate', $wanted, mutual() =~ s/;ssl\.(?:certificate|key)\.[^;]*//gr, \&as_is, sub { return $right; });

# A topic that may not be written: the others go on, and the right to it is enough.
set_kafka_conf($node, $right);
sql(q{select sentinai.publish('Thing', 'acme', 'k', '{"n": 0}', 'secret')});
poll_ok($node, 'postgres', $unslept, q{select topic = 'sentinai.secret' and reason ~* 'authorization'
	from sentinai.stat_relay_topic}, 'denied topic: stat_relay_topic says so');
sql(qq{select sentinai.publish('Thing', 'acme', 'k', '{"n": @{[++$published]}}', 'thing')});
healed_ok('a topic beside it');
is(sql('select state || breaker from sentinai.stat_relay'), 'runningclosed', 'denied topic: no matter for the breaker');
allow('sentinai.secret');
ok(wait_for($unslept, sub { return $kafka->records('sentinai.secret') == 1; }), 'denied topic: healed');

relay_passed_ok($node, 'postgres', $unslept, 'nothing is left');
is(join(',', map { $_->{value} =~ /"n": ?(\d+)/ } $kafka->records('sentinai.thing')), join(',', 1 .. $published),
	'all arrived, once and in order');
is(sql('select count(*) from sentinai.dead_letter'), '0', 'no dead letters');
is(log_count($node, qr/c0ffee5ec4e7|wr0ng5ec4e7|PRIVATE KEY/), 0, 'no secret in the log');
is(sql(q{select count(*) from sentinai.stat_relay where last_error ~ 'c0ffee5ec4e7|wr0ng5ec4e7'}), '0', 'nor in the view');

# Who may not read a topic cannot look what is there, says so, and goes on.
sql(qq{select sentinai.create_relay('once', 'kafka', '$right', topic_template => 'sentinai.secret', record_options => 'dedupe=tail')});
sql(q{select sentinai.publish('Thing', 'acme', 'k', '{"n": 0}', 'thing')});
poll_ok($node, 'postgres', $unslept, q{select last_error ~ 'may be sent twice.*sentinai.secret.*authorization' from sentinai.stat_relay
	where relay = 'once'}, 'dedupe without the right to read: stat_relay says so');
ok(wait_for($unslept, sub { return $kafka->records('sentinai.secret') == 2; }), 'and the event arrives');
sql(q{select sentinai.drop_relay('once')});

# Each setting of docs/kafka.md is taken, by the server and by librdkafka, which
# then tries to connect. Hosts are replaced by one that refuses, files by ours.
my $page = slurp_file("$FindBin::RealBin/../../docs/kafka.md");
put_copy('client-secret', 'password');
put_copy('connection-string', 'password');
put_copy('kafka-password', 'password');
foreach my $conf ($page =~ /^sentinai\.kafka_conf = '(.*)'$/mg)
{
	my ($since, $said);

	set_kafka_conf($node, $conf =~ s{/etc/sentinai}{$secrets}gr =~ s/^(bootstrap\.servers)=[^;]*/$1=localhost:1/r
		  =~ s{https://login[^;]*}{http://localhost:1/}r);
	$since = sql(q{select clock_timestamp() from sentinai.publish('Thing', 'acme', 'k', '{}', 'thing')});
	wait_for($unslept, sub {
		$said = sql("select last_error from sentinai.stat_relay where last_error_at > '$since'");
		return $said =~ /./;
	});
	like($said, $conf =~ /oidc/ ? qr/OIDC|token/i : qr/Connection refused/, "docs/kafka.md: $conf");
}

$node->stop;
$kafka->stop;
done_testing();
