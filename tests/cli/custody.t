#!/bin/bash
# pcapwho analyze and custody.log: what the log vouches for, and files that are
# not what it says.
# shellcheck disable=SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO"
need_command perl sqlite3 sha256sum mkfifo

sql() { sqlite3 -readonly -batch "$@"; }
sum_of() { sha256sum <"$1" | cut -d' ' -f1; }
# copy NAME: the sample again, in $dir; its first pcap and snapshot file in $pcap, $snap.
copy() {
	dir=$TMP/$1
	cp -r "$ROOT/samples/evidence" "$dir"
	pcap=$(ls "$dir"/000001-*.pcap)
	snap=$(ls "$dir"/000001-*.snap.gz)
}
analyze() { run "$PCAPWHO" analyze -q -o "$dir.db" "$@" "$dir"; }
pcap_hash() { sql "$dir.db" "SELECT pcap_sha256 FROM segment WHERE pcap_name = '${pcap##*/}'"; }
altered() { sql "$dir.db" "SELECT subject FROM coverage WHERE kind = 'altered'"; }
flip_last_byte() { perl -e 'open my $f, "+<", $ARGV[0]; seek $f, -1, 2; read $f, my $b, 1; seek $f, -1, 2; print $f chr(ord($b) ^ 1)' "$1"; }

copy whole
analyze --verify
is "$status$err" 0 "what is as the log says verifies"
is "$(pcap_hash)" "$(sum_of "$pcap")" "its hash is the file's"
before=$(sum_of "$dir.db")
rm "$dir.db"
analyze
is "$status$err" 0 "and loads without"
is "$(sum_of "$dir.db")" "$before" "the same database"

# ---- another byte, the same size ----
copy byte
logged=$(sum_of "$pcap")
flip_last_byte "$pcap"
analyze --verify
is "$status" 2 "--verify: a changed byte"
like "$err" "${pcap##*/}: wanted what custody.log has of it, found another SHA-256.*$(sum_of "$pcap")" \
	"names the file and what it is now"
is "$(printf '%s\n' "$err" | wc -l)" 1 "in one line"
is "$(altered)" "${pcap##*/}" "is in coverage"
is "$(sql "$dir.db" "SELECT DISTINCT state FROM segment")" whole "all of it was read"
is "$(pcap_hash)" "$(sum_of "$pcap")" "the hash is of what was loaded"
rm "$dir.db"
analyze
is "$status$err$(altered)" 0 "without --verify its size is trusted"
is "$(pcap_hash)" "$logged" "the hash is the log's"

# ---- compressed by somebody who told the log nothing ----
copy zipped
content=$(sum_of "$pcap")
gzip "$pcap"
for verify in "" --verify; do
	analyze ${verify:+"$verify"}
	is "$status$err" 0 "a capture that was compressed since verifies by what is in it"
	is "$(sql "$dir.db" "SELECT content_sha256 FROM segment WHERE number = 1")" "$content" "its row has the hash"
	rm "$dir.db"
done
copy zippedbyte
flip_last_byte "$pcap"
gzip "$pcap"
for verify in "" --verify; do
	analyze ${verify:+"$verify"}
	is "$status" 2 "a byte that was changed before that"
	like "$err" "${pcap##*/}.gz: wanted what custody.log has of it before it was compressed" "is told"
	is "$(altered)" "${pcap##*/}.gz" "and in coverage"
	rm "$dir.db"
done

# ---- another size ----
copy size
printf x >>"$pcap"
analyze
is "$status" 2 "a file that grew needs no --verify"
like "$err" "${pcap##*/}: wanted what custody.log has of it" "it is told"
is "$(altered)" "${pcap##*/}" "and in coverage"
is "$(pcap_hash)" "$(sum_of "$pcap")" "the hash is of what was loaded"

# ---- snapshots ----
copy snapshot
gzip -dc "$snap" | gzip -1 >"$snap.new"
mv "$snap.new" "$snap"
analyze
is "$status" 2 "a snapshot file that was written anew"
like "$err" "${snap##*/}: wanted what custody.log has of it" "is always told"
is "$(altered)" "${snap##*/}" "and in coverage"

# ---- snapshots of another segment ----
copy foreign
cp "$dir"/000002-*.snap.gz "$snap"
copy foreign-too
rm "$dir/custody.log"
rewrite "$snap" 's/^(meta\tsegment\t).*/${1}77/'
for name in foreign foreign-too; do
	dir=$TMP/$name
	analyze
	is "$status" 2 "$name: snapshots that say they are another segment's"
	like "$err" "$name/${snap##*/}: wanted snapshots of segment 1, found those of segment (2|77): the capture is loaded without them" "are told"
	is "$(altered)" "${snap##*/}" "and in coverage"
	is "$(sql "$dir.db" "SELECT packets, snap_name FROM segment WHERE number IS 1 OR pcap_name LIKE '000001%'")" "455|" "the capture is loaded without them"
	is "$(sql "$dir.db" "SELECT count(*) FROM snapshot JOIN segment USING (segment_id) WHERE number = 1")" 0 "none of them is"
done
copy unsaid
rm "$dir/custody.log"
rewrite "$snap" '$_ = "" if /^meta\tsegment\t/'
analyze
is "$status$err" 0 "snapshots that do not say whose they are are taken"

# ---- files that are not there ----
missing() { sql "$dir.db" "SELECT subject FROM coverage WHERE kind = 'missing-file'"; }
for gone in pcap snap; do
	copy "without-$gone"
	rm "${!gone}"
	analyze
	is "$status" 2 "a $gone file that the log has and the directory has not"
	like "$err" "${!gone##*/}: custody.log has it" "is told"
	is "$(missing)" "${!gone##*/}" "and in coverage"
	is "$(sql "$dir.db" "SELECT count(*) FROM coverage WHERE kind = 'missing'")" 0 "no segment is missing before it"
done
# What is the same counts once, and what any of their logs says of it.
copy with-log
rm "$snap" "$dir"/000002-*.snap.gz
copy without-log
rm "$snap" "$dir"/000002-*.snap.gz "$dir/custody.log"
copy second # in another group
rm "$dir"/000001-* "$dir"/000002-*.snap.gz "$dir/custody.log"
copy byte-too
flip_last_byte "$pcap"
copy byte-without
flip_last_byte "$pcap"
rm "$dir/custody.log"
for pair in "with-log without-log" "with-log second" "byte-too byte-without"; do
	read -r one two <<<"$pair"
	for order in "$one $two" "$two $one"; do
		read -r one two <<<"$order"
		run "$PCAPWHO" analyze -q --verify -o "$TMP/$one-$two.db" "$TMP/$one" "$TMP/$two"
		is "$status" 2 "$order: what the log says counts in any order"
	done
	is "$(sum_of "$TMP/$one-$two.db")" "$(sum_of "$TMP/$two-$one.db")" "the same database"
	like "$err" "(^|\n)pcapwho analyze: $TMP/(with-log|byte-too)/" "told of what has the log"
done
is "$(sql "$TMP/second-with-log.db" "SELECT count(*) FROM coverage WHERE kind = 'missing-file'")" 2 "in coverage"
copy first
rm "$pcap" "$snap"
analyze
is "$status" 0 "the rest of a recording is analyzed"
like "$err" "^pcapwho analyze: $dir/000001-[^ ]*: 1 segment that custody.log has, and does not call expired, is not here: this one$" "a segment that is not there is told"
run "$PCAPWHO" analyze -q -o "$TMP/both.db" "$dir" "$TMP/whole"
is "$status$err" 0 "but not if another directory has it"
run "$PCAPWHO" analyze -q -o "$TMP/one.db" "$dir"/000002-*.pcap
is "$status$err" 0 "nor if one file was asked for"
run "$PCAPWHO" analyze -q -o "$TMP/beside.db" "$dir" "$TMP"/whole/000002-*.pcap
like "$err" "$dir/000001-[^ ]*: 1 segment that custody.log has" "one file of another directory is not all of it"
copy index
gzip "$pcap"
run "$PCAPWHO" index "$pcap.gz"
rm "$pcap.gz" "$snap"
analyze
ok "an index" test -s "$pcap.gz.idx"
like "$err" "000001-[^ ]*: 1 segment that custody.log has" "is not the segment"
copy live
rm "$dir"/000002-*
touch "$dir/000001-20261122T035254.187739684Z.pcap.part"
analyze
is "$status" 0 "beside a recorder at work"
like "$err" "^pcapwho analyze: $dir/000001-20261122T035254.187739684Z.pcap.part: 1 unfinished segment" "what is being recorded is told"
unlike "$err" "custody.log has" "what it closes meanwhile is not missed"

for kind in link fifo loop directory; do
	copy "odd-$kind"
	rm "$pcap" "$snap"
	case $kind in
	link) ln -s nowhere "$pcap" ;;
	loop) ln -s "${pcap##*/}" "$pcap" ;;
	fifo) mkfifo "$pcap" ;;
	directory) mkdir "$pcap" ;;
	esac
	analyze
	is "$status" 2 "a $kind in place of a capture"
	like "$err" "^pcapwho analyze: $pcap: 1 file of segments passed over, which is no regular file" "is told"
done

# ---- files of one directory, beside it and each other ----
copy named
part=$(echo "$dir"/000002-*.pcap).part
mv "${part%.part}" "$part"
run "$PCAPWHO" analyze -q -o "$TMP/named-1.db" "$dir" "$part"
is "$(sql "$TMP/named-1.db" "SELECT group_concat(packets) FROM segment")" "455,165" "an unfinished file that is named is loaded beside its directory"
unlike "$err" "unfinished" "and not passed over"
run "$PCAPWHO" analyze -q -o "$TMP/named-2.db" "$part" "$dir"/000001-*.snap.gz "$dir"/000002-*.snap.gz "$dir"/000001-*.pcap "$dir/"
is "$(sum_of "$TMP/named-2.db")" "$(sum_of "$TMP/named-1.db")" "the same in any order, and however often it is named"
run "$PCAPWHO" analyze -q -o "$TMP/named-3.db" "$part" "$dir/000001-"*.pcap "$TMP"/index/000001-*.idx
is "$status" 66 "one that names no segment that is there"
like "$err" "no segments here" "is an error"

# ---- a log that says nothing ----
copy missing
rm "$dir/custody.log"
flip_last_byte "$pcap"
analyze
is "$status$err" 0 "without a log everything loads"
is "$(pcap_hash)" "$(sum_of "$pcap")" "hashed"
copy broken
flip_last_byte "$pcap"
perl -pi -e 's/^1\t/9\t/' "$dir/custody.log"
analyze
is "$status" 2 "a log whose chain does not hold"
like "$err" "^pcapwho analyze: $dir/custody.log: at byte 0: wanted the unbroken chain.*: no file was held against it" "is told"
is "$(altered)" "" "and vouches for nothing"
is "$(pcap_hash)" "$(sum_of "$pcap")" "hashed too"

# ---- a log that cannot be read ----
# unread WHAT ERROR COMMAND…: the log is told of, with ERROR, and nothing rests on it.
unread() {
	local what=$1 error=$2
	shift 2
	run "$@" "$TMP/program" analyze -q --verify -o "$dir.db" "$dir"
	is "$status" 2 "$what"
	is "$err" "pcapwho analyze: $dir/custody.log: $error: no file was held against it" "is told"
	is "$(sql "$dir.db" "SELECT count(*) FROM segment; SELECT count(*) FROM coverage")" $'2\n0' "everything loads"
	rm "$dir.db"
}
cp "$PCAPWHO" "$TMP/program"
copy unreadable
flip_last_byte "$pcap"
as_another=()
if [ "$(id -u)" -eq 0 ]; then
	need_command setpriv
	as_another=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	chmod 755 "$TMP" "$TMP/program"
	chown -R 65534 "$dir"
	mkdir "$TMP/theirs"
	chown 65534 "$TMP/theirs"
	mv "$dir" "$TMP/theirs"
	dir=$TMP/theirs/${dir##*/}
fi
chmod 000 "$dir/custody.log"
unread "a log without permission" "cannot open: Permission denied" "${as_another[@]}"
chmod 600 "$dir/custody.log"

# ---- other files that cannot be read ----
pcap=$dir/${pcap##*/} snap=$dir/${snap##*/} second=$(basename "$(echo "$dir"/000002-*.pcap)")
for file in pcap snap; do
	chmod 000 "${!file}"
	run "${as_another[@]}" "$TMP/program" analyze -q -o "$dir.db" "$dir"
	is "$status" 2 "a $file file without permission"
	is "$err" "pcapwho analyze: ${!file}: cannot open: Permission denied: its segment is not loaded: analyze it again when it can be read" "is told"
	is "$(sql "$dir.db" "SELECT pcap_name FROM segment")" "$second" "and the other segment loaded"
	chmod 600 "${!file}"
	run "${as_another[@]}" "$TMP/program" analyze -q -o "$dir.db" "$dir"
	like "$status$err" "^2pcapwho analyze: $pcap: later segments of its recording are in the database" "when it can be read it is loaded"
	is "$(sql "$dir.db" "SELECT sum(packets) FROM segment; SELECT sum(difference <> 0) FROM accounting")" $'620\n0' "all of it"
	rm "$dir.db"
done
chmod 000 "$dir"/*.pcap
run "${as_another[@]}" "$TMP/program" analyze -q -o "$dir.db" "$dir"
is "$status$(ls "$dir.db" 2>&1 | grep -c "No such")$(wc -l <<<"$err")" 112 "where none can be read: failure, each is told, no database"
run "${as_another[@]}" "$TMP/program" analyze -q -o "$dir.db" "$dir/../unreadable/$second" "$TMP"/whole/000001-*.snap.gz
like "$status$err" "^2.*unreadable/$second: cannot open" "a file that was named itself"
cp "$TMP"/whole/000001-*.pcap "$dir/alone.pcap"
chmod 000 "$dir/alone.pcap"
run "${as_another[@]}" "$TMP/program" analyze -q -o "$TMP/theirs/alone.db" "$dir/alone.pcap"
is "$status$err" "1pcapwho analyze: $dir/alone.pcap: cannot open: Permission denied: it is not loaded: analyze it again when it can be read" "a single capture: one line"
run "${as_another[@]}" "$TMP/program" analyze -q -o "$TMP/theirs/alone.db" "$dir/alone.pcap" "$TMP/whole"
is "$status$(sql "$TMP/theirs/alone.db" "SELECT count(*) FROM segment")" 22 "beside others: these are loaded"
for kind in error fifo directory nowhere; do
	copy "log-$kind"
	flip_last_byte "$pcap"
	rm "$dir/custody.log"
	error="wanted a regular file, found another kind"
	case $kind in
	# Its own memory, of which there is none at the beginning.
	error) ln -s /proc/self/mem "$dir/custody.log" && error="cannot read: Input/output error" ;;
	fifo) mkfifo "$dir/custody.log" ;;
	directory) mkdir "$dir/custody.log" && error="wanted a regular file, found a directory" ;;
	nowhere) ln -s nowhere "$dir/custody.log" && error="cannot open: No such file or directory" ;;
	esac
	unread "a log that is: $kind" "$error"
done

# ---- several directories ----
# Of each what there is to say, by its name; of very many, of the first ones.
several=()
for i in {01..18}; do
	dir=$TMP/several/$i
	mkdir -p "$dir"
	cp "$ROOT"/samples/evidence/000002-* "$dir"
	perl -pe 's/^1\t/9\t/ if '"$((10#$i % 2))" "$ROOT/samples/evidence/custody.log" >"$dir/custody.log"
	touch "$dir/0000$i-20261122T045254.187739684Z.pcap.part"
	ln -s nowhere "$dir/0000$i-20261122T055254.187739684Z.pcap"
	several=("$dir" "${several[@]}")
done
run "$PCAPWHO" analyze -q -o "$TMP/several.db" "${several[@]}"
is "$status" 2 "several directories"
of_each() { for i; do echo "pcapwho analyze: $TMP/several/$i/$wanted"; done; }
wanted="custody.log: at byte 0"
is "$(grep -o '^.*at byte 0' <<<"$err")" "$(of_each {01..17..2})" "each log that does not hold is told"
for kind in unfinished "files of segments that"; do
	[ "$kind" = unfinished ] && wanted="1 unf" || wanted="1 fil"
	is "$(grep -o ".*: $wanted" <<<"$err" | sed "s/0000[^ ]*: //")" "$(of_each {01..16})" "$kind: of 16 directories"
	like "$err" "(^|"$'\n'")pcapwho analyze: 2 more directories with $kind" "the others are counted"
done
first=$(echo "$ROOT"/samples/evidence/000001-*.pcap)
is "$(grep -c "custody.log has, and" <<<"$err")" 1 "a segment that several logs have is missed once"
like "$err" "$TMP/several/02/$(basename "$first" .pcap): 1 segment that custody.log has" "by the first that can be believed"
gzip -k "$TMP"/several/0[34]/000002-*Z.pcap
run "$PCAPWHO" analyze -q -o "$TMP/several.db" "$TMP"/several/0[34]
like "$err" "$TMP/several/03/000002-[^ ]*.pcap: this one is read, and not the .pcap.gz beside it" "and which of two files is read"

# ---- a hash that is none ----
for hash in "no hash <b>" "$(printf '%064d' 0 | tr 0 A)" "$(printf '%065d' 0)"; do
	copy "hash-${#hash}-${hash:0:1}"
	HASH=$hash perl -MDigest::SHA=sha256_hex -i -ne 'BEGIN { $chain = "0" x 64 } chomp; my @f = split /\t/, $_, -1;
		$f[5] = $ENV{HASH} if $f[2] eq "close"; $chain = sha256_hex("$chain\n" . join "\t", @f[0 .. 6]);
		print join("\t", @f[0 .. 6], $chain), "\n"' "$dir/custody.log"
	analyze
	is "$status$err" 0 "a log that holds, with \"${hash:0:11}\" for hashes"
	is "$(pcap_hash)" "$(sum_of "$pcap")" "is not believed"
done
done_testing
