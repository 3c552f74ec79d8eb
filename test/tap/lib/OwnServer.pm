# OwnServer.pm: a server whose extension folder and libraries are a test's own, so
# that it can have versions that are not installed.
# SPDX-License-Identifier: PostgreSQL
package OwnServer;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use File::Copy;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(own_server version_of set_version);

# Programs look for their files beside where they lie, so these are copied; all
# else is a link.
my @programs = qw(postgres initdb pg_ctl pg_config);

sub config
{
	my ($what) = @_;

	chomp(my $path = `pg_config --$what`);
	return $path;
}

# fill(FROM, TO, FILE...): a folder with links to what another has, but for the
# files, which are copied.
sub fill
{
	my ($from, $to, %copied) = @_;

	system_or_bail('mkdir', '-p', $to);
	foreach my $file (glob "$from/*")
	{
		my ($name) = $file =~ m{([^/]*)$};

		if ($copied{$name})
		{
			copy($file, "$to/$name") or die "$file: $!";
			chmod 0755, "$to/$name";
		}
		elsif (!-e "$to/$name")
		{
			symlink $file, "$to/$name" or die "$file: $!";
		}
	}
	return;
}

# own_server(DIR): makes it below a folder. Its programs, extensions and libraries.
sub own_server
{
	my ($dir) = @_;
	my ($bin, $share, $lib) = map { config($_) } qw(bindir sharedir pkglibdir);
	my ($root) = "$bin\0$share" =~ m{^(/.*/|/)[^\0]*\0\1};
	my ($my_bin, $my_share, $my_lib) = map { "$dir/server/" . substr($_, length $root) } $bin, $share, $lib;

	fill("$share/extension", "$my_share/extension", 'sentinai.control' => 1, 'sentinai_platform.control' => 1);
	fill($share, $my_share);
	fill($lib, $my_lib, 'sentinai.so' => 1) if $my_lib ne $my_bin;
	fill($bin, $my_bin, map { $_ => 1 } @programs, $my_lib eq $my_bin ? 'sentinai.so' : ());
	return ($my_bin, "$my_share/extension", $my_lib);
}

# version_of(CONTROL): what a control file says; set_version() has it say another.
sub version_of
{
	my ($control) = @_;

	return slurp_file($control) =~ /default_version = '(.*?)'/ ? $1 : die $control;
}

sub set_version
{
	my ($control, $version) = @_;
	my $text = slurp_file($control);

	unlink $control;
	append_to_file($control, $text =~ s/(?<=default_version = ')[^']*/$version/r);
	return;
}

1;
