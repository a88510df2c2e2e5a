#!/usr/bin/perl
# conv.pl CAPTURE DATABASE: holds the conversations in a database made with
# --packets against what tshark finds in the same capture, and prints each
# difference: KIND KEY tshark PACKETS BYTES pcapwho PACKETS BYTES REASON. KIND is
# "explained" or "differs"; tests/cli/conv.t has the table of reasons.
#
# Packets of a conversation are those of tshark's -z conv, bytes the lengths of
# their IP headers. Flow instances of one pair of ends are added up.
use strict;
use warnings;
use Socket qw(inet_pton inet_ntop AF_INET AF_INET6);

my ($capture, $database) = @ARGV;
my %PROTOCOL = (6 => 'tcp', 17 => 'udp', 132 => 'sctp', 1 => 'icmp', 58 => 'icmp6');
# Nothing that joins frames: each is counted for what it is itself.
my @TSHARK = ('tshark', '-n', '-r', $capture, map { ('-o', "$_:FALSE") }
	qw(ip.defragment ipv6.defragment tcp.desegment_tcp_streams sctp.reassembly));

sub lines {
	open my $pipe, '-|', @_ or die "conv: $_[0]: $!\n";
	chomp(my @lines = <$pipe>);
	close $pipe;
	return @lines;
}

sub canonical {
	my ($text) = @_;
	return $text =~ /:/ ? inet_ntop(AF_INET6, inet_pton(AF_INET6, $text)) : $text;
}

sub key_of {
	my ($protocol, $source, $sport, $destination, $dport) = @_;
	return join ' ', $protocol, sort(canonical($source) . " $sport", canonical($destination) . " $dport");
}

# ---- frame by frame: lengths, and what explains a difference ----
my @FIELDS = qw(frame.number ip.proto ip.src ip.dst ip.len ip.id ip.frag_offset
	ipv6.src ipv6.dst ipv6.plen ipv6.fraghdr.offset ipv6.fraghdr.ident
	tcp.srcport tcp.dstport udp.srcport udp.dstport sctp.srcport sctp.dstport
	frame.protocols);
my (%frames, %bytes, %counted, %later, %ports);
my $conversations;
for (lines(@TSHARK, '-T', 'fields', '-E', 'separator=/t', '-E', 'occurrence=a', '-E', 'aggregator=,',
		(map { ('-e', $_) } @FIELDS), map { ('-z', "conv,$_") } qw(tcp udp sctp))) {
	my %f;
	$conversations = lc $1 if /^(TCP|UDP|SCTP) Conversations/;
	if (my ($a, $b, $back, $forth) = m/^(\S+)\s+<->\s+(\S+)\s+(\d+)\s+[\d,.]+\s\S+\s+(\d+)\s/) {
		my ($from, $sport) = $a =~ /^(.*):(\d+)$/;
		my ($to, $dport) = $b =~ /^(.*):(\d+)$/;
		$frames{key_of($conversations, $from, $sport, $to, $dport)} += $back + $forth;
	}
	next unless /\t/;
	@f{@FIELDS} = split /\t/, $_, -1;
	my ($first) = $f{'frame.protocols'} =~ /(?:^|:)(ip|ipv6)(?=:|$)/ or next;
	my %one = map { $_ => (split /,/, $f{$_} // '', -1)[0] // '' } @FIELDS;
	my ($protocol, $source, $destination, $length, $later, $datagram);
	if ($first eq 'ip') {
		($source, $destination, $length) = @one{qw(ip.src ip.dst ip.len)};
		$protocol = $one{'ip.proto'};
		$later = ($one{'ip.frag_offset'} || 0) > 0;
		$datagram = join ' ', $source, $destination, $protocol, hex($one{'ip.id'} || 0);
	} else {
		($source, $destination) = @one{qw(ipv6.src ipv6.dst)};
		$length = ($one{'ipv6.plen'} || 0) + 40;
		$later = ($one{'ipv6.fraghdr.offset'} || 0) > 0;
		$datagram = join ' ', $source, $destination, hex($one{'ipv6.fraghdr.ident'} || 0);
	}
	my $stack = $f{'frame.protocols'};
	# The transport of the first IP header, not of one that it carries.
	my ($carried) = $stack =~ /(?:^|:)$first:(?:ipv6\.[a-z]+:|ah:)*([a-z0-9]+)/;
	next if !defined $carried && !$later;
	if ($later) {
		$later{$datagram}{packets}++;
		$later{$datagram}{bytes} += $length;
		next;
	}
	my $key;
	if ($carried =~ /^(tcp|udp|sctp)$/ && $one{"$carried.srcport"} ne '') {
		$key = key_of($carried, $source, $one{"$carried.srcport"}, $destination, $one{"$carried.dstport"});
	} elsif ($carried =~ /^icmp(v6)?$/) {
		$key = key_of($1 ? 'icmp6' : 'icmp', $source, 0, $destination, 0);
		$frames{$key}++;
	} else {
		next;
	}
	$bytes{$key} += $length;
	$counted{$key}++;
	$ports{$datagram} = $key;
}
for my $datagram (keys %later) {
	my $key = $ports{$datagram} or next;
	$frames{$key} += $later{$datagram}{packets};
	$bytes{$key} += $later{$datagram}{bytes};
	$counted{$key} += $later{$datagram}{packets};
}

# ---- pcapwho's ----
my (%packets, %ours, %repeats);
for (lines('sqlite3', '-readonly', '-batch', '-separator', "\t", $database,
		"SELECT protocol, orig_address, orig_port, resp_address, resp_port, sum(orig_packets + resp_packets),
		sum(orig_bytes + resp_bytes), sum(repeat_packets) FROM flow
		WHERE protocol IN ('tcp', 'udp', 'sctp', 'icmp', 'icmp6') GROUP BY 1, 2, 3, 4, 5")) {
	my ($protocol, $from, $sport, $to, $dport, $packets, $bytes, $repeats) = split /\t/;
	($sport, $dport) = (0, 0) if $protocol =~ /^icmp/;
	my $key = key_of($protocol, $from, $sport, $to, $dport);
	$packets{$key} += $packets;
	$ours{$key} += $bytes;
	$repeats{$key} += $repeats;
}
my %other = map { split /\t/ } lines('sqlite3', '-readonly', '-batch', '-separator', "\t", $database,
	'SELECT reason, sum(packets) FROM other GROUP BY 1');

my %all = map { $_ => 1 } keys %frames, keys %packets;
for my $key (sort keys %all) {
	my ($theirs, $ours) = ($frames{$key} // 0, $packets{$key} // 0);
	my ($their_bytes, $our_bytes) = ($bytes{$key} // 0, $ours{$key} // 0);
	next if $theirs == $ours && $their_bytes == $our_bytes;
	my $reason = '-';
	if ($repeats{$key} && $ours + $repeats{$key} == $theirs) {
		$reason = 'repeat';
	} elsif (!$counted{$key} && $ours == 0) {
		$reason = 'carried';   # tshark's conversation has no frame of which it is the outer one
	} elsif ($counted{$key} && $counted{$key} == $ours && $theirs > $ours) {
		$reason = 'carried';
	} elsif ($theirs == $ours && $our_bytes != $their_bytes) {
		$reason = 'length';
	} elsif ($ours < $theirs && $theirs - $ours <= ($other{malformed} // 0) + ($other{truncated} // 0)) {
		$reason = 'unreadable';
	}
	my $kind = $reason eq '-' ? 'differs' : 'explained';
	print "$kind $key tshark $theirs $their_bytes pcapwho $ours $our_bytes $reason\n";
}
