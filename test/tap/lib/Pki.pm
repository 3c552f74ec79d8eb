# Pki.pm: authorities and certificates for one test script, in one folder.
# SPDX-License-Identifier: PostgreSQL
#
# NAME.pem is a certificate, NAME.key its key. Files of keys have mode 0600.
package Pki;

use strict;
use warnings FATAL => 'all';

use IPC::Run ();
use POSIX qw(strftime);

sub new
{
	my ($class, $dir) = @_;

	return bless { dir => $dir }, $class;
}

# openssl(ARGUMENT...): quietly.
sub openssl
{
	my (@args) = @_;
	my ($out, $err);

	IPC::Run::run([ 'openssl', @args ], '<', \undef, '>', \$out, '2>', \$err)
	  or die "openssl @args: $err";
	return $out . $err;
}

# validity(DAYS): from now on; negative: until so long ago. From 3.4 on OpenSSL
# refuses an end before the start, and takes both.
sub validity
{
	my ($days) = @_;
	my $when = sub { return strftime('%Y%m%d%H%M%SZ', gmtime(time + 86400 * shift)) };

	return ('-days', $days) if $days > 0 || openssl('x509', '-help') !~ /-not_after/;
	return ('-not_before', $when->($days - 1), '-not_after', $when->($days));
}

# authority(NAME): one that signs.
sub authority
{
	my ($self, $name) = @_;
	my $base = "$self->{dir}/$name";

	openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2',
		'-subj', "/CN=$name", '-keyout', "$base.key", '-out', "$base.pem");
	return;
}

# certificate(NAME, AUTHORITY, ALTERNATIVE [, DAYS]): signed by the authority.
# With negative days it has expired.
sub certificate
{
	my ($self, $name, $authority, $alternative, $days) = @_;
	my $base = "$self->{dir}/$name";
	my $by = "$self->{dir}/$authority";

	open my $out, '>', "$base.ext" or die $!;
	print $out "subjectAltName=$alternative\n";
	close $out;
	openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', "/CN=$name",
		'-keyout', "$base.key", '-out', "$base.csr");
	openssl('x509', '-req', validity($days // 2), '-in', "$base.csr",
		'-CA', "$by.pem", '-CAkey', "$by.key", '-CAcreateserial',
		'-extfile', "$base.ext", '-out', "$base.pem");
	chmod 0600, "$base.key" or die $!;
	return;
}

1;
