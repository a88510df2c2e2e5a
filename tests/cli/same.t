#!/bin/bash
# The same evidence gives the same database: byte for byte for any number of
# workers, order of arguments, directory, time of day, locale and user; and loaded
# segment by segment, the same rows.
# lib.sh and spawn assign by name.
# shellcheck disable=SC2034,SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO" "$PCAPWHO_RECORD"
need_command socat sqlite3 sha256sum ss
own_network

# ---- evidence of several segments, with conversations that cross their boundaries ----
frames() { zcat "$TMP"/evidence/*.snap.gz* 2>/dev/null | grep -c "^end"; }
more_frames() { [ "$(frames)" -ge "$1" ]; }
segments() { find "$TMP/evidence" -name '*.pcap' | wc -l; }
more_segments() { [ "$(segments)" -ge "$1" ]; }
mkdir "$TMP/evidence"
spawn RECORDER "$PCAPWHO_RECORD" -q -o "$TMP/evidence" --interval 100ms --cpu-budget 50% --rotate-time 1s \
	2>"$TMP/record.err"
wait_until 20 more_frames 1 || bail "no recording: $(<"$TMP/record.err")"
spawn ECHO socat TCP6-LISTEN:8080,reuseaddr,fork EXEC:cat
spawn DATAGRAMS socat UDP4-RECVFROM:8081,fork EXEC:cat
wait_until 20 listening 8080
wait_until 20 listening 8081
# It speaks until told, over every rotation.
speak() { until [ -e "$TMP/done" ]; do echo "$1" && sleep 0.05; done; }
speak one > >(socat - TCP4:127.0.0.1:8080 >/dev/null) &
speak two > >(socat - 'TCP6:[::1]:8080' >/dev/null) &
speak three > >(socat - UDP4:127.0.0.1:8081 >/dev/null) &
for ((segment = 2; segment <= 6; segment++)); do
	for ((i = 0; i < 10; i++)); do
		echo "request $i" | socat -t 1 - TCP4:127.0.0.1:8080 >/dev/null
		echo "question $i" | socat -t 0.01 - UDP4:127.0.0.1:8081 >/dev/null
	done
	wait_until 20 more_segments "$segment"
done
touch "$TMP/done"
kill -TERM "$RECORDER"
wait "$RECORDER"
is "$?" 0 "a recording of $(segments) segments"

# ---- byte for byte ----
analyze() { # NAME ARGUMENT…
	local name=$1
	shift
	"$PCAPWHO" analyze -q "$@" -o "$TMP/$name.db" || diag "$name failed"
}
same() { ok "$2" cmp "$TMP/$1.db" "$TMP/first.db"; }
analyze first -j 1 "$TMP/evidence"
is "$(sqlite3 -readonly "$TMP/first.db" "SELECT count(*) > 0 FROM flow f WHERE start_ns <=
	(SELECT last_packet_ns FROM segment ORDER BY 1 LIMIT 1) AND end_ns >= (SELECT max(first_packet_ns) FROM segment)")" \
	1 "in which conversations cross all of the boundaries"
for workers in 1 2 3 8; do
	analyze "workers$workers" -j "$workers" "$TMP/evidence"
	same "workers$workers" "-j $workers"
done
mapfile -t pcaps < <(find "$TMP/evidence" -name '*.pcap' | sort)
mapfile -t backwards < <(printf '%s\n' "${pcaps[@]}" | sort -r)
analyze order -j 3 "${backwards[@]}"
same order "named one by one, the last one first"
cp -r "$TMP/evidence" "$TMP/elsewhere"
(cd "$TMP" && TZ=Asia/Tokyo LC_ALL=C.UTF-8 HOME=/nonexistent analyze moved elsewhere)
same moved "a copy with other times, from another directory, in another time zone and locale"
if unshare --time --boottime 1000000 true 2>/dev/null; then
	unshare --time --boottime 1000000 "$PCAPWHO" analyze -q "$TMP/evidence" -o "$TMP/clock.db"
	same clock "under another clock"
else
	skip 1 "needs time namespaces"
fi
gzip "$TMP"/elsewhere/*.pcap
analyze zipped "$TMP/elsewhere"
is "$(sqlite3 -readonly "$TMP/zipped.db" "SELECT count(*), sum(bytes) FROM segment")" \
	"$(sqlite3 -readonly "$TMP/first.db" "SELECT count(*), sum(bytes) FROM segment")" "compressed: the same packets"

# ---- row for row ----
# What is carried from load to load has the numbers of its rows; the rows are what counts.
dump() { sqlite3 -readonly "$TMP/$1.db" .dump | grep -v '^INSERT INTO \(sqlite_stat\|carry\)' | sort; }
for pcap in "${pcaps[@]}"; do
	analyze steps "$pcap"
done
is "$(dump steps | sha256sum)" "$(dump first | sha256sum)" "loaded in ${#pcaps[@]} runs: the same rows" ||
	diag "$(diff <(dump first) <(dump steps) | head -20)"
analyze halves "${pcaps[@]:0:2}"
analyze halves -j 2 "$TMP/evidence"
is "$(dump halves | sha256sum)" "$(dump first | sha256sum)" "two segments, then all"
analyze packets --packets "$TMP/evidence"
analyze packetjobs -j 4 --packets "$TMP/evidence"
ok "with a row for each packet, four workers write the same file" cmp "$TMP/packetjobs.db" "$TMP/packets.db"
for pcap in "${pcaps[@]}"; do
	analyze packetsteps --packets "$pcap"
done
is "$(dump packetsteps | sha256sum)" "$(dump packets | sha256sum)" "with a row for each packet too" ||
	diag "$(diff <(dump packets) <(dump packetsteps) | head -20)"

# ---- out of order ----
# What goes on from a segment to the next is known only in their order, so it is said.
is "$(sqlite3 -readonly "$TMP/steps.db" "SELECT count(*) FROM coverage WHERE kind = 'late'")" 0 "in their order, none is late"
analyze late "${pcaps[1]}"
run "$PCAPWHO" analyze -q "${pcaps[0]}" -o "$TMP/late.db"
is "$status" 2 "a segment after a later one: exit status 2"
like "$err" "${pcaps[0]}: later segments of its recording are in the database already, .*: analyze all of them into a new database" "and what to do"
is "$(sqlite3 -readonly "$TMP/late.db" "SELECT number, kind, subject FROM coverage JOIN segment USING (segment_id) WHERE kind = 'late';
	SELECT sum(abs(difference)) FROM accounting")" "1|late|$(basename "${pcaps[0]}")
0" "and the database tells which it is, and accounts for all packets"
done_testing
