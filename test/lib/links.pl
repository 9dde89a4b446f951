#!/usr/bin/env perl
#
# links.pl FILE.md...: do the relative links of these files lead somewhere?
#
# The file that a link names has to exist and, if the link has an anchor, so has
# a heading of that file which becomes this anchor on GitHub.  Prints the links
# that do not; the exit status tells whether there are any.
use strict;
use warnings;

use File::Basename;
use File::Spec;

my %anchors;

# Without what is code: fences, indented blocks, and text between backticks
sub prose
{
	my ($file) = @_;
	open my $fh, '<:encoding(UTF-8)', $file or die "$file: $!\n";
	my $text = do { local $/; <$fh> };
	$text =~ s/^```.*?^```//gms;
	$text =~ s/(?<=\n\n)((?: {4}|\t)[^\n]*\n)+//g;
	return $text;
}

# The anchors of a file's headings; equal ones get numbers.
sub anchors_of
{
	my ($file) = @_;
	return $anchors{$file} if $anchors{$file};
	my (%found, %times);
	for my $heading (prose($file) =~ /^#+ +(.*?)\s*$/mg)
	{
		my $anchor = lc $heading;
		$anchor =~ s/\[([^\]]*)\]\([^)]*\)/$1/g;
		$anchor =~ s/[^\w\- ]//g;
		$anchor =~ tr/ /-/;
		my $n = $times{$anchor}++;
		$found{ $n > 0 ? "$anchor-$n" : $anchor } = 1;
	}
	return $anchors{$file} = \%found;
}

my $broken = 0;
for my $file (@ARGV)
{
	my $text = prose($file);
	$text =~ s/`[^`]*`//g;
	for my $link ($text =~ /\]\(\s*([^)\s]+)\s*\)/g)
	{
		my ($path, $anchor) = split /#/, $link, 2;
		next if $path =~ /^[a-z]+:/;
		my $to = $path eq '' ? $file : File::Spec->catfile(dirname($file), $path);
		next if -e $to && (!defined $anchor || ($to =~ /\.md$/ && anchors_of($to)->{$anchor}));
		print "$file: $link leads nowhere\n";
		$broken++;
	}
}
exit($broken > 0 ? 1 : 0);
