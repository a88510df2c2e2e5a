#!/bin/bash
# What a database keeps for the next load, altered: an error that says so, and not a
# row that is wrong. The exit status of a crash or of a sanitizer is none of these.
# shellcheck disable=SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO" "$MANY"
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

# The records as they are: kind and blob, in their order.
sql "$TMP/first.db" "SELECT kind, hex(state) FROM carry ORDER BY seq" >"$TMP/records"
# numbers KIND: those of its first blob, one a line.
# change: lines KIND poke LINE NUMBER, KIND same, KIND flip PLACE or sql STATEMENT, as statements.
cat >"$TMP/carry.pl" <<'EOS'
use strict;
use warnings;
my ($do, $records, $kind) = @ARGV;
my %first;
open my $in, '<', $records or die;
while (<$in>) {
	my ($of, $hex) = /^(\d+)\|(.*)/;
	$first{$of} //= pack 'H*', $hex;
}
if ($do eq 'numbers') {
	print map { "$_\n" } decode($first{$kind});
	exit;
}
while (<STDIN>) {
	my ($of, $change, @with) = split;
	if ($of eq 'sql') {
		s/^sql //;
		print;
	} elsif ($change eq 'flip') {
		my $bytes = $first{$of};
		my $at = int $with[0] * (length($bytes) - 1) / 20;
		substr($bytes, $at, 1) ^= chr(1 << $with[0] % 8);
		print "UPDATE carry SET state = x'", unpack('H*', $bytes), "' WHERE kind = $of;\n";
	} else {
		my @numbers = decode($first{$of});
		$numbers[$with[0] - 1] = $with[1] if $change eq 'poke';
		print "UPDATE carry SET state = x'", unpack('H*', join '', map { encode($_) } @numbers),
			"' WHERE seq = (SELECT min(seq) FROM carry WHERE kind = $of);\n";
	}
}

# Seven bits a byte, the lowest first; of a sign, the lowest of all.
sub decode {
	my ($value, $shift, @numbers) = (0, 0);
	for my $byte (unpack 'C*', $_[0]) {
		$value |= ($byte & 0x7f) << $shift;
		$shift += 7;
		next if $byte & 0x80;
		push @numbers, $value & 1 ? -1 - ($value >> 1) : $value >> 1;
		($value, $shift) = (0, 0);
	}
	return @numbers;
}
sub encode {
	my $value = $_[0] < 0 ? ~($_[0] << 1) : $_[0] << 1;
	my $bytes = '';
	for (; $value >= 128; $value >>= 7) {
		$bytes .= chr($value & 127 | 128);
	}
	return $bytes . chr $value;
}
EOS
numbers() { perl "$TMP/carry.pl" numbers "$TMP/records" "$1"; }

# Copies of the database with a change each, and the second segment loaded onto each of them:
# said one by one, done in one go by load_altered, in the order in which they were said.
names=()
changes() { printf '%s\n' "$1" >>"$TMP/changes"; }
refused() { # NAME SQL: after it the second segment is not loaded, and nothing is changed.
	names+=("$1")
	changes "sql $2"
}
poke() { # NAME KIND LINE NUMBER: of the first record.
	names+=("$1")
	changes "$2 poke $3 $4"
}
# Leaves I.db, and I.txt and I.err as many.c does; hashes before the load and after it.
load_altered() { # DIRECTORY
	local i count
	mkdir "$1"
	perl "$TMP/carry.pl" change "$TMP/records" <"$TMP/changes" >"$TMP/statements"
	count=$(wc -l <"$TMP/changes")
	rm "$TMP/changes"
	is "$(wc -l <"$TMP/statements")" "$count" "($count changes)"
	perl -MFile::Copy -e 'my ($from, $to, $count) = @ARGV; for (0 .. $count - 1) { copy $from, "$to/$_.db" or die }' \
		"$TMP/first.db" "$1" "$count"
	awk -v to="$1" '{ print ".open " to "/" NR - 1 ".db"; print; print "SELECT changes();" }' "$TMP/statements" >"$TMP/script"
	not_ok "(each of which changes something)" grep -qx 0 <(sql -bail :memory: <"$TMP/script" || echo 0)
	before=$(cd "$1" && sha256sum -- *.db)
	for ((i = 0; i < count; i++)); do
		printf '%s\t' "$1/$i" analyze -q "$second" -o
		printf '%s\n' "$1/$i.db"
	done >"$TMP/runs"
	ok "(all are loaded)" "$MANY" <"$TMP/runs"
	after=$(cd "$1" && sha256sum -- *.db)
}
same_as_before() { [ "$(grep " $1\.db\$" <<<"$before")" = "$(grep " $1\.db\$" <<<"$after")" ]; }

SOCKET=13 HOLDER=14 SNAPSHOT=17 COUNTERS=19 FLOW=24 RECORDING=25 PROCESS=26 ADDRESS=27 INTERFACE=28
for kind in $RECORDING $PROCESS $SOCKET $HOLDER $ADDRESS $INTERFACE $SNAPSHOT $FLOW; do
	perl "$TMP/carry.pl" change "$TMP/records" <<<"$kind same" >"$TMP/same"
	is "$(cp "$TMP/first.db" "$TMP/altered.db"; sql "$TMP/altered.db" "$(<"$TMP/same") SELECT hex(state) FROM carry")" \
		"$(sql "$TMP/first.db" "SELECT hex(state) FROM carry")" "kind $kind, taken apart and put together: the same"
	refused "kind $kind twice" "INSERT INTO carry (kind, state) SELECT kind, state FROM carry WHERE kind = $kind;"
done

# A flow like the first one has 34 numbers, the first is how many connections follow; of a
# connection the third is its id, and of one with an owner the 16th the packets by rule exact.
READING=34 CONNECTION=$((34 + 3)) RULE=$((34 + 16))
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
poke "a reading from before the flow that it is in" $FLOW $READING -1
poke "a history with a letter that there is not" $FLOW 26 $((16#18))
poke "a history that is too long" $FLOW 26 $((1 << 48))
poke "flags that there are not" $FLOW 27 4096
poke "a connection's flags that there are not" $FLOW $((CONNECTION - 2)) 8
poke "packets of a connection beyond those that can be" $FLOW $((CONNECTION + 3)) $most
poke "a port of 17 bits" $FLOW 7 70000
poke "ids below those that were given" $COUNTERS 1 0
poke "ids that leave no room" $COUNTERS 1 $most
poke "a process of no recording" $PROCESS 2 $most
poke "a socket that was not given" $SOCKET 20 -7
poke "a snapshot that was not given" $SNAPSHOT 2 $most
poke "an address of no recording" $ADDRESS 1 0
refused "a connection's row that is gone" "DELETE FROM connection WHERE connection_id = $id;"
refused "a connection's row with other packets" "UPDATE connection SET sent_packets = sent_packets + 1 WHERE connection_id = $id;"
refused "a record of no kind" "INSERT INTO carry (kind, state) VALUES (99, x'00');"
refused "an empty blob" "INSERT INTO carry (kind, state) VALUES ($FLOW, x'');"
load_altered "$TMP/altered"
for i in "${!names[@]}"; do
	is "$(<"$TMP/altered/$i.txt") $(same_as_before "$i" && echo same)" "1 same" "${names[i]}: refused, and nothing changes"
	like "$(<"$TMP/altered/$i.err")" "^pcapwho analyze: $TMP/altered/$i.db: wanted .*carry record.*, found " "and it is told"
done

# ---- any byte ----
flips=()
for kind in $RECORDING $PROCESS $SOCKET $HOLDER $ADDRESS $INTERFACE $SNAPSHOT $FLOW $COUNTERS; do
	for place in {0..20}; do
		flips+=("kind $kind, place $place")
		changes "$kind flip $place"
	done
done
load_altered "$TMP/flipped"
for i in "${!flips[@]}"; do
	echo ".open $TMP/flipped/$i.db"
	echo "SELECT $i, sum(abs(difference)) FROM accounting;"
done | sql :memory: >"$TMP/differences"
wrong=0
for i in "${!flips[@]}"; do
	status=$(<"$TMP/flipped/$i.txt")
	# 2: by the number that was altered, it comes after later ones.
	{ [[ $status = [02] ]] && grep -qx "$i|0" "$TMP/differences"; } || { [ "$status" = 1 ] && same_as_before "$i"; } ||
		{ wrong=$((wrong + 1)) && diag "${flips[i]}: $status $(<"$TMP/flipped/$i.err")"; }
done
is "$wrong" 0 "a bit flipped anywhere: an error and nothing changes, or all packets are accounted for"
done_testing
