#!/bin/bash
# kernel.sh [CONNECTIONS [BYTES]]: the payload in the pcaps against the kernel's
# own count at the close of each socket (view kernel_check), for one transfer of
# BYTES (default 1 GB) and CONNECTIONS short ones (default 10000) as fast as they
# go, over loopback. As root. Fails if any end differs without a drop or a
# retransmission that explains it, or if none was counted. Other options of the
# recorder come from KERNEL_OPTIONS; BUILD is where the programs are.
set -uo pipefail

ROOT=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)
BUILD=$(realpath "${BUILD:-$ROOT/build}")
CONNECTIONS=${1:-10000}
BYTES=${2:-1000000000}
[ "$(id -u)" -eq 0 ] || { echo 'kernel.sh: needs root: captures' >&2; exit 77; }
work=$(mktemp -d "${TMPDIR:-/tmp}/pcapwho-bench.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
status=0

# One server process and one client process, which say what port the server has.
cat >"$work/talk.pl" <<'PERL'
use strict;
use warnings;
use IO::Socket::INET;
my ($connections, $bytes, $port_file) = @ARGV;
my $listener = IO::Socket::INET->new(Listen => 128, LocalAddr => '127.0.0.1') or die;
open my $file, '>', $port_file or die;
print $file $listener->sockport;
close $file;
my $server = fork // die;
if (!$server) {
	for my $i (1 .. $connections) {
		my $peer = $listener->accept or die;
		sysread $peer, my $data, 65536 or die;
		if ($bytes) {
			1 while sysread $peer, $data, 1 << 20;
		} else {
			syswrite $peer, 'a' x (1 + 7 * ($i % 500));
			shutdown $peer, 1 if $i % 2;
			sysread $peer, $data, 1;
		}
		close $peer;
	}
	exit 0;
}
for my $i (1 .. $connections) {
	my $peer = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
		PeerPort => $listener->sockport) or die;
	if ($bytes) {
		my $block = 'b' x (1 << 20);
		for (my $left = $bytes; $left > 0;) {
			my $sent = syswrite $peer, $block, $left < length $block ? $left : length $block;
			$left -= $sent // die;
		}
	} else {
		syswrite $peer, 'q' x (1 + $i % 300);
		my $left = 1 + 7 * ($i % 500);
		while ($left > 0) {
			my $got = sysread $peer, my $data, $left or die;
			$left -= $got;
		}
		sysread $peer, my $end, 1 if $i % 2;
	}
	close $peer;
}
waitpid $server, 0;
# The last closes are still to be told.
select undef, undef, undef, 2;
exit($? >> 8);
PERL

# play TITLE CONNECTIONS BYTES OPTION…
play() {
	local title=$1 connections=$2 bytes=$3 port ends differs
	shift 3
	printf '\n== %s\n' "$title"
	rm -rf "$work/evidence" "$work/traffic.db"
	# shellcheck disable=SC2086
	"$BUILD/pcapwho-record" -o "$work/evidence" -i lo -f tcp -B 256 --interval 100ms \
		--cpu-budget 20% "$@" ${KERNEL_OPTIONS:-} -- \
		perl "$work/talk.pl" "$connections" "$bytes" "$work/port" 2>"$work/err" || status=1
	grep -E 'packets|snapshots|watching' "$work/err"
	"$BUILD/pcapwho" analyze -q "$work/evidence" -o "$work/traffic.db" || { status=1; return; }
	port=$(<"$work/port")
	sqlite3 -readonly -batch "$work/traffic.db" "
		CREATE TEMP TABLE checked AS SELECT * FROM kernel_check WHERE $port IN (local_port, remote_port);
		SELECT printf('%-14s %6d ends, %d bytes in the pcaps, %d by the kernel, %d of these retransmitted',
			verdict, count(*), sum(sent_payload_bytes), sum(kernel_sent_bytes),
			sum(kernel_retransmitted_bytes)) FROM checked GROUP BY verdict;
		SELECT printf('%-14s %6d ends', 'not counted', 2 * count(*) - (SELECT count(*) FROM checked))
			FROM flow WHERE protocol = 'tcp' AND $port IN (orig_port, resp_port);
		SELECT printf('differs: flow %d %s sent %+d received %+d %s', flow_id, direction,
			sent_difference, received_difference, history)
			FROM checked WHERE verdict = 'differs' LIMIT 20;" | tee "$work/result"
	differs=$(grep -c '^differs' "$work/result")
	ends=$(grep -cE '^(equal|retransmitted|dropped|reset|surplus|cut) ' "$work/result")
	if [ "$differs" -gt 0 ] || [ "$ends" -eq 0 ]; then
		status=1
	fi
}

play "one transfer of $BYTES bytes, as fast as it goes" 1 "$BYTES"
# A disk that cannot keep up drops none of these.
play "the same, headers alone are kept" 1 "$BYTES" --snaplen 128
play "$CONNECTIONS short connections" "$CONNECTIONS" 0
exit "$status"
