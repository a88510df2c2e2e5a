#!/usr/bin/perl
# explain.pl EVIDENCE CHOSEN: reads explanations as JSON, one after the other, and
# holds each against the evidence as this program, zcat and tshark read it. CHOSEN
# has a line "FILE NUMBER" for each. Prints what is wrong, and at the end how many
# links of which kind it looked at.
use strict;
use warnings;
use JSON::PP;

my ($evidence, $chosen) = @ARGV;
my (%packets, %snaps, %wire, %seen, $wrong, $where);

sub wrong { print "$where: @_\n"; $wrong++; }

sub same {
	my ($got, $wanted, $what) = @_;
	$seen{$what}++;
	wrong("$what: explain has ", $got // 'nothing', ", the evidence ", $wanted // 'nothing')
		if ($got // '') ne ($wanted // '');
}

sub slurp { my ($command) = @_; open my $in, '-|', $command or die; local $/; my $all = <$in>; $all; }

# ---- the captures: nanosecond pcap, little-endian, as FORMAT.md has them ----
sub packets_of {
	my ($file) = @_;
	return $packets{$file} //= do {
		open my $in, '<:raw', "$evidence/$file" or die "$file: $!";
		local $/;
		my ($bytes, $at, @list) = (scalar <$in>, 24, undef);
		die "$file: no nanosecond pcap" unless substr($bytes, 0, 4) eq "\x4d\x3c\xb2\xa1";
		while ($at < length $bytes) {
			my ($s, $ns, $captured, $wire) = unpack 'V4', substr $bytes, $at, 16;
			push @list, {offset => $at, time => $s * 1_000_000_000 + $ns, captured => $captured,
				wire => $wire, data => unpack 'H*', substr $bytes, $at + 16, $captured};
			$at += 16 + $captured;
		}
		\@list;
	};
}

# What another program makes of them: addresses and ports.
sub wire_of {
	my ($file, $number) = @_;
	$wire{$file} //= do {
		my @fields = map { "-e $_" } qw(frame.number ip.src ip.dst ipv6.src ipv6.dst tcp.srcport
			tcp.dstport udp.srcport udp.dstport ip.proto ipv6.nxt);
		my %by;
		for (split /\n/, slurp("tshark -n -r '$evidence/$file' -T fields -E occurrence=f @fields 2>/dev/null")) {
			my ($n, @f) = split /\t/, $_, -1;
			my $protocol = $f[8] || $f[9];
			$by{$n} = {src => $f[0] || $f[2], dst => $f[1] || $f[3], sport => $f[4] || $f[6],
				dport => $f[5] || $f[7]};
			# An ICMP error quotes the ports of another packet.
			$by{$n}{sport} = '' unless ($protocol || 0) =~ /^(6|17)$/;
		}
		\%by;
	};
	return $wire{$file}{$number};
}

# ---- the snapshots, as zcat gives them ----
sub lines_of {
	my ($file) = @_;
	return $snaps{$file} //= do {
		my (@lines, %frames, $frame, $offset);
		$offset = 0;
		for (split /^/, slurp("zcat '$evidence/$file'")) {
			chomp(my $text = $_);
			my @f = split /\t/, $text, -1;
			if ($f[0] eq 'frame') {
				$frame = $f[1];
				$frames{$frame} = {line => 1 + @lines, kind => $f[2], begin => $f[4], end => $f[5]};
			}
			push @lines, {text => $text, fields => \@f, offset => $offset, frame => $frame};
			$offset += length;
		}
		{lines => \@lines, frames => \%frames};
	};
}

# A line that explain quotes: it stands there.
sub line_fields {
	my ($quoted) = @_;
	my $file = lines_of($quoted->{file});
	my $line = $file->{lines}[$quoted->{line} - 1] or return wrong("no line $quoted->{line}") && [];
	my $text = $quoted->{text};
	utf8::encode($text) if utf8::is_utf8($text);
	same($quoted->{state}, 'same', "state of a $quoted->{record} line");
	same($text, $line->{text}, "text of a $quoted->{record} line");
	same($quoted->{offset_bytes}, $line->{offset}, "byte of a $quoted->{record} line");
	same($quoted->{frame}, $line->{frame}, "frame of a $quoted->{record} line");
	same($quoted->{record}, $line->{fields}[0], 'kind of a line');
	return $line->{fields};
}

sub check_packet {
	my ($e, $file, $number) = @_;
	my $p = packets_of($file)->[$number];
	for my $from ('evidence', $e->{packet}{database}{offset_bytes} ? 'database' : ()) {
		same($e->{packet}{$from}{offset_bytes}, $p->{offset}, "byte of the packet ($from)");
		same($e->{packet}{$from}{time_ns}, $p->{time}, "time of the packet ($from)");
	}
	same($e->{bytes}{data}, $p->{data}, 'bytes of the packet');
	same($e->{bytes}{original_bytes}, $p->{wire}, 'length of the packet');
	return $p;
}

sub check_flow {
	my ($e, $wire, $packet) = @_;
	my $f = $e->{flow}{database};
	my $first = packets_of($f->{file})->[$f->{first_packet_number}];
	same($f->{first_packet_offset}, $first->{offset}, "byte of the flow's first packet");
	same($f->{start_ns}, $first->{time}, "time of the flow's first packet");
	wrong("the packet is not within its flow")
		unless $f->{start_ns} <= $packet->{time} && $packet->{time} <= $f->{end_ns};
	my ($there, $back) = ("$wire->{src} $wire->{dst}", "$wire->{dst} $wire->{src}");
	if ($wire->{sport}) {
		$there = "$wire->{src} $wire->{sport} $wire->{dst} $wire->{dport}";
		$back = "$wire->{dst} $wire->{dport} $wire->{src} $wire->{sport}";
	}
	my $tuple = $wire->{sport} ? "$f->{orig_address} $f->{orig_port} $f->{resp_address} $f->{resp_port}"
		: "$f->{orig_address} $f->{resp_address}";
	$seen{'addresses of the flow'}++;
	wrong("the flow is $tuple, the packet $there") unless $tuple eq $there || $tuple eq $back;
}

# Socket row -> inode -> descriptor, use -> process, each by the fields of its own line.
sub check_owner {
	my ($c, $end, $packet) = @_;
	my (%line, @people);
	for my $quoted (@{$c->{lines}}) {
		my $f = line_fields($quoted);
		if ($quoted->{record} =~ /^(process|born)$/) { push @people, $f }
		else { $line{$quoted->{record}} = {fields => $f, quoted => $quoted} }
	}
	my $judged = $c->{judgement};
	my ($local, $remote) = ($judged->{local}, $judged->{remote});
	my $ports = wire_of($judged->{pcap}, $judged->{number})->{sport};
	if (my $s = $line{socket}) {
		my $f = $s->{fields};
		same($c->{socket}[0]{database}{inode}, $f->[10], 'inode of the socket');
		same($local->{port}, $f->[5], 'local port of the socket') if $ports;
		same($remote->{port}, $f->[7], 'remote port of the socket') if $ports && $f->[7];
		same($remote->{address}, $f->[6] =~ s/^::ffff:(?=\d+\.)//r, 'remote address of the socket')
			if $f->[7];
	}
	if (my $h = $line{holder}) {
		same($c->{socket}[0]{database}{inode}, $h->{fields}[2], 'inode of the descriptor');
		same($judged->{pid}, $h->{fields}[3], 'pid of the descriptor');
		wrong("no row of holder has descriptor $h->{fields}[6]")
			unless grep { ($_->{database}{fd} // -1) == $h->{fields}[6] } @{$c->{holders}};
	}
	if (my $u = $line{use}) {
		same($local->{port}, $u->{fields}[5], 'local port of the use') if $ports;
		same($remote->{port}, $u->{fields}[7], 'remote port of the use') if $ports;
		same($judged->{pid}, $u->{fields}[15], 'pid of the use');
		check_use($judged, $u, $packet);
	}
	return if $judged->{final_reason};
	wrong('neither a descriptor nor a use') unless $line{holder} || $line{use};
	my $process = $c->{process}[0]{database};
	same($process->{pid}, $judged->{pid}, 'pid of the process');
	same($process->{pid}, $people[0][2], 'pid of its line');
	return if $people[0][0] eq 'born';
	same($process->{comm}, $people[0][6], 'name of the process');
	same($process->{exe}, $people[0][7], 'program of the process');
	same($process->{uid}, $people[0][5], 'uid of the process');
	same($c->{parents}[$_]{database}{pid}, $people[$_ + 1][2], 'pid of a parent')
		for 0 .. $#{$c->{parents}};
	same($people[$_][4], $people[$_ + 1][2], 'who started whom') for 0 .. $#people - 1;
}

# A use is as far as the last of it and the complete readings since.
sub check_use {
	my ($judged, $use, $packet) = @_;
	my $at = $use->{fields}[11];
	same($judged->{at_ns}, $at, 'time of the use');
	same($judged->{act}, $use->{fields}[10], 'act of the use');
	return same($judged->{distance_ns}, $at - $packet->{time}, 'distance from the use after')
		if $at > $packet->{time};
	my ($latest) = sort { $b <=> $a } $at, map { $_->{end} }
		grep { $_->{kind} ne 'event' && $_->{end} <= $packet->{time} }
		values %{lines_of($use->{quoted}{file})->{frames}};
	same($judged->{distance_ns}, $packet->{time} - $latest, 'distance from the use before');
}

# How far a reading is from the packet, by the times of its frame.
sub check_frame {
	my ($c, $packet) = @_;
	my $j = $c->{judgement};
	for my $link (@{$c->{frame}}) {
		my $frame = lines_of($link->{database}{file})->{frames}{$link->{database}{sequence}};
		same($link->{database}{line}, $frame->{line}, 'line of the frame');
		same($link->{database}{begin_ns}, $frame->{begin}, 'begin of the frame');
		same($link->{database}{end_ns}, $frame->{end}, 'end of the frame');
	}
	return if !$j->{frame} || $j->{reason} || $j->{act};
	my ($quoted) = grep { $_->{record} eq 'frame' } @{$c->{lines}};
	my $frames = lines_of($quoted->{file})->{frames};
	my $end = $frames->{$j->{frame}}{end};
	if ($j->{rule} eq 'ahead') {
		my @ends = map { $frames->{$_->{frame}}{end} } grep { $_->{record} =~ /socket|holder/ } @{$c->{lines}};
		my ($latest) = sort { $b <=> $a } @ends;
		same($j->{distance_ns}, $latest - $packet->{time}, 'distance from the reading after');
	} elsif ($j->{rule} ne 'behind') {
		my @ends = map { $frames->{$_->{frame}}{end} } grep { $_->{record} =~ /socket|holder/ } @{$c->{lines}};
		my ($latest) = sort { $b <=> $a } $end, @ends;
		same($j->{distance_ns}, $packet->{time} - $latest, 'distance from the reading before')
			if $latest <= $packet->{time};
	}
}

sub check {
	my ($e, $file, $number) = @_;
	same($e->{verdict}, 'same', 'verdict');
	same($e->{differs}, 0, 'differences');
	my $packet = check_packet($e, $file, $number);
	if (!exists $e->{flow_id}) {
		$seen{'packet in no flow'}++;
		return;
	}
	my $wire = wire_of($file, $number);
	check_flow($e, $wire, $packet);
	wrong('no connection') unless @{$e->{connections}};
	my %ends;
	$ends{$_->{connection}{database}{end}}++ for @{$e->{connections}};
	same($ends{$_}, 1, 'owners of one end') for keys %ends;
	for my $c (@{$e->{connections}}) {
		my $j = $c->{judgement} or return wrong('no judgement');
		my $end = $c->{connection}{database}{end};
		same($j->{offset_bytes}, $packet->{offset}, 'byte of the packet judged');
		same($j->{number}, $number, 'number of the packet judged');
		same($j->{local}{address}, $wire->{$j->{sent} ? 'src' : 'dst'}, 'address of the end');
		same($j->{local}{port}, $wire->{$j->{sent} ? 'sport' : 'dport'}, 'port of the end') if $wire->{sport};
		same($e->{flow}{database}{"${end}_address"}, $j->{local}{address}, 'which end it is');
		same($c->{connection}{database}{reason}, $j->{final_reason}, 'reason');
		check_frame($c, $packet);
		check_owner($c, $end, $packet);
	}
}

open my $list, '<', $chosen or die "$chosen: $!";
my $json = JSON::PP->new->utf8->allow_bignum;
{
	local $/;
	$json->incr_parse(scalar <STDIN>);
}
my $explained = 0;
while (<$list>) {
	my ($file, $number) = split;
	$where = "$file:$number";
	my $e = $json->incr_parse;
	if (!$e) { wrong('no explanation'); last; }
	check($e, $file, $number);
	$explained++;
}
print "# $_: $seen{$_}\n" for sort keys %seen;
printf "explained %d, wrong %d\n", $explained, $wrong // 0;
