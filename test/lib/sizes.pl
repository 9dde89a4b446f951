#!/usr/bin/env perl
#
# sizes.pl FILE...: house rules on sizes: no file of more than 1,000 lines, no
# function of more than 7 parameters (in C and Python, whose "self" does not
# count) or, in C, more than 100 lines.  Prints what breaks them; the exit status
# tells whether something does.
use strict;
use warnings;

my ($max_file, $max_function, $max_parameters) = (1000, 100, 7);
my $bad = 0;

# PostgreSQL says what these have: its callbacks, and a stand-in for one of its functions.
my %prescribed = map { $_ => 1 } qw(hnsw_insert hnsw_costestimate bm25_insert bm25_costestimate deconstruct_array);

sub complain
{
	print "@_\n";
	$bad = 1;
}

# How many parameters a list has, without what stands in brackets
sub parameters
{
	my ($list) = @_;
	1 while $list =~ s/\([^()]*\)|\[[^][]*\]|\{[^{}]*\}//g;
	return scalar grep { /\S/ } split /,/, $list;
}

for my $file (@ARGV)
{
	open my $fh, '<', $file or die "$file: $!\n";
	my @lines = <$fh>;
	complain("$file: " . @lines . " lines") if @lines > $max_file;
	if ($file =~ /\.py$/)
	{
		my $text = join '', @lines;
		while ($text =~ /^[ ]*(?:async )?def (\w+)(\((?:[^()]|(?2))*\))/mg)
		{
			my ($name, $list) = ($1, substr($2, 1, -1));
			my $n = parameters($list =~ s/^\s*(?:self|cls)\b//r);
			complain("$file: $name has $n parameters") if $n > $max_parameters;
		}
	}
	next unless $file =~ /\.[ch]$/;
	my ($start, $head) = (0, '');
	for my $i (0 .. $#lines)
	{
		# The name begins a line; the body is between braces that do.
		if ($lines[$i] =~ /^(\w+) ?\(/) { ($start, $head) = ($i, '') }
		$head .= $lines[$i];
		next unless $lines[$i] =~ /^\{/ && $head =~ /^(\w+) ?\((.*)\)\s*\{$/s;
		my ($name, $parameters) = ($1, $2);
		my ($end) = grep { $lines[$_] =~ /^\}/ } $i .. $#lines;
		next unless defined $end;
		complain("$file: $name has " . ($end - $start + 1) . " lines")
			if $end - $start + 1 > $max_function;
		my $n = parameters($parameters);
		complain("$file: $name has $n parameters") if $n > $max_parameters && !$prescribed{$name};
	}
}
exit $bad;
