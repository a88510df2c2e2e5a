#!/usr/bin/perl
# arrows.pl [ROOT]: which file may include which. Prints FILE:LINE: the arrow
# that is broken; exit 1 if there is any. Run from the root of the tree.
use strict;
use warnings;

chdir $ARGV[0] or die "$ARGV[0]: $!\n" if @ARGV;

# Inside analyze/ an include never points upwards. A file belongs to the family
# that its name begins with; what is not listed is a part, like decode or bridge.
my %height = (main => 5, cmd => 4, explain => 3, chain => 3, fleet => 3, load => 3, merge => 3, query => 3,
	store => 3, replay => 2);
my $part = 1;
# Only the loading side, what reads it and the commands know the database.
my %may_store = map { $_ => 1 } qw(main cmd explain chain fleet load merge query store);

# A library, and the beginnings of the names of the only files that know it.
my @libraries = (
	[qr{^pcap(?:/|\.h$)}, 'libpcap', qw(analyze/pcapin snapshot/capture)],
	[qr{^sqlite3}, 'SQLite', qw(analyze/store analyze/query analyze/chain)],
	[qr{^cap-ng\.h$}, 'libcap-ng', qw(snapshot/privilege)],
	[
		qr{^linux/(?:netlink|inet_diag|sock_diag|rtnetlink|cn_proc|connector)\.h$}, 'netlink',
		qw(snapshot/sockdiag snapshot/procevent snapshot/tcpdiag)
	],
);

my ($violations, %includes) = (0);

sub violation {
	my ($where, $what) = @_;
	print "$where: $what\n";
	$violations++;
}

sub room {
	my ($path) = @_;
	return 'format' if $path =~ m{^snapshot/format/};
	return $path =~ m{^(snapshot|analyze|tests)/} ? $1 : '';
}

sub family {
	my ($path) = @_;
	my ($name) = $path =~ m{([^/.]+)[^/]*$};
	return (grep { $name =~ /^$_/ } sort keys %height)[0] // $name;
}

sub check_rooms {
	my ($where, $file, $target) = @_;
	my ($from, $to) = (room($file), room($target));
	my %allowed = (
		format	 => { format => 1 },
		snapshot => { format => 1, snapshot => 1 },
		analyze	 => { format => 1, analyze => 1 },
		tests	 => { format => 1, snapshot => 1, analyze => 1, tests => 1 },
	);
	$from eq 'format' && $to ne 'format'
		? violation($where, "snapshot/format -> $target: the format knows neither program")
		: violation($where, "$from -> $target: not an arrow of the design")
		unless $allowed{$from}{$to};
	return $allowed{$from}{$to};
}

sub check_heights {
	my ($where, $file, $target) = @_;
	my ($from, $to) = (family($file), family($target));
	return if $from eq $to;
	my ($low, $high) = ($height{$from} // $part, $height{$to} // $part);
	violation($where, "$from -> $to: an include inside analyze/ never points upwards"
		. " (cmd -> load -> replay -> parts)") if $high > $low;
	violation($where, "$from -> store: only cmd, explain, fleet, load, merge and query know the database")
		if $to eq 'store' && !$may_store{$from};
}

sub check_include {
	my ($where, $file, $quote, $target) = @_;
	my $from = room($file);
	if ($quote eq '<') {
		return if $from eq 'tests';
		for (@libraries) {
			my ($header, $library, @files) = @$_;
			next if $target !~ $header || grep { $file =~ /^\Q$_\E\w*\.[ch]$/ } @files;
			violation($where, "$file -> $library: only @files know it");
		}
		return;
	}
	return violation($where, "\"$target\": include from the root (snapshot/... analyze/...)")
		unless room($target);
	# The one header that the build makes for itself stands in the tree, so all do.
	return violation($where, "\"$target\": no such file") unless -e $target;
	return violation($where, "\"$target\": never include a .c file")
		if $target =~ /\.c$/ && $from ne 'tests';
	$includes{$file}{$target} = $where;
	return unless check_rooms($where, $file, $target);
	check_heights($where, $file, $target) if $from eq 'analyze' && room($target) eq 'analyze';
}

sub read_file {
	my ($file) = @_;
	open my $in, '<', $file or die "$file: $!\n";
	while (my $line = <$in>) {
		check_include("$file:$.", $file, $1, $2)
			if $line =~ /^\s*#\s*include\s*([<"])([^>"]+)[>"]/;
	}
	close $in;
}

# A circle of headers, told once, from its first file in order.
my (%state, @path);
sub find_circle {
	my ($file) = @_;
	$state{$file} = 'open';
	push @path, $file;
	for my $next (sort keys %{ $includes{$file} // {} }) {
		my $s = $state{$next} // '';
		if ($s eq 'open') {
			my ($i) = grep { $path[$_] eq $next } 0 .. $#path;
			violation($includes{$file}{$next},
				'a circle: ' . join(' -> ', @path[$i .. $#path], $next));
		} elsif (!$s) {
			find_circle($next);
		}
	}
	pop @path;
	$state{$file} = 'done';
}

my @files = grep { -f } map { glob } map { ("$_/*.c", "$_/*.h") }
	qw(snapshot snapshot/format analyze), glob "tests/*";
read_file($_) for sort @files;
for (sort @files) {
	find_circle($_) unless $state{$_};
}
exit($violations ? 1 : 0);
