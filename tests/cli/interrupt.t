#!/bin/bash
# ^C and kill during analyze: it ends whatever it is at, with one worker and with
# several, and leaves nothing; what a killed run left goes with the next one.
# lib.sh and spawn assign by name.
# shellcheck disable=SC2034,SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO"
need_command perl gzip sqlite3 mkfifo

cd "$TMP" || bail "no directory"
STEM=000001-20261121T203000.123456789Z

# Small files that are many gigabytes when read, so that a run is at it when the
# signal comes: the same compressed member many times over.
again() {
	perl -e 'local $/; open my $f, "<", $ARGV[1]; my $member = <$f>; print $member for 1 .. $ARGV[0]' "$1" "$2"
}
perl -e 'print "1795290600000000000 udp 192.0.2.1 4000 192.0.2.2 53 20\n" x 20000' |
	perl "$ROOT/tests/make_pcap.pl" ether >block.pcap
head -c 24 block.pcap | gzip -n >header.gz
tail -c +25 block.pcap | gzip -n >block.gz
mkdir packets snapshots both
{ cat header.gz && again 3000 block.gz; } >packets/$STEM.pcap.gz
perl -MCompress::Zlib -e '
	my $head = "pcapwho-snapshot\t1\nmeta\tclock_ticks\t100\n";
	my $frame = join "\t", "frame", 1, "key", "start", 1795290600000000000, 1795290600001000000, 1, 1;
	$frame .= "\n" . "address\t+\t1\t2\t10.0.0.1\t24\n";
	$frame .= sprintf "end\t1\t1\t%08x\n", crc32 $frame;
	print $head, $frame' | gzip -n >head.gz
perl -MCompress::Zlib -e '
	my $frame = join("\t", "frame", 2, "event", "connect", 1795290600002000000, 1795290600003000000, 2, 2) . "\n";
	my $rows = 2000;
	$frame .= "future\t!\t1\n" x $rows;
	print $frame, sprintf("end\t2\t%d\t%08x\n", $rows, crc32 $frame) for 1 .. 20' | gzip -n >frames.gz
{ cat head.gz && again 40000 frames.gz; } >snapshots/$STEM.snap.gz
cp packets/$STEM.pcap.gz both
cp snapshots/$STEM.snap.gz both/$STEM.snap.gz
for i in 2 3; do
	cp packets/$STEM.pcap.gz both/00000$i-20261121T20300$i.123456789Z.pcap.gz
done
zcat head.gz >/dev/null && zcat frames.gz >/dev/null || bail "no evidence"

ended() { ! kill -0 "$1" 2>/dev/null; }
begun() { compgen -G 'out.db.tmp-*' >/dev/null; }

# interrupted SIGNAL WHAT ARGUMENT…
interrupted() {
	local signal=$1 what=$2 pid status
	shift 2
	spawn pid "$PCAPWHO" analyze -q "$@" -o out.db 2>err
	wait_until 60 begun || bail "$what: no output begun"
	kill -"$signal" "$pid"
	wait_until 60 ended "$pid" || kill -KILL "$pid"
	wait "$pid"
	status=$?
	is "$status" 1 "$what: $signal ends it"
	is "$(cat err)" "pcapwho analyze: interrupted" "$what: it says so"
	is "$(ls -d out.db* 2>/dev/null)" "" "$what: nothing is left"
}

for workers in 1 3; do
	interrupted INT "packets, -j$workers" -j$workers packets
	interrupted INT "snapshots, -j$workers" -j$workers snapshots
	interrupted TERM "several segments, -j$workers" -j$workers both
done

# Two copies that are to be hashed, each of which takes hours: what their logs say differs.
captures=("$ROOT"/samples/evidence/*.pcap)
for copy in 1 2; do
	mkdir "copy$copy"
	head -c 24 "${captures[0]}" >copy$copy/$STEM.pcap
	truncate -s 4T copy$copy/$STEM.pcap # the rest is a hole
	perl -MDigest::SHA=sha256_hex -e 'my $line = join "\t", 1, "2026-11-21T20:30:00.000000000Z", "close", $ARGV[0], 4 << 40, $ARGV[1] x 64, "";
		print $line, "\t", sha256_hex("0" x 64 . "\n" . $line), "\n"' $STEM.pcap $copy >copy$copy/custody.log
done
interrupted INT "hashing" -j2 copy1 copy2

# Before there is anything to undo, the signal itself ends it.
head -c 24 "${captures[0]}" >held
truncate -s 4T held # the rest is a hole
spawn pid "$PCAPWHO" analyze -q held -o out.db 2>err
reads_it() { find "/proc/$pid/fd" -lname "$TMP/held" | grep -q .; }
wait_until 60 reads_it || diag "$(cat err)"
kill -INT "$pid" 2>/dev/null
wait "$pid" 2>/dev/null
isnt "$?" 0 "an input of hours: INT ends it"
is "$(ls -d out.db* 2>/dev/null)" "" "an input of hours: nothing is left"

# Closing: the database is whole or absent, and nothing is beside it.
perl -e 'for my $i (1 .. 60000) {
	printf "%d udp 192.0.2.1 %d 192.0.2.2 %d 20\n", 1795290600000000000 + $i, 1 + $i % 60000, 1 + int($i / 60000) }' |
	perl "$ROOT/tests/make_pcap.pl" ether >flows.pcap
spawn pid "$PCAPWHO" analyze -q flows.pcap -o out.db 2>err
copying() { compgen -G 'out.db.tmp-*-copy' >/dev/null || ! kill -0 "$pid" 2>/dev/null; }
until copying; do :; done
kill -INT "$pid" 2>/dev/null
wait "$pid"
status=$?
if [ -e out.db ]; then
	is "$(sqlite3 out.db 'PRAGMA integrity_check')" ok "while it is copied: the database is whole"
else
	is "$status" 1 "while it is copied: no database, and it says so"
fi
is "$(ls -d out.db.* 2>/dev/null)" "" "while it is copied: nothing beside it"
rm -f out.db

# An existing database is as it was.
printf '%s\n' "1795290600000000000 udp 192.0.2.1 4000 192.0.2.2 53 20" |
	perl "$ROOT/tests/make_pcap.pl" ether >good.pcap
"$PCAPWHO" analyze -q good.pcap -o kept.db || bail "cannot analyze at all"
before=$(sqlite3 kept.db .dump | sha256sum)
spawn pid "$PCAPWHO" analyze -q -j1 packets -o kept.db 2>err
has_journal() { [ -e kept.db-journal ]; }
wait_until 60 has_journal || bail "no journal"
kill -INT "$pid"
wait "$pid"
is "$?" 1 "adding to a database: INT ends it"
is "$(ls -d kept.db?* 2>/dev/null)" "" "nothing beside it"
is "$(sqlite3 kept.db .dump | sha256sum)" "$before" "it is as it was"

# What was killed outright cannot clean up; the next run does.
spawn pid "$PCAPWHO" analyze -q -j1 packets -o out.db 2>err
wait_until 60 begun
kill -KILL "$pid"
wait "$pid" 2>/dev/null
ok "KILL leaves a file" begun
left=$(echo out.db.tmp-"$pid"-*)
theirs=(out.db.tmp-$$-0123cdef "out.db.tmp-$pid-else" "out.db.tmp-$pid-0123cde" "out.db.tmp-$pid-0123cdef-else" out.db.tmp- "other.db.tmp-$pid-0123cdef")
touch "$left-copy" "${theirs[@]}"
run "$PCAPWHO" analyze -q good.pcap -o out.db
is "$status" 0 "the next run is a good one"
is "$(LC_ALL=C ls -d out.db* other*)" "$(printf '%s\n' out.db "${theirs[@]}" | LC_ALL=C sort)" \
	"it removes what the dead one left, and nothing else"
like "$err" "$left: left by a run that was killed \(process $pid\): removed" "and says so"
done_testing
