#!/bin/bash
# One capture that many processors read: larger than a part that one of them takes, it
# gives the same database for any number of workers, also where it is damaged, with a
# row for each packet, and as part of a segment.
# lib.sh assigns by name.
# shellcheck disable=SC2034,SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO"
need_command sqlite3 perl

# So many packets that it is cut in several parts: of two interfaces, on which many are seen
# one after the other, some of them fragments whose first one is some way before.
# The first one is seen once, so that the two of a pair stand on both sides of a cut.
PACKETS=1100001
# Of them, where two parts do.
FEWER=600001
counted() { echo $((($1 + 1) / 2)); }
perl -e '
	my ($packets, $fewer) = @ARGV;
	my ($number, $end) = (0, 0);
	binmode STDOUT;
	print pack("V v v V V V V", 0xa1b23c4d, 2, 4, 0, 0, 262144, 276);
	my $ns = 0;
	sub see {
		my ($interface, $ip) = @_;
		my $frame = pack("n n N n C C a8", 0x0800, 0, $interface, 1, 0, 6, "") . $ip;
		$ns += 20000;
		print pack("V4", 1795290600 + int($ns / 1e9), $ns % 1e9, length $frame, length $frame), $frame;
		$end = tell STDOUT if ++$number == $fewer;
	}
	sub ip {
		my ($id, $place, $protocol, $host, $rest) = @_;
		pack("C C n n n C C n N N", 0x45, 0, 20 + length $rest, $id, $place, 64, $protocol, 0,
			0x0a000001, 0x0a010000 + $host) . $rest;
	}
	see(2, ip(9, 0x4000, 17, 1, pack("n n n n", 1000, 53, 8, 0)));
	for (my $i = 0; $i * 2 + 1 < $packets; $i++) {
		my $port = 1024 + $i % 5000;
		my $ip = $i % 50 == 0 ? ip(1 + $i / 50 % 60000, 0x2000, 17, 1, pack("n n n n a8", $port, 53, 16, 0, ""))
			: $i % 50 == 40 ? ip(1 + ($i - 40) / 50 % 60000, 0x0002, 17, 1, "later")
			: $i % 3 == 0 ? ip($i % 65536, 0x4000, 17, $i % 7, pack("n n n n", $port, 53, 8, 0))
			: ip(0, 0x4000, 6, $i % 7, pack("n n N N C C n n n", $port, 80, $i, 1, 0x50, 0x10, 0, 0, 0));
		see(2, $ip);
		see(3, $ip);
	}
	print STDERR $end;
' "$PACKETS" "$FEWER" >"$TMP/large.pcap" 2>"$TMP/end"
head -c "$(<"$TMP/end")" "$TMP/large.pcap" >"$TMP/fewer.pcap"

analyze() { # NAME ARGUMENT…
	local name=$1
	shift
	run "$PCAPWHO" analyze -q "$@" -o "$TMP/$name.db"
}
same() { ok "$2" cmp "$TMP/$1.db" "$TMP/$3.db"; }
sql() { sqlite3 -readonly "$TMP/$1.db" "$2"; }

analyze one -j 1 "$TMP/large.pcap"
is "$status" 0 "a capture of $PACKETS packets loads"
is "$(sql one "SELECT packets, flow_packets FROM segment")" "$PACKETS|$PACKETS" "all of them"
is "$(sql one "SELECT sum(difference <> 0) FROM accounting")" 0 "each accounted for"
is "$(sql one "SELECT sum(orig_packets + resp_packets), sum(repeat_packets) FROM flow")" "$(counted $PACKETS)|$((PACKETS - $(counted $PACKETS)))" \
	"each counted once, though two interfaces saw it"
is "$(sql one "SELECT count(*) FROM other")" 0 "each fragment with the ports of its first one"
for workers in 2 5; do
	analyze "workers$workers" -j "$workers" "$TMP/large.pcap"
	same "workers$workers" "-j $workers: the same bytes" one
done

# ---- damage in the middle: what is behind it counts for nobody ----
offset=$((24 + PACKETS / 2 * (16 + 20 + 28)))
head -c "$offset" "$TMP/large.pcap" >"$TMP/damaged.pcap"
head -c 5000000 /dev/zero | tr '\0' '\377' >>"$TMP/damaged.pcap"
tail -c 20000000 "$TMP/large.pcap" >>"$TMP/damaged.pcap"
analyze damaged -j 1 "$TMP/damaged.pcap"
is "$status" 2 "a damaged one is loaded up to there"
damage_of() { sql "$1" "SELECT detail FROM coverage WHERE kind = 'damaged'"; }
like "$(damage_of damaged)" "^at byte [0-9]+: wanted a whole record after packet [0-9]+" "and says where"
is "$(sql damaged "SELECT packets FROM segment")" "$(damage_of damaged | sed 's/.*after packet \([0-9]*\).*/\1/')" \
	"what precedes it is counted once"
for workers in 4; do
	analyze "damaged$workers" -j "$workers" "$TMP/damaged.pcap"
	is "$status" 2 "-j $workers: damaged too"
	same "damaged$workers" "-j $workers: the same bytes" damaged
done

# ---- a row for each packet ----
analyze packets -j 1 --packets "$TMP/fewer.pcap"
analyze packets4 -j 4 --packets "$TMP/fewer.pcap"
same packets4 "with a row for each packet" packets
is "$(sql packets "SELECT count(*), max(number) FROM packet")" "$(counted $FEWER)|$((FEWER - 1))" "numbered as in the file"

# ---- among others ----
mkdir "$TMP/several"
ln "$TMP/fewer.pcap" "$TMP/several/b.pcap"
for name in a c d; do
	head -c $((24 + 1000 * 64)) "$TMP/large.pcap" | cat - <(head -c "$(printf '%d' "'$name")" /dev/zero) >"$TMP/several/$name.pcap"
done
analyze several -j 1 "$TMP/several"/*.pcap
analyze several4 -j 4 "$TMP/several"/*.pcap
same several4 "among small ones" several
done_testing
