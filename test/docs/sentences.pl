#!/usr/bin/perl
# SPDX-License-Identifier: PostgreSQL
#
# sentences.pl: which sentences of Markdown pages are too long?
#
#   sentences.pl WORDS CELL FILE...
#
# Prints "FILE:LINE: N words: SENTENCE" for each sentence with more than WORDS
# words, and "FILE:LINE: cell of N words: CELL" for each cell of a table with
# more than CELL. The pages are for readers of another first language. Code
# blocks and comments are no prose; a piece of code in a sentence counts as one
# word. A sentence ends with a full stop, a question or exclamation mark or a
# colon that the next word follows in capitals, and with its paragraph or item.
use strict;
use warnings;

my ($most, $cell, @files) = @ARGV;
die "usage: sentences.pl WORDS CELL FILE...\n" unless @files;

# The words of a text; what has no letter and no digit is none.
sub words
{
	return scalar grep { /[[:alnum:]]/ } split ' ', $_[0];
}

# Inline code, links and marks away.
sub plain
{
	my ($text) = @_;
	$text =~ s/`[^`]*`/Code/g;
	$text =~ s/!?\[([^\]]*)\]\([^)]*\)/$1/g;
	$text =~ s/\*\*?//g;
	return $text;
}

# One paragraph or item of a list that began in that line.
sub prose
{
	my ($file, $line, $text) = @_;
	for my $sentence (split /(?<=[.!?:])["”)]*\s+(?=["“(]*[[:upper:][:digit:]])/,
		plain($text))
	{
		my $n = words($sentence);
		$sentence =~ s/^\s+|\s+$|(?<=\s)\s+//g;
		$sentence =~ s/\n/ /g;
		print "$file:$line: $n words: $sentence\n" if $n > $most;
	}
}

sub row
{
	my ($file, $line, $text) = @_;
	for my $part (split /\|/, plain($text))
	{
		my $n = words($part);
		print "$file:$line: cell of $n words:$part\n" if $n > $cell;
	}
}

for my $file (@files)
{
	my ($text, $start, $code, $comment) = ('', 0, 0, 0);
	open(my $in, '<:encoding(UTF-8)', $file) or die "could not open $file: $!\n";
	binmode(STDOUT, ':encoding(UTF-8)');
	while (my $line = <$in>)
	{
		my $fence = $line =~ /^\s*```/;
		$comment = 1 if !$code && $line =~ /^<!--/;
		my $ends = $code || $comment || $fence || $line =~ /^\s*$|^\s*\||^#/;
		my $begins = $line =~ s/^\s*(?:[*-]|\d+\.)\s+//;
		if ($ends || $begins)
		{
			prose($file, $start, $text);
			$text = '';
		}
		row($file, $., $line) if !$code && !$comment && $line =~ /^\s*\|/;
		if (!$ends)
		{
			$start = $. if $text eq '';
			$text .= ' ' . $line;
		}
		$code = !$code if $fence;
		$comment = 0 if $comment && $line =~ /-->/;
	}
	prose($file, $start, $text);
	close($in);
}
