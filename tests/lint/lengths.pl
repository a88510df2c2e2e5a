#!/usr/bin/perl
# lengths.pl FILE…: functions over 80 lines (main: 60) and files over 700. A
# report, not a verdict: the style lets a long function have its reason.
use strict;
use warnings;

my ($function_limit, $main_limit, $file_limit) = (80, 60, 700);
my $long = 0;

sub check_function {
	my ($file, $name, $first, $last) = @_;
	my $lines = $last - $first + 1;
	my $limit = $name eq 'main' ? $main_limit : $function_limit;
	return if $lines <= $limit;
	print "$file:$first: $name() has $lines lines (limit $limit)\n";
	$long++;
}

for my $file (@ARGV) {
	open my $in, '<', $file or die "$file: $!\n";
	my ($name, $first) = ('', 0);
	while (<$in>) {
		# House style: a function's name begins in column 0, so do its braces.
		($name, $first) = ($1, $.) if /^[A-Za-z_][\w\s\*]*?(\w+)\(/;
		check_function($file, $name, $first, $.) if /^}\s*$/ && $name;
		$name = '' if /^}/ || /^\S.*;\s*$/;
	}
	if ($. > $file_limit) {
		print "$file:1: $. lines (limit $file_limit)\n";
		$long++;
	}
	close $in;
}
print "lengths: $long over the limits of the style\n";
