#!/bin/bash
# Copies of one segment: of the same content one counts, without a word. Of a whole and
# a damaged one the whole counts, and the other is told. What differs from what
# the database has is refused: nothing is lost, and nothing is counted twice.
# shellcheck disable=SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO"
need_command perl sqlite3 gzip

sql() { sqlite3 -readonly -batch "$@"; }
flip_last_byte() { perl -e 'open my $f, "+<", $ARGV[0]; seek $f, -1, 2; read $f, my $b, 1; seek $f, -1, 2; print $f chr(ord($b) ^ 1)' "$1"; }
shorten() { truncate -s "-$2" "$1"; }
# copy NAME: the first segment of the sample, without its log; its files in $pcap, $snap.
copy() {
	dir=$TMP/$1
	mkdir "$dir"
	cp "$ROOT"/samples/evidence/000001-* "$dir"
	pcap=$(echo "$dir"/000001-*.pcap)
	snap=$(echo "$dir"/000001-*.snap.gz)
}
analyze() { # NAME PATH…
	local db=$TMP/$1.db
	shift
	run "$PCAPWHO" analyze "$@" -o "$db"
}
packets() { sql "$TMP/$1.db" "SELECT sum(packets) FROM segment"; }
rows() { sql "$TMP/$1.db" .dump | grep -v '^INSERT INTO \(sqlite_stat\|carry\)' | sha256sum; }
lines() { printf '%s\n' "$err" | wc -l; }

copy whole
copy cut && shorten "$pcap" 3000
copy altered && flip_last_byte "$pcap"
copy torn && shorten "$snap" 3000
copy headless && : >"$snap"
copy alone && rm "$snap"
copy zipped && gzip "$pcap"
copy zippedagain && gzip -1 "$pcap"
copy zippedcut && gzip "$pcap" && shorten "$pcap.gz" 3000
copy zippedaltered && flip_last_byte "$pcap" && gzip "$pcap"
mkdir "$TMP/bare" && cp "$TMP"/whole/*.pcap "$TMP/bare/capture"
name=$(basename "$TMP"/whole/*.pcap .pcap)
analyze only "$TMP/whole"
is "$status" 0 "a whole copy"
WHOLE=$(packets only)

# ---- loaded before ----
for there in whole zipped zippedagain; do
	analyze "first-$there" "$TMP/$there"
	for again in whole zipped zippedagain; do
		before=$(sha256sum <"$TMP/first-$there.db")
		analyze "first-$there" "$TMP/$again"
		is "$status $(sha256sum <"$TMP/first-$there.db")" "0 $before" "$there, then $again: the same packets, nothing changes"
	done
	like "$err" "nothing new: 1 segment was loaded before" "is said"
done
analyze first-whole "$TMP/alone" "$TMP/bare/capture"
is "$status" 0 "its capture alone, in both ways: there already"
like "$err" "nothing new: 2 segments were loaded before" "is said"

# ---- what the database has is damaged: nothing may be taken for loaded ----
for there in cut altered torn headless alone zippedcut zippedaltered; do
	analyze "has-$there" "$TMP/$there"
	before=$(sha256sum <"$TMP/has-$there.db")
	for again in whole zipped; do
		analyze "has-$there" "$TMP/$again"
		is "$status" 1 "$there, then $again: refused"
		like "$err" "$again/$name\.pcap(\.gz)?: wanted what the database has of this segment, found other (packets|snapshots) than in $TMP/has-$there.db.*new database" \
			"names the file, and says what to do"
		is "$(lines) $(sha256sum <"$TMP/has-$there.db")" "1 $before" "in one line, and nothing changes"
	done
done
analyze has-bare "$TMP/bare/capture"
analyze has-bare "$TMP/whole"
is "$status" 1 "its capture alone, then the segment: refused, it would count twice"

# ---- what the database has is whole: a damaged copy is told and left out ----
for again in cut torn headless zippedcut; do
	before=$(sha256sum <"$TMP/only.db")
	analyze only "$TMP/$again"
	is "$status $(sha256sum <"$TMP/only.db")" "2 $before" "whole, then $again: nothing changes, exit status 2"
	like "$err" "$again/$name.*left out, a whole copy of this segment is in $TMP/only.db: wanted" "it is told"
done
analyze only "$TMP/altered"
is "$status" 1 "one that is whole and has other packets is refused: nothing says which are right"

# ---- both in one run: the whole one wins, whatever their order ----
for damaged in cut torn headless zippedcut; do
	for order in "$damaged whole" "whole $damaged"; do
		read -r one two <<<"$order"
		analyze "run-$one-$two" "$TMP/$one" "$TMP/$two"
		is "$status $(packets "run-$one-$two") $(rows "run-$one-$two")" "2 $WHOLE $(rows only)" "$one and $two in one run: the whole one is loaded"
		like "$err" "$damaged/$name.*left out, a whole copy of this segment is in $TMP/whole/$name.pcap: wanted" "the other is told"
	done
done
for pair in "cut zippedcut" "whole altered" "cut torn"; do
	read -r one two <<<"$pair"
	analyze "two-$one" "$TMP/$one" "$TMP/$two"
	is "$status" 1 "$one and $two in one run: refused"
	like "$err" "wanted one copy of each segment, found other .* give one of the two" "is said"
	not_ok "and there is no database" test -e "$TMP/two-$one.db"
done
analyze three "$TMP/cut" "$TMP/zippedcut" "$TMP/zipped"
is "$status $(packets three)" "2 $WHOLE" "two damaged ones and a whole one: both are left out"
is "$(grep -c 'left out' <<<"$err")" 2 "and told"
analyze both "$TMP/alone" "$TMP/bare/capture" "$TMP/whole"
is "$status $(packets both)" "0 $WHOLE" "its capture alone beside the segment counts once"

# ---- compressed, by the log: nothing need be read to know it ----
cat >"$TMP/compress.pl" <<'EOS'
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
my ($dir, $name) = @ARGV;
open my $log, '+<', "$dir/custody.log" or die;
my @last = split /\t/, (<$log>)[-1];
chomp(my $chain = $last[-1]);
open my $gz, '<:raw', "$dir/$name.gz" or die;
my $bytes = do { local $/; <$gz> };
my $line = join "\t", $last[0] + 1, '2026-11-22T05:00:00.000000000Z', 'compress', "$name.gz", length $bytes,
	sha256_hex($bytes), "replaces $name";
print $log "$line\t", sha256_hex("$chain\n$line"), "\n";
EOS
cp -r "$ROOT/samples/evidence" "$TMP/compressed"
analyze compressed "$TMP/compressed"
gzip "$TMP/compressed/$name.pcap"
perl "$TMP/compress.pl" "$TMP/compressed" "$name.pcap"
analyze compressed "$TMP/compressed"
like "$status $err" "^0 .*nothing new: 2 segments were loaded before" "a capture that was compressed since, by its log"
perl -e 'my $size = -s $ARGV[0]; open my $f, ">", $ARGV[0]; print $f "\0" x $size' "$TMP/compressed/$name.pcap.gz"
analyze compressed "$TMP/compressed"
like "$status $err" "^0 .*nothing new: 2 segments were loaded before" "is not read again, as any of the size that its log has"
analyze compressed --verify "$TMP/compressed"
is "$status" 2 "--verify tells that it is not what its log has"

# ---- compressed, by a log that says so of other packets ----
copy forged
flip_last_byte "$pcap"
content=$(sha256sum <"$pcap" | cut -d' ' -f1)
gzip "$pcap"
cp "$ROOT/samples/evidence/custody.log" "$dir"
perl "$TMP/compress.pl" "$dir" "$name.pcap"
analyze forged --verify "$dir"
is "$status" 2 "--verify reads what is in a compressed capture"
like "$err" "forged/$name.pcap.gz: wanted what custody.log has of it before it was compressed, found another SHA-256.*$content" "tells that it is not what its log has"
is "$(sql "$TMP/forged.db" "SELECT content_sha256, (SELECT group_concat(subject) FROM coverage WHERE kind = 'altered') FROM segment")" \
	"$content|$name.pcap.gz" "its row has what was read, and coverage the remark"
cp "$TMP/only.db" "$TMP/then-forged.db"
analyze then-forged --verify "$dir"
like "$status $err" "^2 .*forged/$name.pcap.gz: left out, a whole copy of this segment is in $TMP/then-forged.db" "nor is it taken for what was loaded before"
analyze and-forged --verify "$dir" "$TMP/whole"
is "$status $(packets and-forged)" "2 $WHOLE" "nor for its copy in the same run"
like "$err" "forged/$name.pcap.gz: left out, a whole copy" "which counts"

# ---- altered, by the log ----
cp -r "$ROOT/samples/evidence" "$TMP/logged"
printf x >>"$(echo "$TMP"/logged/000001-*.pcap)"
analyze logged "$TMP/logged" "$TMP/whole"
is "$status $(sql "$TMP/logged.db" "SELECT packets FROM segment WHERE number = 1")" "2 $WHOLE" \
	"one that is not what its log has is left out"
like "$err" "logged/$name.pcap: left out.*: wanted what custody.log has of it" "and told"

# ---- damaged at its own size, and its log has not noticed ----
copy spoiled
cp "$ROOT/samples/evidence/custody.log" "$dir"
perl -e 'open my $f, "+<", $ARGV[0]; seek $f, (-s $f) / 2, 0; print $f "\xff" x 3000' "$pcap"
analyze has-spoiled "$TMP/spoiled"
is "$status" 2 "damaged at the same size, with its log: loaded up to the damage"
like "$err" "found another SHA-256.*found invalid packet capture length" "that it was altered is told, and where it breaks"
is "$(sql "$TMP/has-spoiled.db" "SELECT pcap_sha256, content_sha256, (SELECT group_concat(kind) FROM coverage WHERE kind IN ('altered', 'damaged')) FROM segment")" \
	"$(sha256sum <"$pcap" | sed 's/ .*//; s/.*/&|&/')|altered,damaged" "its row has the hash of what was read, and both remarks"
before=$(sha256sum <"$TMP/has-spoiled.db")
for again in "$TMP/whole" "$ROOT/samples/evidence"; do
	analyze has-spoiled "$again"
	is "$status $(sha256sum <"$TMP/has-spoiled.db")" "1 $before" "a whole copy of it is refused, ${again##*/}"
	like "$err" "found other packets than in $TMP/has-spoiled.db, which was damaged.*new database" "and told"
done
analyze has-spoiled "$TMP/spoiled"
is "$status $(sha256sum <"$TMP/has-spoiled.db")" "0 $before" "itself again: nothing changes"
cp -r "$ROOT/samples/evidence" "$TMP/sample"
for whole in whole sample; do
	for order in "spoiled $whole" "$whole spoiled"; do
		read -r one two <<<"$order"
		analyze "run-$one-$two" "$TMP/$one" "$TMP/$two"
		is "$status $(sql "$TMP/run-$one-$two.db" "SELECT packets, state FROM segment WHERE number IS 1")" "2 $WHOLE|whole" "$one and $two in one run: the whole one is loaded"
		like "$err" "spoiled/$name.pcap: left out, a whole copy of this segment is in $TMP/$whole/$name.pcap: wanted what custody.log" "the other is told"
	done
done
cp -r "$TMP/whole" "$TMP/logged-too" && cp "$ROOT/samples/evidence/custody.log" "$TMP/logged-too"
for order in "spoiled logged-too" "logged-too spoiled"; do
	read -r one two <<<"$order"
	analyze "run-$one-$two" "$TMP/$one" "$TMP/$two"
	is "$status $(packets "run-$one-$two")" "2 $WHOLE" "$one and $two, which sort alike by their logs: the whole one is loaded"
done
analyze only "$TMP/spoiled"
is "$status" 0 "by its log it is what the database has whole"

# ---- each file for itself ----
# fewer: its capture ends early, but at a record's end: nothing in it is damaged.
copy fewer
perl -e 'local $/; open my $f, "+<", shift; my ($all, $at) = (scalar <$f>, 24); $at += 16 + unpack "x8 L<", substr $all, $at for 1 .. 231; truncate $f, $at' "$pcap"
copy cutothersnap && gunzip "$snap" && gzip -1 "${snap%.gz}" && shorten "$pcap" 3000
analyze fewer "$TMP/fewer"
is "$status" 0 "a capture that ends early at a record's end is whole to look at"
before=$(sha256sum <"$TMP/fewer.db")
for inputs in torn "alone torn" "torn alone" alone; do
	read -r -a paths <<<"$inputs"
	analyze fewer "${paths[@]/#/$TMP/}"
	is "$status $(sha256sum <"$TMP/fewer.db")" "1 $before" "then $inputs: refused, the capture is sound and has more packets"
	like "$err" "$name\.pcap: wanted what the database has of this segment, found other packets than in $TMP/fewer.db: nothing was loaded" "and told"
done
for inputs in "fewer torn" "torn fewer" "fewer alone torn"; do
	read -r -a paths <<<"$inputs"
	analyze fewer-run "${paths[@]/#/$TMP/}"
	is "$status" 1 "$inputs in one run: refused"
	not_ok "and there is no database" test -e "$TMP/fewer-run.db"
done
analyze sound-snap "$TMP/whole" "$TMP/cutothersnap"
is "$status" 1 "a capture that is cut, and snapshots that are sound and others: refused"
like "$err" "found other snapshots than in" "and told"
# What was in a copy that is left out itself is not lost with it.
analyze in-left-out "$TMP/alone" "$TMP/torn" "$TMP/whole"
is "$status $(packets in-left-out)" "2 $WHOLE" "alone, torn and whole: torn alone is left out"
is "$(grep -c 'left out' <<<"$err")" 1 "and told"
mkdir "$TMP/cutalone" && cp "$TMP"/cut/*.pcap "$TMP/cutalone"
analyze cut-in-left-out "$TMP/cutalone" "$TMP/cut" "$TMP/whole"
is "$status $(packets cut-in-left-out)" "2 $WHOLE" "a damaged capture alone, itself with its snapshots, and the whole one"
is "$(grep -c 'left out' <<<"$err")" 2 "both are told"

# ---- what ends at a record's end is whole to look at, and has less than the damaged one ----
records() { # records FILE COUNT: no more than these
	perl -e 'local $/; open my $f, "+<", shift; my ($all, $at) = (scalar <$f>, 24); $at += 16 + unpack "x8 L<", substr $all, $at for 1 .. shift; truncate $f, $at' "$1" "$2"
}
copy most && shorten "$pcap" 5
copy ten && records "$pcap" 10
for order in "most ten" "ten most"; do
	read -r one two <<<"$order"
	analyze "less-$one" "$TMP/$one" "$TMP/$two"
	is "$status" 1 "a damaged copy with more packets than a whole one, $order: refused"
	like "$err" "found other packets than in .* give one of the two" "and told"
	not_ok "and there is no database" test -e "$TMP/less-$one.db"
done
analyze has-ten "$TMP/ten"
before=$(sha256sum <"$TMP/has-ten.db")
analyze has-ten "$TMP/most"
is "$status $(sha256sum <"$TMP/has-ten.db")" "1 $before" "nor is it left out for what the database has"
like "$err" "found other packets than in $TMP/has-ten.db" "and told"
cp -r "$TMP/most" "$TMP/most-logged" && cp "$ROOT/samples/evidence/custody.log" "$TMP/most-logged"
analyze most-ten "$TMP/most-logged" "$TMP/ten"
is "$status" 1 "with a log that has another than either: refused"
analyze most-logged "$TMP/most-logged" "$TMP/whole"
is "$status $(packets most-logged)" "2 $WHOLE" "and with one that has the whole one, that is loaded"
# Two bytes of a packet are others, and the end is cut.
copy otherwise && perl -e 'open my $f, "+<", $ARGV[0]; seek $f, 90, 0; print $f "\xff\xfe"' "$pcap" && shorten "$pcap" 3000
analyze otherwise "$TMP/otherwise" "$TMP/whole"
is "$status" 1 "a damaged copy that does not begin as the whole one: refused, nothing says which is right"
cp "$ROOT/samples/evidence/custody.log" "$TMP/otherwise"
analyze otherwise "$TMP/otherwise" "$TMP/whole"
is "$status $(packets otherwise)" "2 $WHOLE" "but its log does"
# And of snapshots.
copy fewframes
zcat "$snap" | perl -ne '$ends += /^end\t/; print if $ends < 9 || ($ends == 9 && /^end\t/)' | gzip >"$TMP/few.gz"
mv "$TMP/few.gz" "$snap"
analyze fewframes-alone "$TMP/fewframes"
is "$status" 0 "snapshots that end early are whole to look at"
for order in "fewframes torn" "torn fewframes"; do
	read -r one two <<<"$order"
	analyze "few-$one" "$TMP/$one" "$TMP/$two"
	is "$status" 1 "damaged snapshots with more frames than whole ones, $order: refused"
done

# ---- what only looks alike ----
for number in 1 2; do
	mkdir "$TMP/empty$number"
	: >"$TMP/empty$number/00000$number-20261122T03525$number.187739683Z.snap.gz"
	perl -e 'open my $f, "<", shift; read $f, my $b, 24; print $b' "$TMP"/whole/*.pcap >"$TMP/empty$number/00000$number-20261122T03525$number.187739683Z.pcap"
done
analyze empty "$TMP/empty1" "$TMP/empty2"
is "$status $(sql "$TMP/empty.db" "SELECT count(*) FROM segment")" "2 2" \
	"segments without packets, and with nothing in their snapshot files, are no copies of each other"
head -1 /proc/net/tcp >"$TMP/tcp"
perl -e 'local $/; open my $f, "<", shift; $_ = <$f>; print substr $_, 0, 24 + 16 + unpack "L<", substr $_, 32, 4' "$TMP"/whole/*.pcap >"$TMP/first.pcap"
import() { run "$PCAPWHO" import --time 2026-11-22T04:00:00Z --tcp "$TMP/tcp" --pcap "$1" -o "$2"; }
import "$TMP/bare/capture" "$TMP/import1"
import "$TMP/first.pcap" "$TMP/import2"
analyze imports "$TMP/import1" "$TMP/import2"
is "$status $(packets imports)" "0 $((WHOLE + 1))" "two captures that were imported with the same listings are both loaded" || diag "$err"
# ---- both in one directory ----
copy beside && gzip -k "$pcap"
analyze plain "$TMP/whole"
analyze beside "$dir" "$pcap.gz"
is "$status $(packets beside) $(rows beside)" "0 $WHOLE $(rows plain)" "a capture beside its compressed copy is read once" || diag "$err"
is "$(grep -c "${pcap##*/}: this one is read, and not the .pcap.gz beside it (1 such capture)" <<<"$err")" 1 "and it is told which of the two"
done_testing
