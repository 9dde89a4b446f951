#!/usr/bin/env perl
#
# sizes.pl FILE...: house rules on sizes: no file of more than 1,000 lines, and
# in C no function of more than 100 lines or 7 parameters.  Prints what breaks
# them; the exit status tells whether something does.
use strict;
use warnings;

my ($max_file, $max_function, $max_parameters) = (1000, 100, 7);
my $bad = 0;

# PostgreSQL says what these have: callbacks, and a stand-in for one of its functions.
my %prescribed = map { $_ => 1 } qw(hnsw_insert hnsw_costestimate bm25_insert bm25_costestimate deconstruct_array);

sub complain
{
	print "@_\n";
	$bad = 1;
}

for my $file (@ARGV)
{
	open my $fh, '<', $file or die "$file: $!\n";
	my @lines = <$fh>;
	complain("$file: " . @lines . " lines") if @lines > $max_file;
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
		1 while $parameters =~ s/\([^()]*\)//g;
		my $n = ($parameters =~ tr/,//) + 1;
		complain("$file: $name has $n parameters") if $n > $max_parameters && !$prescribed{$name};
	}
}
exit $bad;
