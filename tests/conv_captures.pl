#!/usr/bin/perl
# conv_captures.pl DIRECTORY: captures of one conversation or more in each way of
# being carried that a host meets. The same bytes each time.
use strict;
use warnings;

my ($directory) = @ARGV;
my $TIME = 1_795_290_600;
my @MAC = ("\2\0\0\0\0\2", "\2\0\0\0\0\1");
my $count;

sub a4 { pack 'C4', split /\./, shift }
sub a6 { my $n = shift; pack('n8', 0x2001, 0xdb8, 0, 0, 0, 0, 0, $n) }
sub ether { my ($type, $bytes) = @_; return $MAC[0] . $MAC[1] . pack('n', $type) . $bytes }
sub ip4 {
	my ($protocol, $from, $to, $bytes, %o) = @_;
	return pack('CCnnnCCna4a4', 0x45, 0, 20 + length $bytes, $o{id} // ++$count, $o{place} // 0x4000, 64,
		$protocol, 0, a4($from), a4($to)) . $bytes;
}
sub ip6 {
	my ($next, $from, $to, $bytes) = @_;
	return pack('NnCC', 6 << 28, length $bytes, $next, 64) . a6($from) . a6($to) . $bytes;
}
sub udp { my ($s, $d, $bytes) = @_; return pack('nnnn', $s, $d, 8 + length $bytes, 0) . $bytes }
sub tcp {
	my ($s, $d, $flags, $seq, $ack, $bytes) = @_;
	return pack('nnNNCCnnn', $s, $d, $seq, $ack, 0x50, $flags, 65535, 0, 0) . $bytes;
}
sub sctp { my ($s, $d, $chunk) = @_; return pack('nnNN', $s, $d, 1, 0) . $chunk }
sub echo { my ($type, $bytes) = @_; return pack('CCnnn', $type, 0, 0, 77, 1) . $bytes }
# A short connection; each of its packets goes through what is handed in.
sub talk {
	my ($wrap, $ip) = @_;
	my ($forth, $back) = $ip eq '4'
		? (sub { ip4(6, '192.0.2.1', '198.51.100.2', shift) }, sub { ip4(6, '198.51.100.2', '192.0.2.1', shift) })
		: (sub { ip6(6, 1, 2, shift) }, sub { ip6(6, 2, 1, shift) });
	return map { $wrap->($_) }
		$forth->(tcp(40000, 80, 2, 100, 0, '')), $back->(tcp(80, 40000, 18, 900, 101, '')),
		$forth->(tcp(40000, 80, 16, 101, 901, '')), $forth->(tcp(40000, 80, 24, 101, 901, 'x' x 100)),
		$back->(tcp(80, 40000, 24, 901, 201, 'y' x 1000)), $forth->(tcp(40000, 80, 17, 201, 1901, '')),
		$back->(tcp(80, 40000, 17, 1901, 202, '')), $forth->(tcp(40000, 80, 16, 202, 1902, ''));
}
sub capture {
	my ($name, $link, $packets, %o) = @_;
	my ($long, $short) = $o{big} ? ('N', 'n') : ('V', 'v');
	my $time = $TIME;
	open my $file, '>:raw', "$directory/$name.pcap" or die "conv_captures: $name: $!\n";
	print $file pack("$long$short$short$long$long$long$long", $o{ns} ? 0xa1b23c4d : 0xa1b2c3d4, 2, 4, 0, 0,
		$o{snaplen} // 262144, $link);
	for my $packet (@$packets) {
		my $kept = substr $packet, 0, $o{snaplen} // 262144;
		print $file pack("$long$long$long$long", $time++, 500, length $kept, length $packet), $kept;
	}
	close $file or die "conv_captures: $name: $!\n";
}

my $plain = sub { ether(0x0800, shift) };
my $six = sub { ether(0x86dd, shift) };
capture('ethernet', 1, [talk($plain, 4), talk($six, 6)]);
capture('nanoseconds', 1, [talk($plain, 4)], ns => 1);
capture('big-endian', 1, [talk($plain, 4)], big => 1);
capture('big-endian-nanoseconds', 1, [talk($plain, 4)], big => 1, ns => 1);
capture('cut', 1, [talk($plain, 4), talk($six, 6)], snaplen => 80);
capture('padded', 1, [map { $_ . "\0" x (60 - length) } grep { length() < 60 } talk($plain, 4)]);
capture('vlan', 1, [talk(sub { ether(0x8100, pack('nn', 0x2064, 0x0800) . shift) }, 4)]);
capture('qinq', 1, [talk(sub { ether(0x88a8, pack('nnnn', 100, 0x8100, 200, 0x86dd) . shift) }, 6)]);
capture('mpls', 1, [talk(sub { ether(0x8847, pack('NN', 0x00064040, 0x000c8140) . shift) }, 4)]);
capture('pppoe', 1, [talk(sub { my $ip = shift;
	ether(0x8864, pack('CCnnn', 0x11, 0, 7, 2 + length $ip, 0x0021) . $ip) }, 4)]);
capture('snap', 1, [talk(sub { my $ip = shift;
	ether(8 + length $ip, "\xaa\xaa\3\0\0\0" . pack('n', 0x0800) . $ip) }, 4)]);
capture('sll', 113, [talk(sub { pack('nnna8n', 4, 1, 6, $MAC[0], 0x0800) . shift }, 4)]);
capture('sll2', 276, [talk(sub { pack('nnNnCCa8', 0x0800, 0, 2, 1, 4, 6, $MAC[0]) . shift }, 4)]);
capture('raw', 101, [talk(sub { shift }, 4), talk(sub { shift }, 6)]);
capture('ipv4', 228, [talk(sub { shift }, 4)]);
capture('ipv6', 229, [talk(sub { shift }, 6)]);
capture('null', 0, [talk(sub { pack('V', 2) . shift }, 4), talk(sub { pack('V', 30) . shift }, 6)]);
capture('loop', 108, [talk(sub { pack('N', 2) . shift }, 4)]);
capture('ppp', 9, [talk(sub { "\xff\3\0\x21" . shift }, 4)]);
capture('ppp-direction', 204, [talk(sub { "\0\xff\3\0\x21" . shift }, 4)]);
capture('ppp-ether', 51, [talk(sub { my $ip = shift; pack('CCnnn', 0x11, 0, 7, 2 + length $ip, 0x0021) . $ip }, 4)]);
capture('cisco-hdlc', 104, [talk(sub { pack('nn', 0x0f00, 0x0800) . shift }, 4),
	talk(sub { pack('nn', 0x0f00, 0x86dd) . shift }, 6)]);
capture('sctp', 1, [map { $plain->($_) }
	ip4(132, '192.0.2.1', '198.51.100.2', sctp(3000, 3001, pack('CCnNNnnN', 1, 0, 20, 7, 65535, 1, 1, 9))),
	ip4(132, '198.51.100.2', '192.0.2.1', sctp(3001, 3000, pack('CCnNNnnN', 2, 0, 20, 7, 65535, 1, 1, 9)))]);
capture('icmp', 1, [(map { $plain->($_) } ip4(1, '192.0.2.1', '198.51.100.2', echo(8, 'x' x 56)),
		ip4(1, '198.51.100.2', '192.0.2.1', echo(0, 'x' x 56)),
		# an error that quotes a datagram
		ip4(17, '192.0.2.1', '198.51.100.2', udp(5000, 53, 'q' x 20), id => 99),
		ip4(1, '198.51.100.2', '192.0.2.1', pack('CCnN', 3, 3, 0, 0)
			. ip4(17, '192.0.2.1', '198.51.100.2', udp(5000, 53, 'q' x 20), id => 99))),
	$six->(ip6(58, 1, 2, echo(128, 'x' x 56))), $six->(ip6(58, 2, 1, echo(129, 'x' x 56)))]);
# One datagram of 3000 bytes in three fragments, both families, and one out of order.
my $datagram = udp(5000, 5001, 'f' x 3000);
my @parts = map { [$_, substr $datagram, $_, 1480] } 0, 1480, 2960;
sub parts4 { my ($id) = @_; map { $plain->(ip4(17, '192.0.2.1', '198.51.100.2', $_->[1], id => $id,
	place => $_->[0] / 8 | ($_->[0] < 2960 ? 0x2000 : 0))) } @parts }
sub parts6 { my ($id) = @_; map { $six->(ip6(44, 1, 2, pack('CCnN', 17, 0, $_->[0] | ($_->[0] < 2960), $id)
	. $_->[1])) } @parts }
capture('fragments', 1, [parts4(7), parts6(8), (parts4(9))[0, 2, 1]]);
capture('extensions', 1, [map { $six->($_) }
	ip6(0, 1, 2, pack('CCCCN', 60, 0, 1, 4, 0) . pack('CCCCN', 43, 0, 1, 4, 0)
		. pack('CCCCN', 17, 0, 0, 0, 0) . udp(6000, 6001, 'x' x 10)),
	ip6(51, 1, 2, pack('CCnNNN', 6, 2, 0, 1, 1, 0) . tcp(6000, 6002, 2, 5, 0, ''))]);
# ---- carried: the outer packet is what the host sent ----
my $vxlan = pack('NN', 0x08000000, 42 << 8);
capture('ipip', 1, [talk(sub { $plain->(ip4(4, '203.0.113.1', '203.0.113.2', shift)) }, 4)]);
capture('sit', 1, [talk(sub { $plain->(ip4(41, '203.0.113.1', '203.0.113.2', shift)) }, 6)]);
capture('gre', 1, [talk(sub { $plain->(ip4(47, '203.0.113.1', '203.0.113.2', pack('nn', 0, 0x0800) . shift)) }, 4)]);
capture('vxlan', 1, [talk(sub { $plain->(ip4(17, '203.0.113.1', '203.0.113.2',
	udp(50000, 4789, $vxlan . ether(0x0800, shift)))) }, 4)]);
capture('geneve', 1, [talk(sub { $plain->(ip4(17, '203.0.113.1', '203.0.113.2',
	udp(50000, 6081, pack('CCnNnCCN', 2, 0, 0x6558, 42 << 8, 0x0102, 3, 1, 7) . ether(0x0800, shift)))) }, 4)]);
capture('gretap', 1, [talk(sub { $plain->(ip4(47, '203.0.113.1', '203.0.113.2',
	pack('nnNNN', 0xb000, 0x6558, 0, 42, 1) . ether(0x8100, pack('nn', 100, 0x86dd) . shift))) }, 6)]);
capture('nested', 1, [talk(sub { $plain->(ip4(17, '203.0.113.1', '203.0.113.2', udp(50000, 4789, $vxlan
	. ether(0x0800, ip4(47, '203.0.113.3', '203.0.113.4', pack('nn', 0, 0x86dd) . shift))))) }, 6)]);
capture('wireguard', 1, [map { $plain->(ip4(17, '203.0.113.1', '203.0.113.2', udp(51820, 51820,
	pack('VVVV', 4, 1, $_, 0) . "\xa5" x 64))) } 1 .. 4]);
