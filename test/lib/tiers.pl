#!/usr/bin/env perl
#
# tiers.pl README [HEADER]: do calls and includes between the files of a directory run
# downward?
#
# The README beside the code has a table whose first column is "tier", from the
# lowest to the highest, and whose second column names the tier's files.  A file
# may call functions of its own tier and of those above it in the table, and no
# more than five files may call each other in a circle.
#
# A header belongs to the highest tier of the files that define what it declares;
# without any, to that of the headers it includes.  It may be included by files
# and headers of that tier and higher ones, and by files that define a part of
# it.  A directory may have one header for all its files, named after it, which is
# no interface of a tier: HEADER.
#
# Prints what breaks the rules; the exit status tells whether something does.
use strict;
use warnings;

use File::Basename;

my $max_circle = 5;
my ($readme, $shared) = @ARGV;
my $dir = dirname($readme);

sub slurp
{
	my ($file) = @_;
	open my $fh, '<', $file or die "$file: $!\n";
	local $/;
	return scalar <$fh>;
}

# The tier of each file, and the patterns' files in order
my (%tier, @problems);
my $ntiers = 0;
my $in_table = 0;
for my $line (split /\n/, slurp($readme))
{
	if ($line =~ /^\| tier \|/) { $in_table = 1; next; }
	next unless $in_table;
	last unless $line =~ /^\|/;
	next if $line =~ /^\|-/;
	my (undef, undef, $files) = split /\s*\|\s*/, $line;
	for my $file ($files =~ /`([a-z0-9_]+\.c)`/g)
	{
		push @problems, "$readme: there is no $file" unless -e "$dir/$file";
		push @problems, "$readme: $file stands in two tiers" if exists $tier{$file};
		$tier{$file} = $ntiers;
	}
	$ntiers++;
}
die "$readme has no table of tiers\n" unless $ntiers > 1;

# Code without comments and strings, who includes what, and who defines which
# function or variable
my (%code, %owner, %includes);
for my $path (sort glob "$dir/*.[ch]")
{
	my $file = basename($path);
	my $text = slurp($path);
	$text =~ s{/\*.*?\*/}{}gs;
	$includes{$file} = [ grep { -e "$dir/$_" } $text =~ m{^#include "(?:\w+/)?(\w+\.h)"}mg ];
	$text =~ s{"(?:\\.|[^"\\\n])*"}{""}g;
	$code{$file} = $text;
	next if $file =~ /\.h$/;
	push @problems, "$readme: $file has no tier" unless exists $tier{$file};
	$owner{$1} = $file while $text =~ /^(?!extern|static|typedef)\w[\w \t*]*?\b(\w+)(?:\[\w*\])*(?: = [^;]*)?;$/mg;
	while ($text =~ /^(\w[\w \t*]*)\n(\w+)\([^;{]*\)\n\{/mg)
	{
		my ($type, $name) = ($1, $2);
		$owner{$name} = $file unless $type =~ /\bstatic\b/;
	}
}

# The files that define what a header declares, and the header's tier
my %defines;
for my $header (grep { /\.h$/ } sort keys %code)
{
	while ($code{$header} =~ /^extern\b[^;]*?\b(\w+)(?:\[\w*\])*(?:\([^;]*\))?(?: pg_attribute_\w+(?:\([\w, ]*\))?)*;/mg)
	{
		my $file = $owner{$1} // next;
		$defines{$header}{$file} = 1;
		$tier{$header} = $tier{$file} if ($tier{$file} // 0) > ($tier{$header} // -1);
	}
}
sub header_tier
{
	my ($header) = @_;
	return $tier{$header} if exists $tier{$header};
	$tier{$header} = 0;			# if headers include each other
	my $highest = 0;
	for my $included (grep { $_ ne ($shared // '') } @{ $includes{$header} })
	{
		my $t = header_tier($included);
		$highest = $t if $t > $highest;
	}
	return $tier{$header} = $highest;
}
for my $file (sort keys %code)
{
	for my $header (@{ $includes{$file} })
	{
		my $own = $file =~ /\.h$/ ? header_tier($file) : $tier{$file} // $ntiers;
		next if $header eq ($shared // '') || $defines{$header}{$file} || header_tier($header) <= $own;
		push @problems, "$file includes up, $header, which declares what is in "
			. join(' ', grep { $tier{$_} > $own } sort keys %{ $defines{$header} });
	}
}

my %calls;
for my $file (grep { /\.c$/ } sort keys %code)
{
	for my $name ($code{$file} =~ /\b(\w+)\b/g)
	{
		my $to = $owner{$name};
		next if !defined $to || $to eq $file;
		$calls{$file}{$to}{$name} = 1;
	}
	for my $to (sort keys %{ $calls{$file} })
	{
		push @problems, "$file calls up to $to: " . join(' ', sort keys %{ $calls{$file}{$to} })
			if ($tier{$to} // 0) > ($tier{$file} // 0);
	}
}

# Circles: strongly connected components (Tarjan, 1972)
my ($counter, %index, %low, @stack, %on_stack) = (0);
sub visit
{
	my ($v) = @_;
	$index{$v} = $low{$v} = $counter++;
	push @stack, $v;
	$on_stack{$v} = 1;
	for my $w (sort keys %{ $calls{$v} })
	{
		if (!defined $index{$w})
		{
			visit($w);
			$low{$v} = $low{$w} if $low{$w} < $low{$v};
		}
		elsif ($on_stack{$w} && $index{$w} < $low{$v})
		{
			$low{$v} = $index{$w};
		}
	}
	return if $low{$v} != $index{$v};
	my @circle;
	do
	{
		push @circle, pop @stack;
		delete $on_stack{ $circle[-1] };
	} until $circle[-1] eq $v;
	push @problems, @circle . " files call each other in a circle: @{[sort @circle]}"
		if @circle > $max_circle;
	print "# circle of " . @circle . ": @{[sort @circle]}\n" if @circle > 1;
}
visit($_) for grep { /\.c$/ && !defined $index{$_} } sort keys %code;

print map { "$_\n" } @problems;
exit(@problems ? 1 : 0);
