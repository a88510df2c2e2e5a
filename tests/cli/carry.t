#!/bin/bash
# What a database keeps for the next load, altered: an error that says so, and not a
# row that is wrong. The exit status of a crash or of a sanitizer is none of these.
# shellcheck disable=SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO"
need_command perl sqlite3 sha256sum

sql() { sqlite3 -batch "$@"; }
first=$(echo "$ROOT"/samples/evidence/000001-*.pcap)
second=$(echo "$ROOT"/samples/evidence/000002-*.pcap)
"$PCAPWHO" analyze -q "$first" -o "$TMP/first.db" || bail "no database"
cp "$TMP/first.db" "$TMP/both.db"
run "$PCAPWHO" analyze -q "$second" -o "$TMP/both.db"
is "$status$err" 0 "the next segment goes on with what was kept"
is "$(sql "$TMP/both.db" "SELECT count(*) > 0 FROM flow f JOIN connection USING (flow_id) WHERE segment_id = 1 AND f.end_ns >
	(SELECT first_packet_ns FROM segment WHERE segment_id = 2)")" 1 "in rows of the first"

# The numbers of a kind's first blob, one a line; and back, as a statement.
cat >"$TMP/numbers.pl" <<'EOS'
use strict;
use warnings;
use Math::BigInt;
my ($do, $kind) = @ARGV;
if ($do eq 'decode') {
	my $hex = <STDIN>;
	chomp $hex;
	my ($value, $shift) = (Math::BigInt->new(0), 0);
	for my $byte (unpack 'C*', pack 'H*', $hex) {
		$value += Math::BigInt->new($byte & 0x7f)->blsft($shift);
		$shift += 7;
		next if $byte & 0x80;
		print $value->is_odd ? -(($value + 1) / 2) : $value / 2, "\n";
		($value, $shift) = (Math::BigInt->new(0), 0);
	}
} else {
	my $bytes = '';
	for my $line (<STDIN>) {
		my $value = Math::BigInt->new($line);
		$value = $value->is_neg ? -$value * 2 - 1 : $value * 2;
		while ($value >= 128) {
			$bytes .= chr(($value & 127) | 128);
			$value = $value >> 7;
		}
		$bytes .= chr $value;
	}
	print "UPDATE carry SET state = x'", unpack('H*', $bytes), "' WHERE seq = (SELECT min(seq) FROM carry WHERE kind = $kind)\n";
}
EOS
numbers() { sql "$TMP/first.db" "SELECT hex(state) FROM carry WHERE kind = $1 ORDER BY seq LIMIT 1" | perl "$TMP/numbers.pl" decode; }
# refused NAME SQL: after it the second segment is not loaded, and nothing is changed.
refused() {
	cp "$TMP/first.db" "$TMP/altered.db"
	sql "$TMP/altered.db" "$2" || bail "$2"
	local before
	before=$(sha256sum <"$TMP/altered.db")
	run "$PCAPWHO" analyze -q "$second" -o "$TMP/altered.db"
	is "$status $(sha256sum <"$TMP/altered.db")" "1 $before" "$1: refused, and nothing changes" || diag "$err"
	like "$err" "^pcapwho analyze: $TMP/altered.db: wanted .*carry record.*, found " "and it is told"
}
# poke NAME KIND LINE NUMBER: of the first record.
poke() {
	refused "$1" "$(numbers "$2" | sed "$3s/.*/$4/" | perl "$TMP/numbers.pl" encode "$2")"
}
RECORDING=11 PROCESS=12 SOCKET=13 HOLDER=14 ADDRESS=15 INTERFACE=16 SNAPSHOT=17 COUNTERS=19 FLOW=22
for kind in $RECORDING $PROCESS $SOCKET $HOLDER $ADDRESS $INTERFACE $SNAPSHOT $FLOW; do
	numbers $kind | perl "$TMP/numbers.pl" encode $kind >"$TMP/same"
	is "$(cp "$TMP/first.db" "$TMP/altered.db"; sql "$TMP/altered.db" "$(<"$TMP/same")"; sql "$TMP/altered.db" "SELECT hex(state) FROM carry")" \
		"$(sql "$TMP/first.db" "SELECT hex(state) FROM carry")" "kind $kind, taken apart and put together: the same"
	refused "kind $kind twice" "INSERT INTO carry (kind, state) SELECT kind, state FROM carry WHERE kind = $kind"
done

# A flow has 70 numbers, the first is how many connections follow; of a connection the
# fifth is its id, and the eighth the packets by rule exact.
CONNECTION=$((70 + 5)) RULE=$((70 + 8))
id=$(numbers $FLOW | sed -n ${CONNECTION}p)
is "$(sql "$TMP/first.db" "SELECT flow_id = $(numbers $FLOW | sed -n 3p) FROM connection WHERE connection_id = $id")" 1 \
	"a connection's id stands where it is thought to"
last=$(sql "$TMP/first.db" "SELECT max(connection_id) FROM connection")
most=9223372036854775807
for wrong in 0 -1 $((last + 1000000)) $most $((id == 1 ? 2 : 1)); do
	poke "connection_id $wrong" $FLOW $CONNECTION "$wrong"
done
for wrong in -1 1000000000 $most; do
	poke "rule_packets $wrong" $FLOW $RULE "$wrong"
done
for field in 2 3 4; do # recording, flow, segment
	poke "number $field of a flow beyond what was given" $FLOW $field $most
	poke "number $field of a flow negative" $FLOW $field -5
done
poke "packets of a flow that overflow" $FLOW 8 $most
poke "a reading from before the flow that it is in" $FLOW 70 1
poke "a port of 17 bits" $FLOW 7 70000
poke "ids below those that were given" $COUNTERS 1 0
poke "ids that leave no room" $COUNTERS 1 $most
poke "a process of no recording" $PROCESS 2 $most
poke "a socket that was not given" $SOCKET 20 -7
poke "a snapshot that was not given" $SNAPSHOT 2 $most
poke "an address of no recording" $ADDRESS 1 0
refused "a connection's row that is gone" "DELETE FROM connection WHERE connection_id = $id"
refused "a connection's row with other packets" "UPDATE connection SET sent_packets = sent_packets + 1 WHERE connection_id = $id"
refused "a record of no kind" "INSERT INTO carry (kind, state) VALUES (99, x'00')"
refused "an empty blob" "INSERT INTO carry (kind, state) VALUES ($FLOW, x'')"

# ---- any byte ----
wrong=0
cat >"$TMP/flip.pl" <<'EOS'
my ($kind, $place, $hex) = @ARGV;
my $bytes = pack 'H*', $hex;
my $at = int $place * (length($bytes) - 1) / 20;
substr($bytes, $at, 1) ^= chr(1 << $place % 8);
print "UPDATE carry SET state = x'", unpack('H*', $bytes), "' WHERE kind = $kind";
EOS
for kind in $RECORDING $PROCESS $SOCKET $HOLDER $ADDRESS $INTERFACE $SNAPSHOT $FLOW $COUNTERS; do
	hex=$(sql "$TMP/first.db" "SELECT hex(state) FROM carry WHERE kind = $kind ORDER BY seq LIMIT 1")
	for place in {0..20}; do
		cp "$TMP/first.db" "$TMP/altered.db"
		sql "$TMP/altered.db" "$(perl "$TMP/flip.pl" $kind "$place" "$hex")"
		before=$(sha256sum <"$TMP/altered.db")
		run "$PCAPWHO" analyze -q "$second" -o "$TMP/altered.db"
		{ [ "$status" -eq 0 ] && [ "$(sql "$TMP/altered.db" "SELECT sum(abs(difference)) FROM accounting")" = 0 ]; } ||
			{ [ "$status" -eq 1 ] && [ "$(sha256sum <"$TMP/altered.db")" = "$before" ]; } ||
			{ wrong=$((wrong + 1)) && diag "kind $kind, place $place: $status $err"; }
	done
done
is "$wrong" 0 "a bit flipped anywhere: an error and nothing changes, or all packets are accounted for"
done_testing
