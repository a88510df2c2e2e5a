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
