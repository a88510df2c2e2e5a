#!/usr/bin/perl
# banned.pl FILE…: functions that the house style bans, outside of comments and
# strings, and unbounded %s in the scanf family. Prints FILE:LINE: what; exit 1.
use strict;
use warnings;

my %instead = (
	strcpy	  => 'memcpy with a checked length, or snprintf',
	strcat	  => 'snprintf',
	sprintf	  => 'snprintf',
	vsprintf  => 'vsnprintf',
	gets	  => 'getline',
	atoi	  => 'strtol with its errors checked',
	strtok	  => 'strchr or strcspn',
	alloca	  => 'malloc',
	localtime => 'gmtime_r',
	asctime	  => 'strftime',
);
my $names = join '|', sort keys %instead;
my $found = 0;

sub report {
	my ($file, $text, $offset, $what) = @_;
	my $line = 1 + (substr($text, 0, $offset) =~ tr/\n//);
	print "$file:$line: $what\n";
	$found = 1;
}

# Same length, same lines, with the insides of comments (and strings) blanked.
sub blank {
	my ($text, $strings_too) = @_;
	$text =~ s{(/\*.*?\*/|//[^\n]*)|("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')}{
		my ($comment, $string) = ($1, $2);
		my $t = $comment // $string;
		$t =~ s/[^\n]/ /g if defined $comment or $strings_too;
		$t;
	}gse;
	return $text;
}

for my $file (@ARGV) {
	open my $in, '<', $file or die "$file: $!\n";
	my $text = do { local $/; <$in> };
	close $in;
	my $code = blank($text, 1);
	while ($code =~ /(?<![\w.])(?<!->)($names)\b/g) {
		report($file, $code, $-[1], "$1 is banned: use $instead{$1}");
	}
	my $no_comments = blank($text, 0);
	while ($code =~ /\b[fv]?[sf]?scanf\s*\(/g) {
		my ($start, $end) = ($-[0], index($code, ';', $+[0]));
		my $call = substr($no_comments, $start, $end - $start);
		report($file, $code, $start, 'scanf with an unbounded %s is banned: parse by hand')
			if $call =~ /%l?(?:s|\[)/;
	}
}
exit $found;
