#!/usr/bin/perl
# make_pcap.pl LINK: a capture with nanoseconds on stdout, made of the packets
# that stdin describes, one a line; # begins a comment.
#	TIME tcp SOURCE PORT DESTINATION PORT FLAGS SEQUENCE ACKNOWLEDGED LENGTH
#	TIME udp SOURCE PORT DESTINATION PORT LENGTH
#	TIME icmp SOURCE DESTINATION TYPE CODE IDENT SEQUENCE LENGTH
#	TIME arp SOURCE DESTINATION
#	TIME bytes HEX			the whole packet after the link layer's header
# LINK: ether sll sll2 raw null. TIME: Unix time in nanoseconds. FLAGS: letters
# of S A F R P. LENGTH: of the payload. The same input gives the same bytes.
use strict;
use warnings;
use Socket qw(inet_pton AF_INET AF_INET6);

my %LINK_TYPE = (ether => 1, sll => 113, sll2 => 276, raw => 101, null => 0);
my %FLAG = (F => 1, S => 2, R => 4, P => 8, A => 16);
my ($ETHERTYPE_IPV4, $ETHERTYPE_ARP, $ETHERTYPE_IPV6) = (0x0800, 0x0806, 0x86dd);

my $link = shift // '';
defined $LINK_TYPE{$link} or die "make_pcap: wanted a link type, found '$link'\n";
binmode STDOUT;
print pack 'L<S<S<l<L<L<L<', 0xa1b23c4d, 2, 4, 0, 0, 262144, $LINK_TYPE{$link};

while (<STDIN>) {
	s/#.*//;
	my ($time, $kind, @fields) = split or next;
	my ($ethertype, $bytes) =
		  $kind eq 'tcp' ? transport(6, @fields)
		: $kind eq 'udp' ? transport(17, @fields)
		: $kind eq 'icmp' ? icmp(@fields)
		: $kind eq 'arp' ? arp(@fields)
		: $kind eq 'bytes' ? ($ETHERTYPE_IPV4, pack 'H*', $fields[0])
		: die "make_pcap: line $.: unknown '$kind'\n";
	my $packet = link_header($ethertype) . $bytes;
	print pack('L<L<L<L<', int($time / 1_000_000_000), $time % 1_000_000_000,
		length $packet, length $packet), $packet;
}

sub link_header {
	my ($ethertype) = @_;
	my $mac = pack 'C6', 2, 0, 0, 0, 0, 1;
	return pack('C6', 2, 0, 0, 0, 0, 2) . $mac . pack('n', $ethertype) if $link eq 'ether';
	return pack 'nnna8n', 4, 1, 6, $mac, $ethertype if $link eq 'sll';
	return pack 'nnNnCCa8', $ethertype, 0, 2, 1, 4, 6, $mac if $link eq 'sll2';
	return pack 'L<', $ethertype == $ETHERTYPE_IPV6 ? 10 : 2 if $link eq 'null';
	return '';
}

sub checksum {
	my ($bytes) = @_;
	my $sum = 0;
	$sum += $_ for unpack 'n*', $bytes . (length($bytes) % 2 ? "\0" : '');
	$sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
	return ~$sum & 0xffff;
}

sub address {
	my ($text) = @_;
	return inet_pton($text =~ /:/ ? AF_INET6 : AF_INET, $text)
		// die "make_pcap: line $.: no address '$text'\n";
}

# (ethertype, packet)
sub ip {
	my ($protocol, $source, $destination, $segment) = @_;
	return ($ETHERTYPE_IPV6, pack('NnCC', 6 << 28, length $segment, $protocol, 64)
			. $source . $destination . $segment)
		if length $source == 16;
	my $header = pack 'CCnnnCCn', 0x45, 0, 20 + length $segment, $. & 0xffff, 0x4000, 64, $protocol, 0;
	substr $header, 10, 2, pack 'n', checksum($header . $source . $destination);
	return ($ETHERTYPE_IPV4, $header . $source . $destination . $segment);
}

sub transport {
	my ($protocol, $from, $source_port, $to, $destination_port, @rest) = @_;
	my ($source, $destination) = (address($from), address($to));
	my ($segment, $at);
	if ($protocol == 6) {
		my ($letters, $sequence, $acknowledged, $length) = @rest;
		my $flags = 0;
		$flags |= $FLAG{$_} for split //, $letters;
		$segment = pack('nnNNCCnnn', $source_port, $destination_port, $sequence, $acknowledged,
			0x50, $flags, 0xffff, 0, 0) . 'x' x $length;
		$at = 16;
	} else {
		$segment = pack('nnnn', $source_port, $destination_port, 8 + $rest[0], 0) . 'x' x $rest[0];
		$at = 6;
	}
	my $pseudo = $source . $destination . pack 'Nnn', length $segment, 0, $protocol;
	substr $segment, $at, 2, pack 'n', checksum($pseudo . $segment) || 0xffff;
	return ip($protocol, $source, $destination, $segment);
}

sub icmp {
	my ($from, $to, $type, $code, $ident, $sequence, $length) = @_;
	my ($source, $destination) = (address($from), address($to));
	my $message = pack('CCnnn', $type, $code, 0, $ident, $sequence) . 'x' x $length;
	my $protocol = length $source == 16 ? 58 : 1;
	my $pseudo = $protocol == 1 ? '' : $source . $destination . pack 'Nnn', length $message, 0, 58;
	substr $message, 2, 2, pack 'n', checksum($pseudo . $message);
	return ip($protocol, $source, $destination, $message);
}

sub arp {
	my ($from, $to) = @_;
	return ($ETHERTYPE_ARP, pack 'nnCCna6a4a6a4', 1, $ETHERTYPE_IPV4, 6, 4, 1,
		pack('C6', 2, 0, 0, 0, 0, 1), address($from), "\0" x 6, address($to));
}
