#!/bin/bash
# Explaining what somebody made up: evidence that is no files, and databases and
# snapshots whose text is to steer the terminal.
# lib.sh and spawn assign by name.
# shellcheck disable=SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO"
need_command perl sqlite3 mkfifo timeout script

EVIDENCE=$ROOT/samples/evidence
FIRST=000001-20261122T035254.187739683Z
DB=$TMP/plain.db
"$PCAPWHO" analyze -q -o "$DB" "$EVIDENCE" || bail "no database"
sql() { sqlite3 -batch "$@"; }
# What hangs is killed in the end, and the status tells.
explain() { run timeout --signal=KILL 60 "$PCAPWHO" explain "$@"; }
copy() {
	rm -rf "$TMP/copy"
	cp -r "$EVIDENCE" "$TMP/copy"
}

# ---- evidence that is no file ----
for name in $FIRST.pcap $FIRST.snap.gz custody.log; do
	for kind in "a symbolic link to a device" "a FIFO" "a directory"; do
		copy
		rm "$TMP/copy/$name"
		case $kind in
		*link*) ln -s /dev/zero "$TMP/copy/$name" ;;
		*FIFO) mkfifo "$TMP/copy/$name" ;;
		*) mkdir "$TMP/copy/$name" ;;
		esac
		explain "$DB" --flow 1 --evidence "$TMP/copy"
		is "$status" 1 "$kind in place of ${name##*Z}: failed"
		like "$out$err" "wanted a regular file" "$kind in place of ${name##*Z}: it says why"
	done
done
copy
mkfifo "$TMP/copy/fifo"
rm "$TMP/copy/$FIRST.pcap"
ln -s /dev/zero "$TMP/copy/$FIRST.pcap.gz"
explain "$DB" --flow 1 --evidence "$TMP/copy"
like "$status$out$err" "^1.*wanted a regular file" "and of a capture that was compressed since"

# ---- text that is to steer who reads it ----
# An escape sequence, the same by one character of C1, an override of direction, and bytes
# that are no text, all unescaped in the file, which no recorder writes.
mkdir "$TMP/steer"
cp "$EVIDENCE/$FIRST".* "$TMP/steer"
rewrite "$TMP/steer/$FIRST.snap.gz" 's/\tcurl\\x00/\tcurl\\x00\e]0;x\a\xc2\x9b2J\xe2\x80\xaeevil\xff\x9b\\x00/ if /^process/'
"$PCAPWHO" analyze -q -o "$TMP/steer.db" "$TMP/steer" || bail "no database"
explain "$TMP/steer.db" --flow 1 --evidence "$TMP/steer"
steers() { grep -aqP '[\x00-\x08\x0b-\x1f\x7f-\xff]' "$1"; }
printf '%s\n' "$out" >"$TMP/shown"
like "$status$out" "^0.*curl '.x1b]0;x.x07.xc2.x9b2J.xe2.x80.xaeevil.xff.x9b" "in a pipe it is shown escaped"
not_ok "and not as it is" steers "$TMP/shown"
like "$out" $'process\t[+]\t' "tabs of a record are tabs"
script -qec "stty cols 80; '$PCAPWHO' explain '$TMP/steer.db' --flow 1 --evidence '$TMP/steer'" /dev/null |
	tr -d '\r' >"$TMP/shown"
not_ok "on a terminal neither" steers "$TMP/shown"
is "$(awk 'length > 80' "$TMP/shown")" "" "and no line is wider for it"
explain "$TMP/steer.db" --flow 1 --evidence "$TMP/steer" --format json
printf '%s\n' "$out" | sed 's/\xef\xbf\xbd//g' >"$TMP/shown" # what is no text is U+FFFD
not_ok "nor in JSON" steers "$TMP/shown"
perl -MJSON::PP -e 'local $/; decode_json(<STDIN>)' <<<"$out"
is $? 0 "which can be read"
like "$out" 'u001b]0;x.u0007.u009b2J.u202eevil' "and has it all"
# A number of the database may be anything where somebody made its tables.
cp "$DB" "$TMP/words.db"
sql "$TMP/words.db" "PRAGMA writable_schema = 1;
	UPDATE sqlite_schema SET sql = replace(replace(replace(sql, ') STRICT', ')'),
		'connection_id INTEGER PRIMARY KEY', 'connection_id TEXT'), 'flow_id INTEGER', 'flow_id') WHERE name = 'connection'" \
	2>/dev/null
sql "$TMP/words.db" "UPDATE connection SET connection_id = '},' || char(27, 155) WHERE flow_id = 1"
explain "$TMP/words.db" --flow 1 --format json
perl -MJSON::PP -e 'local $/; decode_json(<STDIN>)' <<<"$out"
is "$status$?" 00 "an identifier that is no number: JSON can be read"
printf '%s\n' "$out" >"$TMP/shown"
not_ok "and steers nothing" steers "$TMP/shown"

# ---- times that are none ----
cp "$DB" "$TMP/times.db"
sql "$TMP/times.db" "UPDATE snapshot SET begin_ns = -9223372036854775808; UPDATE connection SET distance_ns = NULL;
	UPDATE flow SET end_ns = 9223372036854775807, start_ns = -9223372036854775807"
explain "$TMP/times.db" --flow 1
is "$status$err" 0 "times without end, and none"
like "$out" "at most a time not known from its sighting.*for a time not known" "are not known"

# ---- more than anybody reads ----
cp "$DB" "$TMP/many.db"
sql "$TMP/many.db" "PRAGMA foreign_keys = 0;
	WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 252000)
	INSERT INTO process (process_id, recording_id, pid, parent_process_id, image) SELECT i, 1, i, i + 1, 0 FROM n;
	UPDATE process SET parent_process_id = 1000 WHERE process_id < 1000"
explain "$TMP/many.db" --flow 1
is "$status$out" 1 "parents by the hundred thousand: failed"
like "$err" "wanted an answer of at most 250000 rows, found more: ask by --connection" "and why"
cp "$DB" "$TMP/many.db"
sql "$TMP/many.db" "SELECT 'DROP VIEW ' || name || ';' FROM sqlite_schema WHERE type = 'view'" | sql "$TMP/many.db"
sql "$TMP/many.db" "PRAGMA foreign_keys = 0; DROP TABLE connection; CREATE VIEW connection AS
	WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 1 AS connection_id, i AS flow_id FROM n"
explain "$TMP/many.db" --connection 1
like "$status$err" "^1pcapwho explain: .*at most 250000 rows" "a view without end comes to one"

# ---- evidence without end: a signal ends it, and nothing is left ----
# Small files that are many gigabytes when read: one compressed member many times.
again() {
	perl -e 'local $/; open my $f, "<", $ARGV[1]; my $member = <$f>; print $member for 1 .. $ARGV[0]' "$1" "$2"
}
mkdir "$TMP/long" "$TMP/tmp"
cp "$EVIDENCE/$FIRST".* "$TMP/long"
"$PCAPWHO" analyze -q -o "$TMP/long.db" "$TMP/long" || bail "no database"
head -c 4000000 /dev/zero | gzip -n >"$TMP/zeros.gz"
perl -MCompress::Zlib -e '
	my $frame = join("\t", "frame", 900, "event", "connect", 1795319580002000000, 1795319580003000000, 2, 2) . "\n";
	my $rows = 20000;
	$frame .= "future\t!\t1\n" x $rows;
	print $frame, sprintf("end\t900\t%d\t%08x\n", $rows, crc32 $frame)' | gzip -n >"$TMP/frames.gz"
again 40000 "$TMP/frames.gz" >>"$TMP/long/$FIRST.snap.gz"

ended_by() { # SIGNAL WHAT PHASE: once the phase is there
	local pid
	TMPDIR=$TMP/tmp spawn pid "$PCAPWHO" explain "$TMP/long.db" --flow 1 --evidence "$TMP/long" >"$TMP/out" 2>"$TMP/err"
	phase_of=$pid
	wait_until 60 "$3" || bail "$2: it did not get there"
	kill -"$1" "$pid"
	wait "$pid"
	status=$?
	is "$(ls "$TMP/tmp")" "" "$2: nothing is left"
}
is_reading() { [ "$(awk '{ print ($14 + $15 >= 20) }' "/proc/$phase_of/stat")" = 1 ]; }
is_loading() { compgen -G "$TMP/tmp/pcapwho-explain.*"; }
ended_by TERM "a snapshot file of gigabytes, TERM" is_loading
is "$status$(cat "$TMP/err")" "1pcapwho explain: interrupted" "and it says that it was interrupted"
ended_by INT "a snapshot file of gigabytes, INT" is_loading
rm "$TMP/long/$FIRST.pcap"
again 40000 "$TMP/zeros.gz" >"$TMP/long/$FIRST.pcap.gz"
ended_by TERM "a capture of gigabytes that is hashed" is_reading
is "$status" 143 "the signal itself ended it"
done_testing
