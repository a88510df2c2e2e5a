#!/bin/bash
# Recordings that are compressed: every tool reads them as the plain ones, the same rows
# come of them, with their index, without it and with one that lies; and nothing is lost
# when the recorder is killed on the way, or the disk is full.
# lib.sh and spawn assign by name.
# shellcheck disable=SC2034,SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO" "$PCAPWHO_RECORD"
need_command socat tcpdump capinfos tshark sqlite3 perl
own_network

# What can be compressed, and what cannot.
{ for ((i = 0; i < 100; i++)); do cat "$ROOT/README.md"; done; head -c 20000000 /dev/urandom; } >"$TMP/sent"
# send TIMES PORT: through a connection of its own each.
send() {
	local pid i
	for ((i = 0; i < $1; i++)); do
		socat -u "TCP-LISTEN:$(($2 + i)),bind=127.0.0.1" /dev/null &
		pid=$!
		wait_until 10 listening $(($2 + i))
		socat -u "OPEN:$TMP/sent" "TCP:127.0.0.1:$(($2 + i))"
		wait "$pid"
	done
}
export -f send wait_until listening
export TMP
events() { cut -f 3,4 "$1/custody.log" | sed -n "s/^$2\t//p"; }
record() { # DIRECTORY OPTION…
	run "$PCAPWHO_RECORD" -q -o "$1" -i lo -B 64 --interval 100ms --compress "${@:2}"
}

# ---- what is recorded, and what others make of it ----
record "$TMP/evidence" --rotate-size 12M -- bash -c 'send 2 7001'
is "$status" 0 "it records"
compressed=("$TMP"/evidence/*.pcap.gz)
ok "several segments" [ ${#compressed[@]} -ge 2 ]
is "$(find "$TMP/evidence" -name '*.pcap' -o -name '*.part')" "" "and nothing plain, or half done"
is "$(events "$TMP/evidence" compress | sort)" "$(printf '%s\n' "${compressed[@]##*/}")" "the log has each"
is "$(cut -f 4,6 "$TMP/evidence/custody.log" | sed -n 's/^\(.*pcap.gz\)\t\(.*\)/\2  \1/p' |
	(cd "$TMP/evidence" && sha256sum -c --quiet 2>&1))" "" "with the hash of what lies there"

mkdir "$TMP/plain"
for file in "${compressed[@]}"; do
	name=${file##*/}
	name=${name%.gz}
	gunzip <"$file" >"$TMP/plain/$name" || bail "gunzip failed"
	logged=$(awk -F '\t' -v n="$name" '$3 == "close" && $4 == n { print $6 }' "$TMP/evidence/custody.log")
	is "$(sha256sum <"$TMP/plain/$name")" "$logged  -" "gunzip gives what was recorded"
	packets=$(tcpdump -r "$TMP/plain/$name" 2>/dev/null | wc -l)
	is "$(zcat "$file" | tcpdump -r - 2>/dev/null | wc -l)" "$packets" "zcat and tcpdump read all $packets packets"
	is "$(capinfos -Mcr "$file" 2>&1 | awk '/packets/ { print $NF }')" "$packets" "capinfos too"
	is "$(tshark -n -r "$file" -T fields -e frame.number 2>/dev/null | tail -1)" "$packets" "tshark too"
done
cp "$TMP"/evidence/*.snap.gz "$TMP/plain"

# ---- the index ----
# Each member by itself, through gunzip.
# shellcheck disable=SC2016
check_index='use strict; use warnings; use Compress::Zlib;
	my ($gz, $plain) = map { open my $f, "<", $_ or die; binmode $f; local $/; <$f> } @ARGV[0, 1];
	open my $idx, "<", "$ARGV[0].idx" or die; my @lines = map { chomp; [split /\t/] } <$idx>;
	my @members = grep { $_->[0] eq "member" } @lines; my $end = pop @lines;
	my ($at, $number) = (24, 0);
	my %starts = (0 => 1); while ($at < length $plain) { $starts{$at} = ++$number; $at += 16 + unpack "x8L", substr $plain, $at, 16 }
	my $bad = 0;
	for my $i (0 .. $#members) {
		my (undef, $offset, $content, $packet, $time) = @{$members[$i]};
		my $next = $i < $#members ? $members[$i + 1] : [0, length $gz, length $plain];
		my $member = substr $gz, $offset, $next->[1] - $offset;
		my ($i2, $status) = inflateInit(-WindowBits => WANT_GZIP); my ($got) = $i2->inflate($member);
		my $want = substr $plain, $content, $next->[2] - $content;
		my ($s, $ns) = unpack "LL", substr $plain, $i ? $content : 24, 8;
		$bad++ if $got ne $want || ($starts{$content} // 0) != $packet || $time != $s * 1e9 + $ns || length $want > 1 << 20;
	}
	printf "%d %d %d %d\n", $bad, $end->[1] == length $gz, $end->[2] == length $plain, $end->[3] == $number;
	exit(@members < 5);'
for file in "${compressed[@]}"; do
	name=${file##*/}
	if [ "$(stat -c %s "$TMP/plain/${name%.gz}")" -gt 6000000 ]; then
		is "$(perl -e "$check_index" "$file" "$TMP/plain/${name%.gz}") $?" "0 1 1 1 0" \
			"each member begins at its packet, and the sums agree"
	fi
	cp "$file" "$TMP/again.pcap.gz"
	run "$PCAPWHO" index "$TMP/again.pcap.gz"
	like "$status $out$err" "^0 $TMP/again.pcap.gz.idx: [0-9]+ members?, [0-9]+ packets?$" "pcapwho index makes it"
	ok "the same, to the byte" cmp "$file.idx" "$TMP/again.pcap.gz.idx"
done

# ---- the same rows ----
# All but names, sizes and hashes of files.
rows() { # EVIDENCE OPTION…
	rm -f "$TMP/db"
	run "$PCAPWHO" analyze -q -o "$TMP/db" "${@:2}" "$1"
	sqlite3 -readonly "$TMP/db" .dump | grep -v '^INSERT INTO \(segment\|load\|kept\|coverage\)' | sha256sum
	sqlite3 -readonly "$TMP/db" "SELECT segment_id, packets, bytes, first_packet_ns, last_packet_ns, state FROM segment"
}
plain=$(rows "$TMP/plain" --packets)
like "$plain" "whole" "(there are rows)"
for jobs in 1 2; do
	is "$(rows "$TMP/evidence" --packets -j$jobs)" "$plain" "compressed, -j$jobs: the same rows"
done
run "$PCAPWHO" analyze -q --verify -o "$TMP/verified" "$TMP/evidence"
is "$status$err" 0 "every file is what the log says"
cp -r "$TMP/evidence" "$TMP/aids"
first=$TMP/aids/${compressed[0]##*/}
second=$TMP/aids/${compressed[1]##*/}
cp "$second.idx" "$first.idx"
is "$(rows "$TMP/aids" --packets -j2)" "$plain" "with another's index: the same"
perl -pi -e 's/^(member\t\d+\t)(\d+)/$1 . ($2 ? $2 + 16 : 0)/e' "$second.idx"
is "$(rows "$TMP/aids" --packets -j2)" "$plain" "with a damaged one: the same"
# Places that lie, under sums that agree: the packet behind, the number before, another member's.
lie() { # PERL
	perl -MCompress::Zlib -e 'my ($file, $code) = @ARGV; open my $in, "<", $file or die; my @l = <$in>; my $sum = "";
		my $change = eval "sub { $code }" or die $@; my $end = pop @l;
		for (@l) { if (/^member\t(\d+)\t(\d+)\t(\d+)\t(\d+)$/ && $1) { $_ = "member\t" . join("\t", $change->($1, $2, $3, $4)) . "\n" } $sum .= $_ }
		$end =~ s/[^\t]*$//; $sum .= $end; open my $out, ">", $file or die; printf $out "%s%08x\n", $sum, crc32($sum)' \
		"$1" "$2"
}
for change in '@_[0, 1], $_[2] + 1, $_[3]' '@_[0, 1], $_[2] - 1, $_[3]' '$_[0], $_[1] + 16, @_[2, 3]' \
	'$_[0] + 1, @_[1 .. 3]' '@_[0 .. 2], 0'; do
	cp "${compressed[1]}.idx" "$second.idx"
	lie "$second.idx" "$change"
	is "$(rows "$TMP/aids" --packets -j2)" "$plain" "an index that says $change: the same"
done
rm "$TMP"/aids/*.idx
is "$(rows "$TMP/aids" --packets -j2)" "$plain" "with none: the same"
run "$PCAPWHO" index "$TMP/aids"
is "$status$err" 0 "pcapwho index takes a directory"
run "$PCAPWHO" index "$TMP/plain"
like "$status $out$err" "^66 pcapwho index: $TMP/plain: no compressed capture" "and says where there is none to make"
is "$(cd "$TMP/aids" && cat -- *.idx | sha256sum)" "$(cd "$TMP/evidence" && cat -- *.idx | sha256sum)" "and makes all of them"

# ---- a name that would steer the terminal ----
hostile=$TMP/$'\e[2J'.pcap.gz
cp "$first" "$hostile"
run "$PCAPWHO" index "$hostile"
like "$status $out$err" '^0 .*/\\x1b\[2J\.pcap\.gz\.idx: [0-9]+ member' "a name is shown without what would steer the terminal"
run "$PCAPWHO" analyze "$hostile" -o "$TMP/"$'\e[2J.db'
like "$status $err" '^0 .*/\\x1b\[2J\.db: [0-9]+ packet' "also that of a database"
run "$PCAPWHO" merge "$TMP/"$'\e[2Jm.db' "$TMP/"$'\e[2J.db'
like "$status $err" '^0 .*/\\x1b\[2Jm\.db: [0-9]+ recording' "and of databases that were merged"
rm "$hostile" "$hostile.idx"

# ---- what has no index ----
truncate -s -5 "$first"
run "$PCAPWHO" index "$first" "$TMP/nowhere.pcap.gz" "$TMP/plain"
is "$status$out" 66 "damaged, or not there: the status says so"
like "$err" "$first: .*gzip.*$TMP/nowhere.pcap.gz: cannot open" "and each is named"

# ---- what is no index is not touched ----
echo precious >"$TMP/notes.txt.idx"
echo hello >"$TMP/notes.txt"
run "$PCAPWHO" index "$TMP/notes.txt"
like "$status $out$err" "^64 pcapwho index: $TMP/notes.txt: .*ends in .pcap.gz" "a file of another name: it says so"
cp "$second" "$TMP/x.gz"
echo precious >"$TMP/x.gz.idx"
run "$PCAPWHO" index "$TMP/x.gz"
is "$status$out" 64 "also a compressed capture"
for file in "$first" "$second"; do
	echo precious >"$file.idx"
	run "$PCAPWHO" index "$file"
	is "$out$(cat "$TMP/notes.txt.idx" "$TMP/x.gz.idx" "$file.idx")" $'precious\nprecious\nprecious' "each one's file is there (status $status)"
done
like "$status $err" "^1 .*$second.idx: is no index and stays: move it away" "and it says what to do"
rm "$first.idx" "$second.idx"

# ---- quotas take it along ----
run "$PCAPWHO_RECORD" -q -o "$TMP/aids" -i lo --keep-size 1M --duration 100ms
is "$status" 0 "a recording with a quota"
is "$(cd "$TMP/aids" && for index in *.idx; do [ ! -e "$index" ] || [ -e "${index%.idx}" ] || echo "$index"; done)" "" \
	"no index outlives its capture"
not_ok "and captures are gone" [ -e "$second" ]

# ---- killed on the way ----
# A segment that takes some time.
spawn RECORDER "$PCAPWHO_RECORD" -q -o "$TMP/killed" -i lo -B 64 --interval 100ms --compress --rotate-size 0 2>"$TMP/err"
wait_until 10 test -e "$TMP/killed/custody.log"
wait_until 10 eval 'zcat "$TMP"/killed/*.snap.gz.part 2>/dev/null | grep -q "^end"'
send 4 7101
kill -HUP "$RECORDER"
wait_until 20 eval 'compgen -G "$TMP/killed/*.pcap.gz.part"'
kill -KILL "$RECORDER"
wait "$RECORDER" 2>/dev/null
half=$(compgen -G "$TMP/killed/000001-*.pcap.gz.part")
isnt "$half" "" "(killed while it compressed)"
plain_one=${half%.gz.part}
ok "the plain one is there" [ -e "$plain_one" ]
sum=$(sha256sum <"$plain_one")
run "$PCAPWHO_RECORD" -q -o "$TMP/killed" -i lo --duration 100ms
is "$status" 0 "the next run begins"
is "$(sha256sum <"$plain_one")" "$sum" "the plain one is as it was"
not_ok "the half one is gone" [ -e "$half" ]
like "$(events "$TMP/killed" repair)" "${half##*/}" "and the log says so"

# ---- a full disk ----
# Where there is no room for both; and where there is, but not for as much again as well,
# which shows when some of it is compressed.
mkdir "$TMP/small"
at_exit umount "$TMP/small"
sent=$(stat -c %s "$TMP/sent")
for size in $((sent * 9 / 5)) $((sent * 5 / 2)); do
	if ! mount -t tmpfs -o "size=$size,mode=0700" none "$TMP/small"; then
		skip 3 "no tmpfs"
		continue
	fi
	record "$TMP/small" --rotate-size 0 -- bash -c 'send 1 7201'
	plain_one=$(compgen -G "$TMP/small/*.pcap")
	like "$err" "no room to compress ${plain_one##*/} and to record as much again" "no room for both: it says so"
	is "$(cd "$TMP/small" && compgen -G '*.gz*' | grep -v snap)" "" "no half of it is left"
	is "$(sha256sum <"$plain_one")" \
		"$(awk -F '\t' '$3 == "close" && /pcap\t/ { print $6 "  -" }' "$TMP/small/custody.log")" "the plain one stays"
	umount "$TMP/small"
done
done_testing
