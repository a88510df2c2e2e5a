#!/usr/bin/perl
# gaps.pl PCAP...: which TCP connections the capture has only in part, by their
# sequence numbers. A line for each direction with bytes missing, fields separated by
# TAB: source, its port, destination, its port, bytes. Reads whole captures of one
# recording, in order, of link types LINUX_SLL2 and EN10MB; a program of its own, that
# shares nothing with the analyzer. A beginning that was not captured counts as one byte.
use strict;
use warnings;
use Socket qw(AF_INET AF_INET6 inet_ntop);

use constant { FIN => 1, SYN => 2, RST => 4, ACK => 16 };
# Enough of a frame: SLL2 or Ethernet, IPv6 and TCP with all its options.
use constant HEADERS => 20 + 40 + 60;
my %link = (276 => [20, 0], 1 => [14, 12]); # length of its header, place of the protocol

# By direction: next is the first sequence number that was not seen, holes what is
# missing before it.
my (%open, %missing);

# a - b, of sequence numbers.
sub distance {
	my $d = ($_[0] - $_[1]) & 0xffffffff;
	return $d >= 2**31 ? $d - 2**32 : $d;
}

sub finish {
	my ($key) = @_;
	my $stream = delete $open{$key} or return;
	my $bytes = $stream->{headless} ? 1 : 0;
	$bytes += distance($_->[1], $_->[0]) for @{$stream->{holes}};
	$missing{$key} += $bytes if $bytes;
}

# What was seen is no hole any more.
sub fill {
	my ($stream, $from, $to) = @_;
	my @left;
	for my $hole (@{$stream->{holes}}) {
		my ($begin, $end) = @$hole;
		if (distance($to, $begin) <= 0 || distance($from, $end) >= 0) {
			push @left, $hole;
			next;
		}
		push @left, [$begin, $from] if distance($from, $begin) > 0;
		push @left, [$to, $end] if distance($end, $to) > 0;
	}
	$stream->{holes} = \@left;
}

# Up to there it was sent, seen or not.
sub reach {
	my ($stream, $to) = @_;
	return if distance($to, $stream->{next}) <= 0;
	push @{$stream->{holes}}, [$stream->{next}, $to];
	$stream->{next} = $to;
}

sub segment {
	my ($from, $to, $seq, $ack, $flags, $length) = @_;
	my ($key, $back) = ("$from\t$to", "$to\t$from");
	my $end = ($seq + $length + ($flags & SYN ? 1 : 0) + ($flags & FIN ? 1 : 0)) & 0xffffffff;
	if ($flags & SYN && !($open{$key} && $open{$key}{first} == $seq)) {
		finish($key);
		finish($back) unless $flags & ACK;
		$open{$key} = {first => $seq, next => $seq, holes => []};
	}
	# A reset may have any number, and acknowledges nothing; who refuses sent nothing before.
	return if $flags & RST;
	my $stream = $open{$key} //= {first => $seq, next => $seq, holes => [], headless => 1};
	reach($stream, $end);
	fill($stream, $seq, $end) if distance($end, $seq) > 0;
	reach($open{$back}, $ack) if $flags & ACK && $open{$back};
}

sub frame {
	my ($link, $bytes, $length) = @_;
	my ($at, $place) = @{$link{$link}};
	return if length $bytes < $at + 40;
	my $protocol = unpack 'n', substr $bytes, $place, 2;
	my ($next, $tcp, $size, $source, $destination);
	if ($protocol == 0x0800) {
		my ($first, $total) = unpack 'C x n', substr $bytes, $at, 4;
		$next = unpack 'C', substr $bytes, $at + 9, 1;
		$tcp = $at + 4 * ($first & 15);
		# Offload may leave the length out.
		$size = ($total || $length - $at) - 4 * ($first & 15);
		($source, $destination) = map { inet_ntop(AF_INET, substr $bytes, $at + $_, 4) } 12, 16;
	} elsif ($protocol == 0x86dd) {
		($size, $next) = unpack 'n C', substr $bytes, $at + 4, 3;
		$tcp = $at + 40;
		$size ||= $length - $tcp;
		($source, $destination) = map { inet_ntop(AF_INET6, substr $bytes, $at + $_, 16) } 8, 24;
	} else {
		return;
	}
	return if $next != 6 || length $bytes < $tcp + 20;
	my ($from, $to, $seq, $ack, $offset, $flags) = unpack 'n n N N C C', substr $bytes, $tcp, 14;
	segment("$source\t$from", "$destination\t$to", $seq, $ack, $flags, $size - 4 * ($offset >> 4));
}

for my $path (@ARGV) {
	my @how = $path =~ /\.gz$/ ? ('-|', 'gzip', '-dc', $path) : ('<', $path);
	open(my $in, shift @how, @how) or die "gaps.pl: $path: $!\n";
	binmode $in;
	read($in, my $head, 24) == 24 or die "gaps.pl: $path: no pcap\n";
	# Either is the magic in the byte order of the writer.
	my $order = unpack('V', $head) =~ /^(?:2712847316|2712812621)$/ ? '<' : '>';
	my $type = unpack("x20 L$order", $head) & 0xffff;
	$link{$type} or die "gaps.pl: $path: link type $type\n";
	while (read($in, my $record, 16) == 16) {
		my ($captured, $length) = unpack "x8 L${order}2", $record;
		my $want = $captured < HEADERS ? $captured : HEADERS;
		read($in, my $bytes, $want) == $want or last;
		frame($type, $bytes, $length);
		if ($path =~ /\.gz$/) { read $in, my $rest, $captured - $want }
		else { seek $in, $captured - $want, 1 }
	}
}
finish($_) for keys %open;
print "$_\t$missing{$_}\n" for sort keys %missing;
