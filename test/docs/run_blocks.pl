#!/usr/bin/perl
# SPDX-License-Identifier: PostgreSQL
#
# run_blocks.pl: runs the SQL of a Markdown page and compares the answers.
#
#   run_blocks.pl FILE DATABASE
#
# A fenced block "sql" is run; "sql norun" is not. When a block "text" follows
# it, with only blank lines between, that is what psql must print; otherwise
# the block must only not raise an error. All blocks of a file run in one
# session, in order. Event ids (UUIDs) compare equal to each other.
# Prints TAP lines without a plan.
use strict;
use warnings;
use File::Temp;

my ($file, $database) = @ARGV;
die "usage: run_blocks.pl FILE DATABASE\n" unless defined $database;

# Collect the blocks: line, text, expected (or undef).
open(my $in, '<', $file) or die "could not open $file: $!\n";
my (@blocks, $kind, $indent, $text, $start, $adjacent);
while (my $line = <$in>)
{
	if (!defined $kind)
	{
		if ($line =~ /^(\s*)```(\S[^\n]*)?$/)
		{
			($indent, $kind, $text, $start) = ($1, $2 // '', '', $.);
			next;
		}
		$adjacent = 0 if $line =~ /\S/;
		next;
	}
	if ($line !~ /^\s*```\s*$/)
	{
		$line =~ s/^\Q$indent\E//;
		$text .= $line;
		next;
	}
	if ($kind eq 'sql')
	{
		push @blocks, { line => $start, sql => $text };
		$adjacent = 1;
	}
	else
	{
		$blocks[-1]{expected} = $text if $kind eq 'text' && $adjacent;
		$adjacent = 0;
	}
	undef $kind;
}
close($in);
exit 0 unless @blocks;

# One psql for all; a line between the blocks tells the answers apart.
my $script = File::Temp->new;
for my $i (0 .. $#blocks)
{
	print $script "$blocks[$i]{sql}\n\\echo \@\@$i\n";
}
close($script);
my $output = `psql -Xq -d $database <$script 2>&1`;
die "psql failed: $output" if $? >> 8 == 2;

sub normal
{
	my ($text) = @_;
	$text =~ s/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/-uuid-/g;
	$text =~ s/[ \t]+$//mg;
	$text =~ s/\n+\z/\n/;
	$text =~ s/\A\n+//;
	return $text;
}

for my $i (0 .. $#blocks)
{
	my $block = $blocks[$i];
	my $got = '';
	$got = $1 if $output =~ s/\A(.*?)^\@\@$i\n//ms;
	my $ok =
	  defined $block->{expected}
	  ? normal($got) eq normal($block->{expected})
	  : $got !~ /^(ERROR|FATAL|PANIC|WARNING):/m;
	print(($ok ? '' : 'not '), "ok - $file, SQL of line $block->{line}\n");
	next if $ok;
	print "# got:\n";
	print "#   $_\n" for split /\n/, $got;
	next unless defined $block->{expected};
	print "# expected:\n";
	print "#   $_\n" for split /\n/, $block->{expected};
}
