#!/usr/bin/env perl
#
# metrics.pl: how many files have to know which metric it is?
#
# Outside the tables of metrics, and the kernels that go with one, so many files
# of src/hnsw and src/partition name a metric: the enums, and one that does in
# switches without default, so that the compiler tells where a new one lacks.
# Prints what breaks the rule; the exit status tells whether something does.
use strict;
use warnings;

my $most = 3;
my %enums = ('src/hnsw/hnsw_page.h' => 'HnswMetric', 'src/partition/partition.h' => 'PartitionMetric');
my %tables = map { $_ => 1 } qw(src/hnsw/metric.c src/partition/partition_metric.c src/partition/partition_metric.h);

# Code without comments and strings
sub code
{
	my ($file) = @_;
	open my $fh, '<', $file or die "$file: $!\n";
	local $/;
	my $text = <$fh>;
	$text =~ s{/\*.*?\*/}{ $& =~ s/[^\n]//gr }gse;
	$text =~ s{"(?:\\.|[^"\\\n])*"}{""}g;
	return $text;
}

my (@names, @problems, @naming);
for my $file (sort keys %enums)
{
	code($file) =~ /^typedef enum $enums{$file}\n\{(.*?)\n\}/ms or die "$file has no $enums{$file}\n";
	my $values = $1;
	push @names, $values =~ /^\s*([A-Z]\w+)/mg;
}
my $name = join '|', @names;

for my $file (sort grep { !$tables{$_} } glob 'src/hnsw/*.[ch] src/partition/*.[ch]')
{
	my $code = code($file);
	next unless $code =~ /\b(?:$name)\b/;
	push @naming, $file;

	# Cases: what stands between "switch" and the brace that ends it, as far in
	while ($code =~ /^([ \t]*)switch \([^\n]*\)[^\n]*\n\1\{(.*?)\n\1\}/msg)
	{
		my ($line, $cases) = (1 + (substr($code, 0, $-[0]) =~ tr/\n//), $2);
		push @problems, "$file:$line: a switch over metrics has a default"
			if $cases =~ /\bcase (?:$name):/ && $cases =~ /\bdefault\s*:/;
	}
	while ($code =~ /(?:[=!<>]=|[<>])\s*(?:$name)\b|\b(?:$name)\s*(?:[=!<>]=|[<>])/g)
	{
		my $line = 1 + (substr($code, 0, $-[0]) =~ tr/\n//);
		push @problems, "$file:$line: compares with one metric, which is a default for the others";
	}
}
push @problems, @naming . " files name a metric, more than $most: @naming" if @naming > $most;
print "# a metric is named by @naming\n", map { "$_\n" } @problems;
exit(@problems ? 1 : 0);
