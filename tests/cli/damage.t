#!/bin/bash
# A recorded pair of files, cut at many places and with single bytes flipped: what
# is before the damage is loaded, the rest is told, and no verdict rests on it.
# lib.sh and spawn assign by name.
# shellcheck disable=SC2034,SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO" "$PCAPWHO_RECORD" "$MANY"
need_command perl sqlite3 socat capinfos zcat
own_network

# ---- a recording: one conversation over TCP, whose two pids are known ----
SERVER_PORT=40001 CLIENT_PORT=40002
mkdir "$TMP/whole" "$TMP/cuts"
spawn SERVER socat -u "TCP4-LISTEN:$SERVER_PORT,bind=127.0.0.1" /dev/null
wait_until 10 listening "$SERVER_PORT"
spawn RECORDER "$PCAPWHO_RECORD" -q -o "$TMP/whole" --interval 50ms --cpu-budget 50%
frames() { zcat "$TMP"/whole/*.snap.gz.part 2>/dev/null | grep -c "^end"; }
more_frames() { [ "$(frames)" -ge "$1" ]; }
wait_until 20 more_frames 1 || bail "no recording"
words() { # one at a time, each after another poll
	local i
	for i in 1 2 3 4 5 6; do
		echo "$i: $(printf 'x%.0s' {1..100})"
		wait_until 20 more_frames $(($(frames) + 1)) 2>/dev/null
	done
}
spawn CLIENT socat -u - "TCP4:127.0.0.1:$SERVER_PORT,sourceport=$CLIENT_PORT" < <(words)
wait "$CLIENT" "$SERVER"
kill -TERM "$RECORDER"
wait "$RECORDER"
PCAP=$(cd "$TMP/whole" && echo *.pcap) SNAP=$(cd "$TMP/whole" && echo *.snap.gz)
rm "$TMP/whole/custody.log"
run "$PCAPWHO" analyze -q "$TMP/whole" -o "$TMP/whole.db"
is "$status$err" 0 "the whole pair loads"
sql() { sqlite3 -readonly -batch "$@"; }
is "$(sql "$TMP/whole.db" "SELECT local_port, pid FROM connections WHERE protocol = 'tcp' ORDER BY 1")" \
	"$SERVER_PORT|$SERVER"$'\n'"$CLIENT_PORT|$CLIENT" "with the owner of each end"
PACKETS=$(sql "$TMP/whole.db" "SELECT packets FROM segment")
is "$PACKETS" "$(capinfos -Mrc "$TMP/whole/$PCAP" | awk '/packets/ {print $NF}')" "and all packets"
sql "$TMP/whole.db" "SELECT sequence, kind, cause, begin_ns, end_ns FROM snapshot ORDER BY snapshot_id" >"$TMP/snapshots"
ok "($PACKETS packets, $(wc -l <"$TMP/snapshots") snapshots)" test "$(wc -l <"$TMP/snapshots")" -ge 6

# ---- damaged copies: damaged.pl HOW FILE OFFSET… ----
# Of each leaves OFFSET.db, OFFSET.err, and OFFSET.txt with the exit status (many.c). In
# memory where that can be had: nobody has to wait for a disk.
CUTS=$TMP/cuts
if [ -w /dev/shm ]; then
	CUTS=$(mktemp -d /dev/shm/pcapwho-test.XXXXXX) && at_exit rm -rf "$CUTS"
fi
cat >"$TMP/damaged.pl" <<'EOS'
use strict;
use warnings;
my ($how, $file, @offsets) = @ARGV;
my ($whole, $cuts, $workers) = ("$ENV{TMP}/whole", $ENV{CUTS}, $ENV{WORKERS});
mkdir "$cuts/whole" or die "$cuts/whole: $!";
my %other = map { m{([^/]+)$}; ($1 => "$cuts/whole/$1") } grep { $_ ne "$whole/$file" } glob "$whole/*";
write_file($other{$_}, read_file("$whole/$_")) for keys %other;
my $bytes = read_file("$whole/$file");
my @many = map { open my $to, '|-', $ENV{MANY} or die "$ENV{MANY}: $!"; $to } 1 .. $workers;
for my $i (0 .. $#offsets) {
	my $dir = damaged($offsets[$i]);
	my $to = $many[$i % $workers];
	print $to join("\t", "$cuts/$offsets[$i]", 'analyze', '-q', '-j1', $dir, '-o', "$cuts/$offsets[$i].db"), "\n";
}
for my $to (@many) {
	close $to or die "$ENV{MANY}: status $?\n";
}

sub damaged {
	my ($offset) = @_;
	my $dir = "$cuts/$offset.dir";
	my $damaged = $bytes;
	if ($how eq 'cut') {
		$damaged = substr $bytes, 0, $offset;
	} else {
		substr($damaged, $offset, 1) ^= chr(1 << $offset % 8);
	}
	mkdir $dir or die "$dir: $!";
	link $other{$_}, "$dir/$_" or die "$dir/$_: $!" for keys %other;
	write_file("$dir/$file", $damaged);
	return $dir;
}

sub read_file {
	open my $from, '<:raw', $_[0] or die "$_[0]: $!";
	local $/;
	return <$from>;
}

sub write_file {
	open my $to, '>:raw', $_[0] or die "$_[0]: $!";
	print $to $_[1];
	close $to or die "$_[0]: $!";
}
EOS
WORKERS=$(nproc)
export TMP CUTS MANY WORKERS

# What gzip gives of the first N bytes, for each N: the frames whole in it.
cat >"$TMP/frames.pl" <<'EOS'
use strict;
use warnings;
use Compress::Raw::Zlib;
my ($file, @offsets) = @ARGV;
open my $from, '<:raw', $file or die;
my $bytes = do { local $/; <$from> };
my ($inflate) = Compress::Raw::Zlib::Inflate->new(-WindowBits => WANT_GZIP, -AppendOutput => 1);
my ($text, $at, $frames) = ('', 0, 0);
for my $offset (@offsets) {
	my $input = substr $bytes, $at, $offset - $at;
	$inflate->inflate($input, $text);
	$at = $offset;
	$frames = () = $text =~ /^end\t\d+\t\d+\t[0-9a-f]{8}\n/mg;
	print "$offset $frames\n";
}
EOS

# damage HOW FILE OFFSET…: all of them, and of each a line
#	OFFSET STATUS PACKETS|IN-FLOWS-AND-OTHER|DIFFERENCES|COVERAGE-OF-FILE|FRAMES|WRONG|OWNED
# WRONG: owners that are not true, and sightings later than the last frame read.
damage() {
	local how=$1 file=$2 offset
	shift 2
	perl "$TMP/damaged.pl" "$how" "$file" "$@" 2>>"$TMP/left" ||
		echo "$how $file: not all runs came to their end" >>"$TMP/left"
	for offset; do
		if [ ! -s "$CUTS/$offset.db" ]; then
			echo "SELECT '$offset $(<"$CUTS/$offset.txt")|no database';"
			continue
		fi
		cat <<-EOS
			ATTACH 'file:$CUTS/$offset.db?mode=ro' AS d;
			SELECT '$offset $(<"$CUTS/$offset.txt")', (SELECT sum(packets) FROM d.segment),
			(SELECT coalesce(sum(orig_packets + resp_packets + repeat_packets), 0) FROM d.flow)
			+ (SELECT coalesce(sum(packets), 0) FROM d.other),
			(SELECT sum(difference <> 0) FROM d.accounting),
			(SELECT count(*) > 0 FROM d.coverage WHERE subject = '$file'
				AND kind IN ('damaged', 'torn')),
			(SELECT count(*) FROM d.snapshot),
			(SELECT count(*) FROM d.connections WHERE pid <> CASE local_port
				WHEN $SERVER_PORT THEN $SERVER WHEN $CLIENT_PORT THEN $CLIENT ELSE 0 END)
			+ (SELECT count(*) FROM d.holder WHERE last_seen_ns > (SELECT max(end_ns) FROM d.snapshot))
			+ (SELECT count(*) FROM d.socket WHERE last_seen_ns > (SELECT max(end_ns) FROM d.snapshot)),
			(SELECT count(*) FROM d.connections WHERE pid IS NOT NULL);
			DETACH d;
		EOS
	done >"$TMP/damage.sql"
	sqlite3 -batch "file::memory:" <"$TMP/damage.sql"
	cat "$CUTS"/*.err >"$TMP/errors"
	rm -r "${CUTS:?}"/*
}

# The first 400, the last 400, and 100 between.
places() {
	perl -e 'my ($size) = @ARGV; my %at = map {$_ => 1} 0 .. ($size < 400 ? $size - 1 : 399);
		$at{$_} = 1 for ($size > 400 ? $size - 400 : 0) .. $size - 1;
		$at{int($size * $_ / 101)} = 1 for 1 .. 100;
		print join " ", sort {$a <=> $b} keys %at' "$(stat -c %s "$1")"
}
# none NAME FILE: FILE is empty; else what is in it is told.
none() {
	[ ! -s "$2" ]
	result $? "$1" || diag "$(wc -l <"$2") of them: $(head -5 "$2")"
}

# ---- the pcap, cut ----
# What is before the damage, from the format itself (24 bytes, then 16 and what
# the third word says), and by capinfos for some.
read -r -a OFFSETS <<<"$(places "$TMP/whole/$PCAP")"
perl -e 'my $file = shift; open my $f, "<:raw", $file or die; local $/; my $bytes = <$f>;
	my ($at, @ends) = (24); while ($at < length $bytes) {
		$at += 16 + unpack "L<", substr $bytes, $at + 8, 4; push @ends, $at }
	for my $cut (@ARGV) { my $count = grep { $_ <= $cut } @ends;
		my $clean = $cut == 24 || grep { $_ == $cut } @ends;
		print "$cut $count ", ($clean ? 0 : 2), "\n" }' "$TMP/whole/$PCAP" "${OFFSETS[@]}" >"$TMP/expected"
wrong=0
for cut in 24 25 100 200 333 399 "${OFFSETS[450]}" "${OFFSETS[-1]}"; do
	head -c "$cut" "$TMP/whole/$PCAP" >"$TMP/cut.pcap"
	[ "$(capinfos -Mrc "$TMP/cut.pcap" 2>/dev/null | awk '/packets/ {print $NF}')" = \
		"$(awk -v cut="$cut" '$1 == cut {print $2}' "$TMP/expected")" ] || { wrong=$cut; break; }
done
is "$wrong" 0 "capinfos reads as many packets before a cut as the format says"
damage cut "$PCAP" "${OFFSETS[@]}" | tr "|" " " >"$TMP/pcapcut"
is "$(wc -l <"$TMP/pcapcut")" "${#OFFSETS[@]}" "the pcap cut at ${#OFFSETS[@]} places"
join <(sort "$TMP/expected") <(sort "$TMP/pcapcut") >"$TMP/joined"
# 1 cut, 2 packets and 3 status expected; 4 status, 5 packets, 6 in tables, 7 differences, 8 coverage,
# 9 snapshots, 10 wrong, 11 owned
awk '$4 != $3' "$TMP/joined" >"$TMP/bad"
none "exit status 2; 0 where it was cut between two packets, which nothing shows" "$TMP/bad"
awk '$5 != $2 || $6 != $2 || $7 != 0' "$TMP/joined" >"$TMP/bad"
none "every packet before the cut is in a flow or in other, and no more" "$TMP/bad"
awk '$8 != ($3 == 2)' "$TMP/joined" >"$TMP/bad"
none "coverage names the file" "$TMP/bad"
awk '$10 != 0' "$TMP/joined" >"$TMP/bad"
none "no owner is wrong" "$TMP/bad"
grep -v "^pcapwho analyze: .*/[0-9]*[.]dir/$PCAP: at byte [0-9]*: wanted" "$TMP/errors" >"$TMP/bad"
none "one line each says where, what was wanted and what was found" "$TMP/bad"

# ---- the snapshot file, cut ----
read -r -a OFFSETS <<<"$(places "$TMP/whole/$SNAP")"
damage cut "$SNAP" "${OFFSETS[@]}" | tr '|' ' ' >"$TMP/out"
perl "$TMP/frames.pl" "$TMP/whole/$SNAP" "${OFFSETS[@]}" >"$TMP/frames"
join <(sort "$TMP/out") <(sort "$TMP/frames") >"$TMP/snapcut"
is "$(wc -l <"$TMP/snapcut")" "${#OFFSETS[@]}" "the snapshot file cut at ${#OFFSETS[@]} places"
# 1 cut, 2 status, 3 packets, 4 in tables, 5 differences, 6 coverage, 7 snapshots, 8 wrong, 9 owned, 10 frames by zlib
awk '$2 != 2' "$TMP/snapcut" >"$TMP/bad"
none "exit status 2" "$TMP/bad"
awk -v all="$PACKETS" '$3 != all || $4 != all || $5 != 0' "$TMP/snapcut" >"$TMP/bad"
none "all packets are there" "$TMP/bad"
awk '$6 != 1' "$TMP/snapcut" >"$TMP/bad"
none "coverage names the file" "$TMP/bad"
awk '$7 != $10' "$TMP/snapcut" >"$TMP/bad"
none "every whole frame before the cut is used, and no other" "$TMP/bad"
awk '$8 != 0' "$TMP/snapcut" >"$TMP/bad"
none "no owner is wrong, and nothing is seen later than the last whole frame" "$TMP/bad"
awk '$7 == 0 && $9 != 0' "$TMP/snapcut" >"$TMP/bad"
none "without a frame nobody owns anything" "$TMP/bad"
awk '$7 > most { most = $7 } { frames[NR] = $7; owned[NR] = $9; line[NR] = $0 }
	END { for (i = 1; i <= NR; i++) if (frames[i] == most && owned[i] != 2) print line[i] }' \
	"$TMP/snapcut" >"$TMP/bad"
none "both ends are owned where only the last frame is torn" "$TMP/bad"

# ---- one byte flipped ----
flips() { perl -e 'my ($size) = @ARGV; print join " ", map { int(($size - 1) * $_ / 150) } 0 .. 150' "$1"; }
read -r -a OFFSETS <<<"$(flips "$(stat -c %s "$TMP/whole/$SNAP")")"
damage flip "$SNAP" "${OFFSETS[@]}" | tr '|' ' ' >"$TMP/snapflip"
# gzip's header, and the padding before a flush, have bits that mean nothing.
awk -v all="$(wc -l <"$TMP/snapshots")" '$2 != 2 && !($2 == 0 && $7 == all)' "$TMP/snapflip" >"$TMP/bad"
none "a byte flipped in the snapshot file: exit status 2, or all frames are as they were" "$TMP/bad"
awk -v all="$PACKETS" '$3 != all || $4 != all || $5 != 0' "$TMP/snapflip" >"$TMP/bad"
none "all packets are there" "$TMP/bad"
awk '$8 != 0' "$TMP/snapflip" >"$TMP/bad"
none "no owner is wrong" "$TMP/bad"
awk -v all="$(wc -l <"$TMP/snapshots")" '$2 == 2 && ($6 != 1 || $7 > all)' "$TMP/snapflip" >"$TMP/bad"
none "coverage names the file, and no snapshot is invented" "$TMP/bad"
read -r -a OFFSETS <<<"$(flips "$(stat -c %s "$TMP/whole/$PCAP")")"
damage flip "$PCAP" "${OFFSETS[@]}" | tr '|' ' ' >"$TMP/pcapflip"
awk '$2 != 0 && $2 != 2' "$TMP/pcapflip" >"$TMP/bad"
none "a byte flipped in the pcap: it loads" "$TMP/bad"
awk '$3 != $4 || $5 != 0' "$TMP/pcapflip" >"$TMP/bad"
none "what could be read is accounted for" "$TMP/bad"
awk '$8 != 0' "$TMP/pcapflip" >"$TMP/bad"
none "and no owner is wrong" "$TMP/bad"
is "$(<"$TMP/left")" "" "every run came to its end, and left nothing allocated"
done_testing
