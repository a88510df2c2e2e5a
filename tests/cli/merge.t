#!/bin/bash
# Databases of several hosts as one: what is in it, that neither order nor repetition
# matters, what takes the place of what, and what is refused, hostile databases included.
# lib.sh assigns by name.
# shellcheck disable=SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO"
need_command sqlite3 perl zcat
cd "$TMP" || bail "no directory"

ask() { sqlite3 -readonly "$@"; }
analyze() { "$PCAPWHO" analyze -q "$@" || bail "analyze $*"; }
merge() { run "$PCAPWHO" merge "$@"; }

# ---- the sample, as three hosts recorded it ----
for host in a b c; do
	cp -r "$ROOT/samples/evidence" "$host"
	rm -f "$host/custody.log"
	for snap in "$host"/*.snap.gz; do
		rewrite "$snap" "s/^(meta\thostname\t).*/\${1}host-$host/ or
			s/^(meta\t(?:boot_id|recording|machine_id)\t)../\${1}$host$host/"
	done
	analyze -o "$host.db" "$host"
done
first=$(cd a && echo 000001-*.pcap) second=$(cd a && echo 000002-*.pcap)

merge abc.db a.db b.db c.db
is "$status$out" 0 "three hosts are merged"
is "$err" "abc.db: 3 recordings with 6 segments, $(ask abc.db "SELECT (SELECT count(*) FROM recording)
	+ (SELECT count(*) FROM segment) + (SELECT count(*) FROM snapshot) + (SELECT count(*) FROM interface)
	+ (SELECT count(*) FROM address) + (SELECT count(*) FROM process) + (SELECT count(*) FROM socket)
	+ (SELECT count(*) FROM holder) + (SELECT count(*) FROM flow) + (SELECT count(*) FROM tunnel)
	+ (SELECT count(*) FROM connection) + (SELECT count(*) FROM candidate) + (SELECT count(*) FROM traffic)
	+ (SELECT count(*) FROM packet) + (SELECT count(*) FROM other) + (SELECT count(*) FROM coverage)
	+ (SELECT count(*) FROM serving)") rows" \
	"which is said, with the number of rows"
is "$(ask abc.db "PRAGMA foreign_key_check; PRAGMA integrity_check")" ok "every pointer points to a row"
is "$(ask abc.db "SELECT DISTINCT type || name || coalesce(sql, '') FROM sqlite_schema ORDER BY 1")" \
	"$(ask a.db "SELECT DISTINCT type || name || coalesce(sql, '') FROM sqlite_schema ORDER BY 1")" \
	"tables, views and indexes are those of any database"

# ---- a row of a host means what it did ----
# By the hosts' own names for things, without the numbers.
rows() { # DATABASE HOST
	ask "$1" "SELECT * FROM (SELECT hostname, pid, process, exe, cmdline, uid, protocol, local_address, local_port,
		remote_address, remote_port, direction, start_ns, end_ns, sent_bytes, received_bytes, rule, reason, shared_by,
		conn_state FROM connections) WHERE hostname = '$2' ORDER BY start_ns, local_address, local_port, direction, pid;
	SELECT r.hostname, p.pid, p.start_ticks, p.image, p.comm, q.pid, q.start_ticks, q.image FROM process p
		JOIN recording r USING (recording_id) LEFT JOIN process q ON q.process_id = p.parent_process_id
		WHERE r.hostname = '$2' ORDER BY 2, 3, 4;
	SELECT r.hostname, s.protocol, s.inode, s.cookie, f.sequence, l.sequence, h.fd, p.pid FROM socket s
		JOIN recording r USING (recording_id) LEFT JOIN snapshot f ON f.snapshot_id = s.first_snapshot_id
		LEFT JOIN snapshot l ON l.snapshot_id = s.last_snapshot_id LEFT JOIN holder h USING (socket_id)
		LEFT JOIN process p ON p.process_id = h.process_id WHERE r.hostname = '$2' ORDER BY 2, 3, 4, 5, 7, 8;
	SELECT f.start_ns, f.orig_address, f.orig_port, c.\"end\", t.bucket, t.sent_bytes, n.sequence, g.pcap_name FROM traffic t
		JOIN connection c USING (connection_id) JOIN flow f USING (flow_id) JOIN segment g USING (segment_id)
		JOIN recording r ON r.recording_id = f.recording_id LEFT JOIN snapshot n ON n.snapshot_id = c.snapshot_id
		WHERE r.hostname = '$2' ORDER BY 1, 2, 3, 4, 5, 6;
	SELECT r.hostname, v.kind, v.begin_ns, v.count, v.subject, g.pcap_name FROM coverage v
		LEFT JOIN segment g USING (segment_id) JOIN recording r ON r.recording_id = v.recording_id
		WHERE r.hostname = '$2' ORDER BY 2, 3, 4, 5;
	SELECT q.start_ns, p.pid FROM candidate k JOIN connection q USING (connection_id)
		JOIN process p ON p.process_id = k.process_id JOIN recording r USING (recording_id)
		WHERE r.hostname = '$2' ORDER BY 1, 2;"
}
for host in a b c; do
	is "$(rows abc.db "host-$host" | cksum)" "$(rows "$host.db" "host-$host" | cksum)" "host-$host has the rows that it had"
done
isnt "$(rows b.db host-b | wc -l)" 0 "(which are some)"
is "$(ask abc.db "SELECT count(DISTINCT process_id), count(DISTINCT hostname) FROM processes WHERE pid = 1")" "3|3" \
	"pid 1 of three hosts is three processes"
is "$(ask abc.db "SELECT scope, sum(packets), sum(difference) FROM accounting GROUP BY scope ORDER BY 1")" \
	"segment|1860|0
total|1860|0" "every packet is accounted for"

sums() { # DATABASE: sums by process that are not what its traffic adds up to
	ask "$1" "WITH made AS (SELECT coalesce(c.process_id, 0), t.bucket, sum(t.sent_packets), sum(t.sent_bytes),
		sum(t.received_packets), sum(t.received_bytes) FROM traffic t JOIN connection c USING (connection_id) GROUP BY 1, 2),
	summed AS (SELECT b.process_id, p.buckets, b.bucket / p.buckets AS period, sum(sent_packets), sum(sent_bytes),
		sum(received_packets), sum(received_bytes), max(sent_bytes + received_bytes) FROM process_bucket b, period p GROUP BY 1, 2, 3)
	SELECT (SELECT count(*) FROM process_bucket) > 0, (SELECT count(*) FROM (SELECT * FROM made EXCEPT SELECT * FROM process_bucket)),
		(SELECT count(*) FROM (SELECT * FROM process_bucket EXCEPT SELECT * FROM made)),
		(SELECT count(*) FROM (SELECT * FROM summed EXCEPT SELECT * FROM process_period)),
		(SELECT count(*) FROM (SELECT * FROM process_period EXCEPT SELECT * FROM summed))"
}
is "$(sums abc.db)" "1|0|0|0|0" "sums by process are those of its traffic, and of what has no owner those of all three"

# ---- what is asked of all of them ----
for query in $("$PCAPWHO" query --list | awk '{ print $1 }' | sort -u); do
	run "$PCAPWHO" query abc.db "$query" --format csv
	is "$status" 0 "query $query: done"
done
total() { "$PCAPWHO" query "$1" top --format csv | perl -MText::ParseWords -ne '
	my @f = parse_line(",", 0, $_); $. == 1 ? (($s, $r) = map { my $n = $_; grep { $f[$_] eq $n } 0 .. $#f }
		qw(sent_bytes received_bytes)) : ($sent += $f[$s], $received += $f[$r], $rows++);
	END { print "$rows $sent $received\n" }'; }
is "$(total abc.db)" "$(for host in a b c; do total "$host.db"; done | awk '{ n += $1 - 1; s += $2; r += $3 }
	END { print n + 1, s, r }')" "query top: the processes and bytes of all three, and what has no owner in one row"
for view in $(ask abc.db "SELECT name FROM sqlite_schema WHERE type = 'view'"); do
	case $view in
	unattributed) # a row is a reason
		is "$(ask abc.db "SELECT sum(connections), sum(packets) FROM $view")" \
			"$(ask a.db "SELECT 3 * sum(connections), 3 * sum(packets) FROM $view")" "view $view: of all three" ;;
	process_timeline | accounting) # what has no owner, and the total, are of all hosts
		is "$(ask abc.db "SELECT count(*) FROM $view")" "$(ask a.db "SELECT 3 * count(*) - 2 * count(*) FILTER (WHERE
			$([ "$view" = accounting ] && echo "scope = 'total'" || echo "process_id IS NULL")) FROM $view")" "view $view: of all three" ;;
	*) is "$(ask abc.db "SELECT count(*) FROM $view")" "$(ask a.db "SELECT 3 * count(*) FROM $view")" "view $view: of all three" ;;
	esac
done
id=$(ask abc.db "SELECT min(connection_id) FROM connections WHERE hostname = 'host-b' AND pid IS NOT NULL")
run "$PCAPWHO" explain abc.db --connection "$id" --evidence b
like "$status$out" "^0.*links.*same" "explain: with the evidence of its host every link is the same"

# ---- order, repetition ----
merge cab.db c.db ./a.db b.db a.db
is "$status" 0 "in another order, one of them twice"
ok "the same bytes" cmp abc.db cab.db
before=$(stat -c '%i %Y %Z %s' abc.db)
merge abc.db b.db
is "$status$err" "0abc.db: nothing new in 1 database" "the same one again: nothing new"
is "$(stat -c '%i %Y %Z %s' abc.db)" "$before" "and the file was not touched"
for host in b c a; do
	"$PCAPWHO" merge -q steps.db "$host.db" || diag "merge of $host failed"
done
ok "one by one: the same bytes" cmp abc.db steps.db
merge ab.db a.db b.db
merge merged.db ab.db c.db
ok "a merged one and another: the same bytes" cmp abc.db merged.db

# ---- more of a recording than before ----
analyze -o a1.db "a/$first"
merge grown.db a1.db b.db c.db
is "$(ask grown.db "SELECT count(*) FROM segment")" 5 "a recording as far as it was analyzed"
cp a1.db a2.db
analyze -o a2.db "a/$second"
merge grown.db a2.db
is "$status$err" "0grown.db: 3 recordings with 6 segments$(sed 's/.*segments//' <<<"$err")" "the same, analyzed further, takes its place"
ok "which gives what one merge gives, byte for byte" cmp abc.db grown.db
merge grown.db a1.db
is "$status$err" "0grown.db: nothing new in 1 database" "and an old copy adds nothing"
merge together.db a1.db a2.db a.db b.db c.db
ok "in one merge too" cmp abc.db together.db

# ---- one recording in parts ----
analyze -o late.db "a/$second"
merge parts.db late.db a1.db
is "$status" 0 "parts of one recording that were analyzed apart both count"
like "$err" "2 parts of what host-a recorded in one boot were analyzed apart" "with a remark"
is "$(ask parts.db "SELECT scope, sum(packets), sum(difference) FROM accounting GROUP BY scope ORDER BY 1")" \
	"segment|620|0
total|620|0" "every packet once"
merge parts.db a.db
merge alone.db a.db
ok "until they are merged as one" cmp parts.db alone.db
merge again.db a1.db late.db
merge again.db b.db
merge again.db a2.db c.db
ok "also when another host came between" cmp again.db abc.db

# ---- a recorder that was started again in the same boot ----
cp -r a restart
for file in restart/000002*; do
	cp "$file" "restart/$(basename "$file" | sed 's/000002-\(.*\)T035257/000003-\1T035357/')"
done
rewrite restart/000003*.snap.gz 's/^(meta\tsegment\t).*/${1}3/ or s/^(meta\trecording\t)../${1}dd/'
perl -e 'open F, "+<", $ARGV[0]; seek F, -1, 2; print F "!"' restart/000003*.pcap
analyze -o restart.db restart
shared=$(ask restart.db "SELECT count(*) FROM connection c JOIN flow f USING (flow_id) JOIN process p USING (process_id)
	WHERE p.recording_id <> f.recording_id")
isnt "$shared" 0 "two recordings of one boot have processes in common"
merge boot.db a.db b.db
merge boot.db restart.db
is "$status$err" "0boot.db: 3 recordings with 5 segments$(sed 's/.*segments//' <<<"$err")" "they take the place of the first of them"
is "$(ask boot.db "PRAGMA foreign_key_check; SELECT sum(difference) FROM accounting; SELECT count(*) FROM connection c
	JOIN flow f USING (flow_id) JOIN process p USING (process_id) WHERE p.recording_id <> f.recording_id")" "0
$shared" "and have them still"
merge boot2.db b.db restart.db
ok "the same at once" cmp boot.db boot2.db
merge boot3.db boot.db
ok "and merged once more" cmp boot.db boot3.db

# ---- captures alone, and compressed ones ----
mkdir bare packed
cp "a/$first" bare/x.pcap
cp "a/$second" bare/y.pcap
gzip -c "a/$first" >packed/z.pcap.gz
cp a/* packed
rm "packed/$second" # only compressed
gzip -c "a/$second" >"packed/$second.gz"
analyze -o bare.db bare/x.pcap bare/y.pcap
analyze -o z.db packed/z.pcap.gz
rm packed/z.pcap.gz
merge captures.db z.db bare.db
is "$(ask captures.db "SELECT count(*), sum(packets) FROM segment")" "2|620" "a capture and its compressed copy count once"
merge captures2.db bare.db z.db
ok "the same of the two" cmp captures.db captures2.db
analyze -o packed.db packed
merge captures.db a.db
merge alone.db a.db
ok "captures that are segments of a recording give way to it" cmp captures.db alone.db
merge both.db packed.db a.db
is "$status $(ask both.db "SELECT count(*), sum(packets) FROM segment")" "0 2|620" "evidence that was compressed since counts once"

# ---- what contradicts itself ----
refused() { # STATUS REGEX NAME ARGUMENT…
	local wanted=$1 regex=$2 name=$3 before
	shift 3
	before=$(cksum "$1" 2>&1)
	merge "$@"
	is "$status" "$wanted" "$name: refused"
	like "$err" "$regex" "$name: said so"
	is "$(cksum "$1" 2>&1)" "$before" "$name: nothing was done"
}
# Evidence with a third segment, of which one database has the first two and one the last two.
cp -r a overlap
for file in overlap/000002*; do
	cp "$file" "overlap/$(basename "$file" | sed 's/000002-\(.*\)T035257/000003-\1T035357/')"
done
rm overlap/000001*
rewrite overlap/000003*.snap.gz 's/^(meta\tsegment\t).*/${1}3/'
perl -e 'open F, "+<", $ARGV[0]; seek F, -1, 2; print F "!"' overlap/000003*.pcap
analyze -o overlap.db overlap
refused 1 "^pcapwho merge: overlap.db: of the recording of host-a, $second is in it and in a.db, and each has segments" \
	"segments of which neither has all" new.db a.db overlap.db
refused 1 "overlap.db: of the recording of host-a" "the same, with what was merged" abc.db overlap.db
analyze -o wide.db --bucket 10s b
refused 64 "wide.db: its buckets are of 10s, those of a.db of 1s: .*--bucket" "another bucket" new.db a.db wide.db
run "$PCAPWHO" analyze -q --bucket 10s -o a.db b
like "$status $err" "^64 .*a.db: its buckets are of 1s, and not of 10s: write another file" "another bucket: analyze says it so too"
analyze -o packets.db --packets b
refused 64 "packets.db: it has a row for each packet, as a.db has not: .*--packets" "packets in one of them" new.db a.db packets.db
merge withpackets.db packets.db
is "$status $(ask withpackets.db "SELECT count(*) FROM packets")" "0 $(ask packets.db "SELECT count(*) FROM packets")" \
	"packets in all of them are merged"
cp a.db other.db
sqlite3 other.db "UPDATE connection SET process_id = process_id + 1 WHERE process_id = (SELECT min(process_id) FROM connection)"
refused 1 "same segments of host-a as (a|other).db .*and other rows of them" "another owner of the same packets" new.db a.db other.db
refused 1 "other.db: it has the same segments of host-a as .*abc.db .*other rows" "the same, with what was merged" abc.db other.db
cp -r b damaged
perl -e 'open F, "+<", $ARGV[0]; seek F, 3000, 0; print F "\xff" x 40' "damaged/$first"
"$PCAPWHO" analyze -q -o damaged.db damaged 2>/dev/null
refused 1 "damaged.db: its segment $first has other packets than that of b.db" "a segment of other content" new.db b.db damaged.db

# ---- names ----
refused 66 "^pcapwho merge: missing.db: open: No such file" "one that is missing" new.db a.db missing.db
refused 64 "abc.db: is the database to merge into" "OUT as IN" abc.db a.db abc.db
merge slashes.db "/$PWD/a.db" "//$PWD/b.db"
ok "names that begin with two slashes" cmp slashes.db ab.db
ln -s abc.db link.db
ln abc.db hard.db
refused 64 "link.db: is the database to merge into" "OUT as IN by another name" abc.db link.db
refused 64 "hard.db: is the database to merge into" "OUT as IN by a hard link" abc.db hard.db
refused 64 "a.db: it was made by pcapwho analyze, which goes on adding" "OUT of analyze" a.db b.db
for arguments in "" new.db "--nonsense new.db a.db"; do
	# shellcheck disable=SC2086
	merge $arguments
	is "$status" 64 "merge $arguments: wrong usage"
done
not_ok "and nothing was made" test -e new.db
run "$PCAPWHO" analyze -q -o abc.db a
is "$status" 64 "evidence cannot be added to a merged database"
like "$err" "abc.db: it was made by pcapwho merge, so no evidence can be added" "which is said"
rm -f hard.db
cp ab.db more.db
sqlite3 more.db "CREATE TABLE note (text)"
refused 64 "it has the table note, which pcapwho did not make and which would be lost" "a table of the user's" more.db c.db
cp ab.db target.db
chmod 6640 target.db
ln -s target.db to.db
merge -q to.db c.db
is "$status$err$(readlink to.db)" 0target.db "through a symbolic link"
ok "the file that it leads to is replaced" cmp target.db abc.db
is "$(stat -c %a target.db)" 640 "and keeps its permissions, but for the set-user-ID bit"
mkdir real
ln -s real directory
ln -s "$PWD/a.db" real/a.db
merge -q directory/new.db directory/a.db b.db
ok "through a link to a directory, from one and a link in it" cmp real/new.db ab.db
: >empty.db
refused 1 "empty.db: wanted a pcapwho database, found an empty file" "an empty file" new.db a.db empty.db
refused 1 "a: wanted a pcapwho database, found a directory" "a directory" new.db a.db a
head -c 40000 b.db >cut.db
refused 1 "cut.db: at byte 40000: wanted a database of $(stat -c %s b.db) bytes, found the end of the file, which was cut off: take another" \
	"one that was cut off" new.db a.db cut.db
cp b.db scratched.db
page=$(ask b.db "SELECT rootpage FROM sqlite_schema WHERE name = 'flow'")
printf '%64s' x | dd of=scratched.db bs=1 seek=$((4096 * (page - 1))) conv=notrunc status=none
refused 1 "scratched.db: wanted .*malformed.*: take another copy of it, or make it anew, from the evidence" "a page of something else" new.db a.db scratched.db
mkfifo pipe.db
refused 1 "pipe.db: wanted a pcapwho database, found no regular file" "a FIFO" new.db pipe.db
refused 1 "/nowhere/new.db: create: No such file" "a directory that is not there" "$TMP/nowhere/new.db" a.db

# ---- read-only ----
mkdir media
cp a.db b.db media
chmod 444 media/*
chmod 555 media
merge frommedia.db media/a.db media/b.db
ok "from media that cannot be written" cmp frommedia.db ab.db
is "$(cd media && echo *)" "a.db b.db" "on which nothing is left"
chmod 755 media
rm -rf media
mkdir media
cp a.db media/wal.db
sqlite3 media/wal.db "PRAGMA journal_mode = WAL" >/dev/null
refused 64 "^pcapwho merge: media/wal.db: it is in WAL mode" "one in WAL mode" new.db media/wal.db b.db
is "$(cd media && echo *)" "wal.db" "and nothing is made beside it"
cp a.db media/wal.db
echo log >media/wal.db-wal
refused 64 "^pcapwho merge: media/wal.db: it .*has a log of that beside it" "a log beside it" new.db media/wal.db b.db
is "$(cat media/wal.db-wal)" log "which stays"
not_ok "and there is no database" test -e new.db
# What is merged into is not taken back either, for the merge may fail.
cp ab.db media/out.db
sqlite3 media/out.db "PRAGMA journal_mode = WAL" >/dev/null
refused 64 "^pcapwho merge: $TMP/media/out.db: it is in WAL mode" "into one in WAL mode" media/out.db c.db
cp ab.db media/out.db
echo log >media/out.db-wal
refused 64 "^pcapwho merge: $TMP/media/out.db: it .*has a log of that beside it" "into one with a log beside it" media/out.db c.db
is "$(cat media/out.db-wal)" log "which stays"
rm media/out.db*
# As a load leaves it that was killed while it wrote.
cp b.db media/busy.db
printf '%s\n' "PRAGMA cache_size = 1;" "BEGIN;" "UPDATE connection SET start_ns = 0;" \
	".shell cp media/busy.db media/hot.db; cp media/busy.db-journal media/hot.db-journal" "ROLLBACK;" | sqlite3 media/busy.db
before=$(cksum media/hot.db media/hot.db-journal)
refused 1 "^pcapwho merge: media/hot.db: an interrupted load has to be undone first: query it once" "the journal of a load beside it" \
	new.db media/hot.db a.db
is "$(cksum media/hot.db media/hot.db-journal)" "$before" "which is not undone"
"$PCAPWHO" query media/hot.db accounting >/dev/null
merge new.db media/hot.db a.db
ok "until somebody asks it something" cmp new.db ab.db
rm new.db

# ---- hostile ones ----
hostile() { # REGEX NAME SQL: what it makes of a copy of c.db is refused, and a.db is not merged either
	cp c.db hostile.db
	chmod 644 hostile.db
	sqlite3 hostile.db "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; PRAGMA writable_schema = ON; $3" \
		>hostile.out 2>&1 || diag "$2: $(<hostile.out)"
	refused 1 "^pcapwho merge: hostile.db: .*$1" "$2" new.db a.db hostile.db
	is "$(echo new.db*)" "new.db*" "$2: no database"
}
hostile "version 3" "another version" "PRAGMA user_version = 3"
hostile "application_id" "another application" "PRAGMA application_id = 1"
hostile "no table flow" "a view in place of a table" "ALTER TABLE flow RENAME TO flow2; CREATE VIEW flow AS SELECT * FROM flow2"
hostile "another table traffic" "a generated column" "ALTER TABLE traffic ADD COLUMN x INTEGER AS (sent_bytes * 2)"
hostile "another table coverage" "a table that is not strict" \
	"UPDATE sqlite_schema SET sql = replace(sql, ') STRICT', ')') WHERE name = 'coverage'"
hostile "rules and reasons" "other rules" "UPDATE rule SET rule = 'guess' WHERE rule_code = 1"
hostile "bucket_ns" "no bucket" "DELETE FROM setting WHERE key = 'bucket_ns'"
hostile "bucket_ns -5" "a negative bucket" "UPDATE setting SET value = -5 WHERE key = 'bucket_ns'"
hostile "flow: of no recording" "a flow of no recording" "UPDATE flow SET recording_id = 99 WHERE flow_id = 3"
hostile "flow: of no recording" "a flow without a recording" "UPDATE flow SET recording_id = NULL WHERE flow_id = 3"
hostile "none of number 99" "a segment of no recording" "UPDATE segment SET recording_id = 99"
hostile "table process: it points to no process 4611686018427387904" "a parent that is not there" \
	"UPDATE process SET parent_process_id = 1 << 62 WHERE process_id = 3"
hostile "table connection: it points to no socket -1" "a socket that is not there" "UPDATE connection SET socket_id = -1"
hostile "table traffic: it points to no connection" "traffic of no connection" \
	"UPDATE traffic SET connection_id = 4000000000 WHERE connection_id = 2"
hostile "table connection: unknown verdict guess" "an unknown rule" "UPDATE connection SET rule = 'guess' WHERE rule IS NOT NULL"
hostile "table connection: .*CHECK" "an owner without a rule" "UPDATE connection SET rule = NULL WHERE rule IS NOT NULL"
hostile "too large or negative" "a negative count" "UPDATE traffic SET sent_bytes = -1"
hostile "too large or negative" "counts that cannot be added up" "UPDATE traffic SET sent_bytes = 9223372036854775807"
hostile "too large or negative" "drops that cannot be added up" \
	"INSERT INTO coverage (recording_id, kind, count) VALUES (1, 'dropped', 9223372036854775807)"
hostile "too large or negative" "drops of less than nothing" "UPDATE segment SET dropped = -1"
c_has="of what host-c recorded \(boot [0-9a-f-]+\), counts that do not add up: [0-9]+"
hostile "$c_has packets sent in table connection, [0-9]+ in table traffic" "traffic that was lost" \
	"DELETE FROM traffic WHERE connection_id = 1"
hostile "$c_has packets in table segment, [0-9]+ in table flow" "flows that were lost" "UPDATE flow SET orig_packets = 0"
for bytes in sent received; do
	hostile "$c_has bytes $bytes in table connection, [0-9]+ in table traffic" "traffic of more bytes $bytes" \
		"UPDATE traffic SET ${bytes}_bytes = ${bytes}_bytes + 1 WHERE connection_id = 2"
done
hostile "$c_has packets sent in table connection" "packets that were sent in place of received" \
	"UPDATE traffic SET sent_packets = received_packets, received_packets = sent_packets WHERE connection_id = 1"
hostile "$c_has packets in table flow, [0-9]+ in table connection" "connections that were lost with their traffic" \
	"DELETE FROM traffic; DELETE FROM candidate; DELETE FROM connection"
hostile "$c_has bytes in table flow, [0-9]+ in table connection" "flows of more bytes than their ends have" \
	"UPDATE flow SET resp_bytes = 10 * resp_bytes"
hostile "$c_has bytes in table flow, [0-9]+ in table connection" "flows of less than half the bytes of their ends" \
	"UPDATE flow SET orig_bytes = 0"
hostile "$c_has bytes of payload in table flow, [0-9]+ in table connection" "flows of more payload than their ends have" \
	"UPDATE flow SET resp_payload_bytes = 10 * resp_payload_bytes"
hostile "$c_has packets carried in table flow, [0-9]+ in table tunnel" "packets carried that are nowhere" \
	"UPDATE flow SET carried_packets = 1 WHERE flow_id = 1"
hostile "do not add up" "a segment that has more" "UPDATE segment SET packets = packets + 1"
hostile "none of one" "a recording without a segment" \
	"INSERT INTO recording (recording_id, recording_uuid) VALUES (7, 'x')"
hostile "without a UUID" "a recording without a UUID" "UPDATE recording SET recording_uuid = NULL"
hostile "(row missing|malformed|out of order|points to no|of no recording)" "two tables in the same pages" \
	"UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'holder') WHERE name = 'socket'"
# A file can have a text where the table wants a number, and SQLite makes it one as it is written.
retyped() { # REGEX NAME TABLE COLUMN FROM TO SQL: run while the column's type is TO in place of FROM
	cp c.db hostile.db
	for sql in "$(retype "$3" "$4 $5" "$4 $6")" "PRAGMA foreign_keys = OFF; $7" "$(retype "$3" "$4 $6" "$4 $5")"; do
		sqlite3 hostile.db "$sql" >hostile.out 2>&1 || diag "$2: $(<hostile.out)"
	done
	refused 1 "^pcapwho merge: hostile.db: .*$1" "$2" new.db a.db hostile.db
	is "$(echo new.db*)" "new.db*" "$2: no database"
}
retype() { # TABLE FROM TO
	echo "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, char(9) || '$2', char(9) || '$3')
		WHERE type = 'table' AND name = '$1'"
}
retyped "no number but a text where a count" "a count that is a text" \
	flow carried_packets INTEGER ANY "UPDATE flow SET carried_packets = '9e18'"
retyped "no number but a text where a count" "traffic that is a text" \
	traffic sent_bytes INTEGER ANY "UPDATE traffic SET sent_bytes = '7' WHERE connection_id = 2"
retyped "no time that can be told: bucket 17" "a bucket that is a text" \
	traffic bucket INTEGER ANY "UPDATE OR REPLACE traffic SET bucket = '17' WHERE connection_id = 2"
retyped "points to no process 2" "a parent that is a text" \
	process parent_process_id INTEGER ANY "UPDATE process SET parent_process_id = '2' WHERE process_id = 3"
retyped "constraint failed: flow.start_ns" "nothing where something must be" \
	flow start_ns "INTEGER NOT NULL" INTEGER "UPDATE flow SET start_ns = NULL WHERE flow_id = 3"
hostile "no time that can be told: bucket -9223372036854775808" "a bucket before all times" \
	"UPDATE OR REPLACE traffic SET bucket = 1 << 63 WHERE connection_id = 2"
hostile "no time that can be told: bucket 9223372037" "a bucket after all times" \
	"UPDATE OR REPLACE traffic SET bucket = 9223372037 WHERE connection_id = 2"
for column in flow.end_ns connection.start_ns process.exit_ns snapshot.begin_ns segment.last_packet_ns; do
	hostile "table ${column%.*}: no time that can be told: ns 4611686018427387904" "a $column after all times" \
		"UPDATE ${column%.*} SET ${column#*.} = 1 << 62"
done
hostile "table flow: no time that can be told: ns -9223372036854775808" "a time before all times" "UPDATE flow SET start_ns = 1 << 63"
cp c.db lies.db
sqlite3 lies.db "UPDATE process_bucket SET sent_bytes = 1 << 62; DELETE FROM process_period"
merge new.db a.db b.db lies.db
ok "sums by process are made anew, whatever it says they are" cmp new.db abc.db
rm new.db
# Of two hosts in one database each keeps to itself.
two_hosts() { # NAME SQL: run in a copy of ab.db
	cp ab.db hostile.db
	sqlite3 hostile.db "PRAGMA foreign_keys = OFF; $2"
	refused 1 "^pcapwho merge: hostile.db: .*it points into other evidence, to" "$1" new.db hostile.db c.db
	is "$(echo new.db*)" "new.db*" "$1: no database"
}
others="(SELECT max(process_id) FROM process)"
two_hosts "an owner of another host" "UPDATE connection SET process_id = $others WHERE process_id = (SELECT min(process_id) FROM connection)"
two_hosts "a parent of another host" "UPDATE process SET parent_process_id = $others WHERE process_id = 2"
two_hosts "a holder of another host" "UPDATE holder SET process_id = $others WHERE holder_id = 1"
two_hosts "a flow in another host's packets" "UPDATE flow SET segment_id = (SELECT max(segment_id) FROM segment) WHERE flow_id = 1"
# What the one lacks the other has too much.
makes_up() { # NAME SQL: run in a copy of ab.db
	cp ab.db hostile.db
	sqlite3 hostile.db "PRAGMA foreign_keys = OFF; $2"
	refused 1 "^pcapwho merge: hostile.db: .*of what host-a recorded .*, counts that do not add up" "$1" new.db hostile.db c.db
	is "$(echo new.db*)" "new.db*" "$1: no database"
}
makes_up "a packet of a flow for that of another host" "UPDATE flow SET orig_packets = orig_packets + 1 WHERE flow_id =
		(SELECT min(flow_id) FROM flow WHERE recording_id = 1);
	UPDATE flow SET orig_packets = orig_packets - 1 WHERE flow_id = (SELECT min(flow_id) FROM flow WHERE recording_id = 2)"
for column in sent_packets sent_bytes received_packets received_bytes; do
	largest="FROM traffic t JOIN connection USING (connection_id) JOIN flow USING (flow_id) WHERE recording_id ="
	makes_up "traffic ($column) for that of another host" "UPDATE traffic SET $column = $column + 1 WHERE (connection_id, bucket) =
			(SELECT t.connection_id, bucket $largest 1 ORDER BY t.$column DESC LIMIT 1);
		UPDATE traffic SET $column = $column - 1 WHERE (connection_id, bucket) =
			(SELECT t.connection_id, bucket $largest 2 ORDER BY t.$column DESC LIMIT 1)"
done
# An index that has what the table had before it was changed.
cp c.db hostile.db
sqlite3 hostile.db "CREATE INDEX before ON other (segment_id, packets); ANALYZE"
page=$(ask hostile.db "SELECT rootpage FROM sqlite_schema WHERE name = 'before'")
for sql in "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'before'" "UPDATE other SET packets = packets + 5" \
	"PRAGMA writable_schema = ON; INSERT INTO sqlite_schema VALUES ('index', 'before', 'other', $page,
	'CREATE INDEX before ON other (segment_id, packets)')"; do
	sqlite3 hostile.db "$sql"
done
is "$(ask hostile.db "SELECT sum(packets) FROM other; SELECT packets || reason || bytes FROM other")" "2
7arp56" "an index says other than its table"
refused 1 "^pcapwho merge: hostile.db: .*in table segment: packets that do not add up" "and is not asked" new.db a.db hostile.db
is "$(echo new.db*)" "new.db*" "and is not asked: no database"
analyze -o c-packets.db --packets c
merge two-packets.db packets.db c-packets.db
is "$status$(ask two-packets.db "PRAGMA foreign_key_check; SELECT count(*), sum(bytes) FROM packets")" \
	"0$(ask packets.db "SELECT 2 * count(*), 2 * sum(bytes) FROM packets")" "packets of two hosts are merged"
wrong_packets() { # NAME SQL: what it makes of a copy of c-packets.db is refused
	cp c-packets.db hostile.db
	sqlite3 hostile.db "PRAGMA foreign_keys = OFF; $2"
	refused 1 "^pcapwho merge: hostile.db: wanted a row for each packet of its flows, found rows for [0-9]+ of [0-9]+ packets" \
		"$1" new.db packets.db hostile.db
	is "$(echo new.db*)" "new.db*" "$1: no database"
}
wrong_packets "packets that were lost" "DELETE FROM packet_row"
wrong_packets "the last packets lost" "DELETE FROM packet_row WHERE place = (SELECT max(place) FROM packet_row)"
wrong_packets "a packet of nobody's" "UPDATE packet_row SET connection_1 = NULL WHERE place = 3"
wrong_packets "packets that no connection finds" "DELETE FROM packet_stretch WHERE connection_id = 1"
wrong_packets "a packet of another size" "UPDATE packet_row SET size_2 = size_2 + 64 WHERE place = 0"
wrong_packets "sizes that only add up" "UPDATE packet_row SET size_2 = size_2 - (1 << 40), size_3 = size_3 + (1 << 40) WHERE place = 0"
wrong_packets "a packet of no size" "UPDATE packet_row SET size_2 = NULL WHERE place = 0"
wrong_packets "a rule that is none" "UPDATE packet_row SET size_2 = size_2 & ~62 WHERE place = 0"
wrong_packets "a reason that is none" "UPDATE packet_row SET size_2 = size_2 | 62 WHERE place = 0"
cp c-packets.db hostile.db
sqlite3 hostile.db "UPDATE packet_row SET time_2 = 1 << 62 WHERE place = 0"
refused 1 "^pcapwho merge: hostile.db: .*table packet_row: no time that can be told: ns 46" "a packet after all times" new.db packets.db hostile.db
cp c.db trap.db
sqlite3 trap.db "CREATE TABLE trap (x); CREATE TRIGGER t AFTER INSERT ON connection BEGIN INSERT INTO trap VALUES (1); END;
	CREATE VIEW pragma_table_info AS SELECT 'x' AS name; CREATE TABLE pragma_table_xinfo (name);
	CREATE INDEX extra ON flow (history)"
before=$(cksum trap.db)
merge new.db a.db b.db trap.db
is "$status" 0 "tables, views and triggers of its own are not looked at"
ok "and not taken" cmp new.db abc.db
is "$(cksum trap.db)" "$before" "nor is the file written"
rm new.db
cp c.db huge.db
sqlite3 huge.db "PRAGMA foreign_keys = OFF; UPDATE snapshot SET snapshot_id = snapshot_id + (1 << 62);
	UPDATE socket SET first_snapshot_id = first_snapshot_id + (1 << 62), last_snapshot_id = last_snapshot_id + (1 << 62);
	UPDATE connection SET snapshot_id = snapshot_id + (1 << 62)"
merge new.db a.db b.db huge.db
ok "huge numbers become small ones" cmp new.db abc.db
rm new.db
# Cut anywhere, or with bytes of nobody's, it is refused or merged, and never crashes.
size=$(stat -c %s c.db) bad=0
for ((i = 0; i < 40; i++)); do
	cp c.db torn.db
	if ((i % 2)); then
		truncate -s $((size * i / 40)) torn.db
	else
		perl -e 'srand $ARGV[1]; open F, "+<", $ARGV[0]; for (1 .. 20) { seek F, 100 + rand(-s F), 0;
			print F join "", map { chr rand 256 } 1 .. 16 }' torn.db "$i"
	fi
	merge -q new.db a.db torn.db
	case $status in
	0) rm new.db ;;
	1 | 64) [ ! -e new.db ] && [ -n "$err" ] || bad=$((bad + 1)) ;;
	*) bad=$((bad + 1)) ; diag "torn $i: $status $err" ;;
	esac
done
is "$bad" 0 "of 40 damaged ones none crashes, and none is half merged"

# ---- made-up evidence: what analyze makes of it is merged with what others recorded ----
made_up() { # NAME QUERY ANSWER CHANGE: to each line of the snapshots of a
	rm -rf made-up made-up.db new.db
	cp -r a made-up
	for snap in made-up/*.snap.gz; do rewrite "$snap" "$4"; done
	analyze -o made-up.db made-up
	is "$(ask made-up.db "$2")" "$3" "$1: it is what it can be"
	merge new.db made-up.db b.db
	is "$status$(ask new.db "PRAGMA foreign_key_check; SELECT sum(difference) FROM accounting")" 00 "$1: merged"
	run "$PCAPWHO" query new.db kernel_check --format csv
	is "$status" 0 "$1: what is asked is answered"
}
made_up "processes that begin after all times" "SELECT count(*) > count(start_ns), max(start_ns) < 1 << 62, max(exit_ns) FROM process" "1|1|4611686018427387903" \
	's/^(process\t.\t\d+\t)\d+/${1}230584300900000000/; s/^(frame\t\d+\t\w+\t\S*\t)\d+\t\d+/${1}4611686018427387000\t4611686018427387900/;
	s/^(process\t-\t.*\t)\S+$/${1}4611686018427387903/'
made_up "processes that began before all times" "SELECT count(*) > 0, count(start_ns) FROM process" "1|0" \
	's/^(frame\t.*\t)\d+$/${1}4611686018427387903/'
kernel="min(kernel_bytes_acked), min(kernel_bytes_received), max(kernel_bytes_sent), max(kernel_bytes_retransmitted)"
made_up "counts of the kernel that are none" "SELECT count(closed_ns) > 0, $kernel FROM socket" "1||||" \
	's/^(closed\t.*?)(?:\t\d+){4}((?:\t\d+){4})$/$1 . "\t18446744073709551615" x 2 . "\t4611686018427387904" x 2 . $2/e'
made_up "counts of the kernel that cannot be added up" "SELECT $kernel FROM socket" \
	"4611686018427387903|4611686018427387903|4611686018427387903|4611686018427387903" \
	's/^(closed\t.*?)(?:\t\d+){4}((?:\t\d+){4})$/$1 . "\t4611686018427387903" x 4 . $2/e'
made_up "drops that are none" "SELECT max(dropped), (SELECT count(*) FROM coverage WHERE kind = 'dropped') FROM segment" "0|0" \
	's/^(capture\t!\t\d+\t)\d+\t\d+\t(\d+)\t\d+/$1 . ($n++ ? "18446744073709551615" : 0) . "\t$n\t$2\t1"/e'
made_up "drops that cannot be added up" "SELECT min(dropped), max(dropped) FROM segment" "4611686018427387900|4611686018427387900" \
	's/^(capture\t!\t\d+\t)\d+\t\d+\t(\d+)\t\d+/$1 . ($n++ % 100 ? "4611686018427387900" : 0) . "\t0\t$2\t0"/e'
# A recording that says not of which boot it is, and another of a boot of its name.
rm -rf made-up nameless
cp -r a made-up
cp -r b nameless
for snap in made-up/*.snap.gz; do rewrite "$snap" 's/^(meta\tboot_id\t).*/${1}x/'; done
for snap in nameless/*.snap.gz; do rewrite "$snap" 's/^meta\tboot_id\t.*\n//; s/^(meta\trecording\t).*/${1}x/'; done
for file in nameless/*; do mv "$file" "${file/T0352/T0452}"; done
for pcap in nameless/*.pcap; do perl -e 'open F, "+<", $ARGV[0]; seek F, -1, 2; print F "!"' "$pcap"; done
rm -f made-up.db new.db
analyze -o made-up.db made-up nameless
is "$(ask made-up.db "SELECT (SELECT count(*) FROM connection c JOIN flow f USING (flow_id) JOIN process p USING (process_id)
	WHERE p.recording_id <> f.recording_id), count(*) > 0, count(DISTINCT recording_id) FROM process WHERE pid = 1")" "0|1|2" \
	"a boot that has the name of a recording: they have no process in common"
merge new.db made-up.db c.db
is "$status$(ask new.db "PRAGMA foreign_key_check; SELECT count(*) FROM recording")" 03 "and are merged"

# The same packets under two names, of which one is compressed: analyze knows when both are read.
twice() { # NAME alone|both DATABASE PACKETS: without snapshots, or each with its own
	rm -rf made-up second made-up.db made-up2.db new.db new2.db
	cp -r a made-up
	cp -r a second
	for snap in made-up/*.snap.gz second/*.snap.gz; do rewrite "$snap" 's/^meta\trecording\t.*\n//'; done
	for snap in second/*.snap.gz; do rewrite "$snap" 's/^(meta\tsegment\t)/${1}10/; s/^(meta\thostname\t).*/${1}another/'; done
	for file in second/*; do mv "$file" "${file/00000/00010}"; done
	gzip second/*.pcap
	if [ "$2" = alone ]; then rm -f made-up/*.snap.gz second/*.snap.gz; fi
	analyze -o made-up.db made-up second
	isnt "$(ask made-up.db "SELECT sum(packets) FROM segment")" "$(ask a.db "SELECT sum(packets) FROM segment")" "$1: are in it twice"
	merge new.db made-up.db "$3"
	is "$status$(ask new.db "PRAGMA foreign_key_check; SELECT sum(difference), sum(packets) FROM accounting WHERE scope = 'total'")" \
		"00|$4" "$1: merged"
	merge new2.db "$3" made-up.db
	ok "$1: the same in another order" cmp new.db new2.db
}
twice "two captures of other numbers" alone z.db 620
twice "packets with two kinds of snapshots" both b.db 1860
rm -f new.db new2.db

# ---- whole or absent ----
cp ab.db full.db
before=$(cksum full.db)
run bash -c "ulimit -f 200; trap '' XFSZ; exec '$PCAPWHO' merge full.db c.db"
is "$status" 1 "no room: failed"
is "$(cksum full.db)" "$before" "no room: it is as it was"
is "$(find . -name '*.tmp-*' -o -name '*-journal')" "" "and no temporary file is left anywhere"
printf '%s\n' "BEGIN IMMEDIATE;" ".shell '$PCAPWHO' merge full.db c.db 2>locked.err; echo \$? >locked" | sqlite3 full.db
like "$(<locked) $(<locked.err)" "1 .*full.db: lock: database is locked" "while somebody writes it, it is not replaced"
is "$(cksum full.db)" "$before" "and is as it was"

# A database that takes a moment.
{
	echo "PRAGMA journal_mode = OFF; PRAGMA application_id = 0x70637768; PRAGMA user_version = $(ask a.db "PRAGMA user_version");
		BEGIN; CREATE TEMP TABLE wanted AS SELECT 7 AS host, 2000 AS connections, 50 AS buckets, 20 AS processes,
		(SELECT $(ask a.db "SELECT value FROM setting WHERE key = 'format_version'")) AS version;"
	cat "$ROOT"/schema/{schema,views}.sql "$ROOT/tests/bench/hosts.sql" "$ROOT/schema/indexes.sql"
	echo "COMMIT;"
} | sqlite3 -bail large.db >/dev/null
merge whole.db ab.db large.db
is "$status$(ask whole.db "PRAGMA foreign_key_check; SELECT sum(difference) FROM accounting")" 00 "a larger one is merged too"
stopped=0 killed=0 wrong=0
# Signals come at any moment; some of them while it works.
for ((i = 0; i < 40 && (stopped == 0 || killed == 0); i++)); do
	cp ab.db some.db
	signal=$([ $((i % 2)) -eq 0 ] && echo TERM || echo KILL)
	"$PCAPWHO" merge -q some.db large.db 2>signal.err &
	pid=$!
	until compgen -G "some.db.tmp-$pid-*" >/dev/null || ! kill -0 "$pid" 2>/dev/null; do :; done
	kill "-$signal" "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
	case $? in
	0) cmp -s some.db whole.db || wrong=$((wrong + 1)) ;;
	1) grep -qx "pcapwho merge: interrupted" signal.err && stopped=$((stopped + 1))
		cmp -s some.db ab.db && [ "$(echo some.db?*)" = "some.db?*" ] || wrong=$((wrong + 1)) ;;
	137) cmp -s some.db ab.db && killed=$((killed + 1)) ;;
	esac
done 2>/dev/null
isnt "$stopped" 0 "a signal ends it"
isnt "$killed" 0 "and so does SIGKILL"
is "$wrong" 0 "then it is as it was, or whole, and but for SIGKILL nothing is left beside it"
cp ab.db some.db
merge some.db large.db
ok "the next merge is whole" cmp some.db whole.db
is "$(echo some.db?*)" "some.db?*" "and removes what was left"
done_testing
