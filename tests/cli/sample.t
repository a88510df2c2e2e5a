#!/bin/bash
# sample.t: the sample recording gives the table that stands beside it, and
# the questions of its README can be asked.
. "${0%/*}/lib.sh"

export ROOT
db=$TMP/sample.db
"$PCAPWHO" analyze -q -o "$db" "$ROOT/samples/evidence"
is $? 0 "the sample is whole"

"$PCAPWHO" query "$db" top --format csv >"$TMP/top.csv"
cmp "$ROOT/samples/top.csv" "$TMP/top.csv" >&2
is $? 0 "top.csv is its top table"

is "$("$PCAPWHO" query "$db" "SELECT sum(difference) AS d FROM accounting" --format csv | tail -n 1 |
	tr -d '\r')" 0 "every packet is accounted for"

# top.csv is what the program once printed. So its bytes over TCP are also counted from the
# evidence itself: who used an end by the snapshots, one process each, and what tshark reads.
if command -v tshark >/dev/null; then
	for snap in "$ROOT"/samples/evidence/*.snap.gz; do zcat "$snap"; done >"$TMP/snapshots"
	for pcap in "$ROOT"/samples/evidence/*.pcap; do
		tshark -r "$pcap" -Y 'tcp && !icmp && !icmpv6' -T fields -e ip.src -e ipv6.src -e tcp.srcport -e ip.dst \
			-e ipv6.dst -e tcp.dstport -e ip.len -e ipv6.plen 2>/dev/null
	done >"$TMP/segments"
	perl -F'\t' -lanse '
		BEGIN {
			open my $in, "<", $snapshots or die;
			while (<$in>) {
				my @f = split /\t/;
				next unless $f[0] eq "use" && $f[3] == 6;
				my $end = join " ", @f[4 .. 7];
				die "$end: $f[15] and $user{$end}\n" if ($user{$end} //= $f[15]) != $f[15];
			}
		}
		my ($from, $to) = ("$F[0]$F[1] $F[2]", "$F[3]$F[4] $F[5]");
		my $bytes = $F[6] ne "" ? $F[6] : 40 + $F[7];
		$sent{$user{"$from $to"} // ""} += $bytes;
		$received{$user{"$to $from"} // ""} += $bytes;
		END { printf "%s,%d,%d\n", $_, $sent{$_}, $received{$_} for sort { $a <=> $b } grep { $_ ne "" } keys %sent }
		' -- -snapshots="$TMP/snapshots" "$TMP/segments" >"$TMP/counted"
	is "$("$PCAPWHO" query "$db" "SELECT pid, sum(sent_bytes), sum(received_bytes) FROM connections
		WHERE protocol = 'tcp' AND pid IS NOT NULL GROUP BY pid ORDER BY pid" --format csv | tail -n +2 |
		tr -d '\r')" "$(<"$TMP/counted")" "over TCP as many bytes by process as other tools count"
	ok "(by everyone who used a connection)" test "$(wc -l <"$TMP/counted")" -eq \
		"$(awk -F'\t' '$1 == "use" && $4 == 6 {print $16}' "$TMP/snapshots" | sort -u | wc -l)"
else
	skip "tshark is missing" 2
fi

# Each flow's first packet begins at the byte that the database says.
"$PCAPWHO" query "$db" "SELECT pcap_name, first_packet_offset, start_ns
	FROM flow JOIN segment USING (segment_id)" --format csv | tail -n +2 | tr -d '\r' >"$TMP/offsets"
perl -F, -lane '
	open my $in, "<", "$ENV{ROOT}/samples/evidence/$F[0]" or die;
	seek $in, $F[1], 0;
	read $in, my $head, 8 or die "$F[0]: nothing at byte $F[1]\n";
	my ($seconds, $ns) = unpack "VV", $head;
	die "$F[0]: $_\n" if $seconds * 1_000_000_000 + $ns != $F[2];' "$TMP/offsets" >&2
is $? 0 "each flow's first packet begins where the database says"
ok "(there are flows)" test -s "$TMP/offsets"

# The custody log vouches for the files that are there.
while IFS=$'\t' read -r _ _ event file _ sha256 _; do
	[ "$event" = close ] || continue
	is "$(sha256sum "$ROOT/samples/evidence/$file" | cut -d ' ' -f 1)" "$sha256" \
		"$file is what the custody log says"
done <"$ROOT/samples/evidence/custody.log"

# Each block of the README that asks something runs as it stands there.
cp "$db" "$TMP/ask.db"
asked=$(sed -n '/^```$/,/^```$/p' "$ROOT/samples/README.md" | grep -v '^```' |
	sed "s|^pcapwho query sample.db|\"$PCAPWHO\" query \"$TMP/ask.db\"|; /^pcapwho analyze/d")
eval "$asked" >"$TMP/answers" 2>"$TMP/complaints"
is $? 0 "the README's questions can be asked"
is "$(wc -c <"$TMP/complaints")" 0 "without complaint"

done_testing
