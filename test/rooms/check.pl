#!/usr/bin/perl
# test/rooms/check.pl: the rooms of src/ are what src/README.md says.
# SPDX-License-Identifier: PostgreSQL
#
# Reads the order of the rooms from the table there, and what the rooms' READMEs
# name: every file of a room is in its README, and what they name is there. Prints
# TAP. Run it at the top of the tree, or give that as the argument.
use strict;
use warnings;
use File::Find;

chdir $ARGV[0] or die "$ARGV[0]: $!" if @ARGV;
my (%text, %place, $tests, $failed);

# result(NAME, WHAT IS WRONG...)
sub result
{
	my ($name, @wrong) = @_;

	print @wrong ? 'not ok ' : 'ok ', ++$tests, " - $name\n", map { "# $_\n" } @wrong;
	$failed += @wrong > 0;
	return;
}

# rank(FILE): place of its room in the table; what lies in no room comes last.
sub rank
{
	my ($room) = $_[0] =~ m{^([^/]+)/};

	return defined $room ? $place{$room} // -1 : 1000;
}

# Every circle that a walk over the files finds, as text.
sub circles
{
	my ($needs) = @_;
	my (%state, @found);
	my $visit;

	$visit = sub {
		my ($file, @way) = @_;

		if (($state{$file} // '') eq 'open')
		{
			push @found, join ' -> ', @way, $file;
			return;
		}
		return if $state{$file};
		$state{$file} = 'open';
		$visit->($_, @way, $file) foreach sort keys %{ $needs->{$file} };
		$state{$file} = 'done';
	};
	$visit->($_) foreach sort keys %$needs;
	return @found;
}

# calls(FILES): which .c file calls a function of which other. What is declared in a
# header without a .c file is left out: the files of one subject share it.
sub calls
{
	my ($files) = @_;
	my %code = map { $_ => $files->{$_} =~ s{/\*.*?\*/|"(?:[^"\\\n]|\\.)*"}{}gsr } keys %$files;
	my (%shared, %home, %needs);

	foreach my $header (grep { /\.h$/ && !$code{ s/h$/c/r } } keys %code)
	{
		$shared{$_} = 1 foreach $code{$header} =~ /^extern\s[^;]*?\b(\w+)\(/mg;
	}
	foreach my $file (grep { /\.c$/ } keys %code)
	{
		$home{$2} = $file while $code{$file} =~ /^(?!static|#)([\w *]+)\n(?!main\b)(\w+)\([^;{]*\)\n\{/mg;
	}
	foreach my $file (grep { /\.c$/ } keys %code)
	{
		$needs{$file}{$_} = 1 foreach grep { $_ ne $file }
		  map { $home{$_} } grep { $home{$_} && !$shared{$_} } $code{$file} =~ /\b(\w+)\b/g;
	}
	return \%needs;
}

# misnamed(FILE, TEXT): comments that name another function than the one below them.
sub misnamed
{
	my ($file, $text) = @_;
	my @found;

	while ($text =~ m{^/\*\s(?:\s\*\s)?(\w+):(?:(?!\*/).)*\*/\n(?:\w[\w *()]*\n)(\w+)\(}msg)
	{
		push @found, "$file: $1 stands above $2" if $1 ne $2 && $1 ne 'index';
	}
	return @found;
}

# content(FILE)
sub content
{
	local (@ARGV, $/) = @_;
	return scalar <>;
}

# unnamed(README, FILES...): those that it does not name. A header is named with the
# .c file of its name.
sub unnamed
{
	my ($readme, @files) = @_;
	my %named = map { $_ => 1 } $readme =~ m{([\w-]+\.[ch])\b}g;
	my %there = map { $_ => 1 } @files;

	return grep {
		my $source = s/\.h$/.c/r;
		!$named{m{([^/]+)$} && $1} && !($there{$source} && $named{$source =~ m{([^/]+)$} && $1})
	} @files;
}

# idle(FILES): functions that a header of these declares and no other file takes. The
# tests of single files count, and so does a name in quotes: the server calls it. What
# agent.h declares is for agents that stand elsewhere.
sub idle
{
	my ($files) = @_;
	my %code = map { $_ => $files->{$_} =~ s{/\*.*?\*/}{}gsr } keys %$files;
	my @found;

	foreach my $header (grep { /\.h$/ && !m{/lib/agent\.h$} } sort keys %code)
	{
		foreach my $name ($code{$header} =~ /^extern\s[^;]*?\b(\w+)\(/mg)
		{
			my @takes = grep {
				my $times = () = $code{$_} =~ /\b$name\b/g;
				$times > ($_ eq $header) && $code{$_} !~ /^$name\(/m || $code{$_} =~ /"$name"/
			} keys %code;
			push @found, "$header: $name()" unless @takes;
		}
	}
	return @found;
}

# strangers(ROOM, README): files and functions that it names and that are not there.
# A name without a folder may be of any room.
sub strangers
{
	my ($room, $readme) = @_;
	my $all = join "\n", values %text, map { content($_) } glob 'test/unit/*.c';
	my %known = map { m{([^/]+)$}; $1 => 1 } keys %text;
	my @missing;

	foreach my $name ($readme =~ m{([\w./-]*\w\.(?:c|h|md|pl|py|sh|spec|sql))\b}g)
	{
		next if $known{$name} || grep { -e "$_$name" } '', 'src/', "src/$room/", 'workers/', 'docs/design/';
		push @missing, $name;
	}
	push @missing, grep { $all !~ /\b\Q$_\E\b/ } $readme =~ /\b((?:sn|test)_\w+)\b(?!\.)/g;
	return @missing;
}

foreach (split /\n/, content('src/README.md'))
{
	$place{$1} = scalar keys %place if /^\| `(\w+)` \|/;
}
find(
	{ no_chdir => 1, wanted => sub { $text{s{^src/}{}r} = content($_) if /\.[ch]$/ } },
	'src');
die 'no table, or no files' unless %place && %text;

my (%needs, %names, @homeless, @path, @below, @kafka, @rabbitmq, @server, @version, @twins, @callbacks, @ends, %homes, %types);
foreach my $file (sort keys %text)
{
	my ($unit) = $file =~ /(.*)\.[ch]$/;
	my ($name) = $file =~ m{([^/]+)$};

	push @homeless, $file if rank($file) < 0;
	push @twins, "$file, $names{$name}" if $names{$name};
	$names{$name} = $file;
	foreach my $include ($text{$file} =~ /^#include "([^"]+)"/mg)
	{
		if (my ($ours) = grep { m{(^|/)\Q$include\E$} } keys %text)
		{
			push @path, "$file: \"$include\"" if $ours ne $include;
			push @below, "$file includes $ours" if rank($ours) > rank($file);
			my $other = $ours =~ s/\.h$//r;
			$needs{$unit}{$other} = 1 if $other ne $unit;
		}
	}
	push @{ $homes{$1} }, $file while $text{$file} =~ /^static\b[^;{}()]*\n(\w+)\(/mg;
	push @{ $types{$_} }, $file foreach $text{$file} =~ /^(?:\} |typedef enum \w+ )(Sn\w+);/mg;
	push @kafka, $file if $file !~ m{^broker/kafka/} && $text{$file} =~ /#include <librdkafka/;
	push @rabbitmq, $file if $file !~ m{^broker/rabbitmq/} && $text{$file} =~ /#include <(?:amqp|rabbitmq-c)/;
	push @callbacks, $file
	  if $file !~ m{^broker/kafka/broker_kafka_(?:gate|cause)\.c$} && $text{$file} =~ /\brd_kafka_\w+_set_\w+_cb\b/;
	push @server, $file if $file =~ m{^broker/} && $text{$file} =~ /#include "postgres\.h"/;
	push @ends, $file if $file ne 'store/xact_watch.c' && $text{$file} =~ /\bRegister(?:Sub)?XactCallback\b/;
	push @version, $file if $file ne 'base/compat.h' && $text{$file} =~ /PG_VERSION_NUM/;
}
result('every file is in a room of the table', @homeless);
result('no two files have one name', @twins);
result('no static functions of two files have one name',
	map { "$_: @{ $homes{$_} }" } grep { @{ $homes{$_} } > 1 } sort keys %homes);
result('no two of our types have one name',
	map { "$_: @{ $types{$_} }" } grep { @{ $types{$_} } > 1 } sort keys %types);
result('comments name the function that they stand above',
	map { misnamed($_, $text{$_}) } grep { /\.c$/ } sort keys %text);
result('our headers are included by their room', @path);
result('no room includes one below it', @below);
# A header without a .c file is what several files share, not one of them.
foreach my $unit (keys %needs)
{
	delete $needs{$unit} unless $text{"$unit.c"};
}
result('no circle between files', circles(\%needs));
my %programs = map { $_ => content($_) } glob '{workers/*/*,test/unit/*}.[ch]';
my %workers = map { $_ => $programs{$_} } grep { m{^workers/(?!test/)} } keys %programs;
result('no circle of calls', circles(calls(\%text)));
result('no circle of calls in workers', circles(calls(\%workers)));
result('what a header declares another file takes', idle({ %text, %programs }));
result('librdkafka is in broker/kafka/ alone', @kafka);
result('librabbitmq is in broker/rabbitmq/ alone', @rabbitmq);
result('what the client library calls on its threads is in broker_kafka_gate.c and _cause.c', @callbacks);
result('no header of the server in broker/', @server);
result('who wants to know of the end of a transaction asks store/xact_watch.c', @ends);
result('the version of the server is asked for in base/compat.h alone', @version);
result("what $_ names is there", strangers('', content($_)))
  foreach glob('docs/design/*.md'), 'workers/README.md';
my @workers = glob 'workers/*/*.[ch]';
result('the README of workers names all its files', unnamed(content('workers/README.md'), @workers));
foreach my $room ('', sort keys %place)
{
	my $name = $room || 'src';
	my $page = $room ? "src/$room/README.md" : 'src/README.md';
	my @files = grep { $room ? m{^\Q$room\E/} : !m{/} } sort keys %text;

	result("$name has a README", -e $page ? () : $page);
	next unless -e $page;
	result("the README of $name names all its files", unnamed(content($page), @files));
	result("what the README of $name names is there", strangers($room, content($page)));
}
print "1..$tests\n";
exit($failed ? 1 : 0);
