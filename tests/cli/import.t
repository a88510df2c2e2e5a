#!/bin/bash
# pcapwho import: hand-made copies of /proc and captures become evidence.
set -u
export LC_ALL=C TZ=UTC
cd "$(dirname "$0")/../.." || exit 1
pcapwho=${BUILD:-build}/pcapwho
data=tests/data/listing-2014
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
count=0 failed=0
T=2014-11-19T12:52:00Z
STEM=000001-20141119T125200.000000000Z

ok() { # ok STATUS NAME
	count=$((count + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $count - $2"
	else
		failed=$((failed + 1))
		echo "not ok $count - $2"
		sed 's/^/# /' "$tmp/out" "$tmp/err"
	fi
}
is() { # is GOT WANTED NAME
	[ "$1" = "$2" ]
	ok $? "$3"
	[ "$1" = "$2" ] || printf '# got "%s", wanted "%s"\n' "$1" "$2"
}
run() { # run WANTED_STATUS NAME ARGUMENTS…
	local wanted=$1 name=$2
	shift 2
	"$pcapwho" import "$@" >"$tmp/out" 2>"$tmp/err"
	is $? "$wanted" "$name"
}
says() { # says PATTERN NAME: one line on stderr, and it says so
	grep -Eq -- "$1" "$tmp/err" && [ "$(wc -l <"$tmp/err")" -eq 1 ]
	ok $? "$2"
}
nothing_made() {
	[ ! -e "$1" ]
	ok $? "nothing is left behind"
}
le32() {
	local i
	for i in 0 8 16 24; do
		# shellcheck disable=SC2059
		printf "\\x$(printf %02x $((($1 >> i) & 255)))"
	done
}
pcap() { # pcap SECONDS…: Ethernet, one packet of four bytes at each time
	printf '\xd4\xc3\xb2\xa1\x02\x00\x04\x00\0\0\0\0\0\0\0\0\x00\x00\x04\x00\x01\x00\x00\x00'
	local second
	for second; do
		le32 "$second"
		le32 0
		le32 4
		le32 4
		printf 'abcd'
	done
}
snap() { zcat "$1"; }
part_of() { awk -F'\t' -v kind="$1" '$1 == kind' "$tmp/snap"; }

# The published listing.
run 0 "the listing of 2014 is taken in" --time $T --tcp $data/proc-net-tcp.txt \
	--fds $data/proc-2143-fd.txt -o "$tmp/e"
is "$(find "$tmp/e" -printf '%f %m\n' | sort)" "$STEM.snap.gz 600
custody.log 600
e 700" "a segment with a snapshot only, and the log"
snap "$tmp/e/$STEM.snap.gz" >"$tmp/snap"
is "$(head -1 "$tmp/snap")" "$(printf 'pcapwho-snapshot\t1')" "it is a snapshot file"
is "$(part_of meta | awk -F'\t' '$2 == "source" {print $3}')" import "its source is an import"
is "$(part_of frame | cut -f2-6)" \
	"$(printf '1\tkey\timport\t1416401520000000000\t1416401520000000000')" \
	"one key frame, read at the time given"
is "$(part_of netns)" "$(printf 'netns\t+\t1\t0\t1')" "one namespace, that of the capture"
is "$(part_of socket | wc -l)" 27 "all 27 sockets are in it"
is "$(part_of holder | wc -l)" 41 "and all 41 descriptors of sockets"
is "$(part_of process)" "$(printf 'process\t+\t2143\t0\t0\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N' |
	cut -f1-10)$(part_of process | cut -f11- | sed 's/^/\t/')" \
	"process 2143, of which nothing else is known"
is "$(part_of socket | awk -F'\t' '$11 == 5248222' | cut -f5-11 --complement)" \
	"$(printf 'socket\t+\t1\ttcp\t0\t0')" "inode 5248222 stands once"
is "$(part_of socket | awk -F'\t' '$11 == 5248222' | cut -f5-11)" \
	"$(printf '192.168.7.151\t57268\t117.79.93.221\t80\t1\t1000\t5248222')" \
	"inode 5248222 is 192.168.7.151:57268 to 117.79.93.221:80"
is "$(part_of holder | awk -F'\t' '$3 == 5248222')" \
	"$(printf 'holder\t+\t5248222\t2143\t0\t2143\t90')" "process 2143 has it as descriptor 90"
part_of holder | cut -f3 | sort >"$tmp/held"
part_of socket | cut -f11 | sort >"$tmp/inodes"
is "$(comm -12 "$tmp/held" "$tmp/inodes" | wc -l)" 22 "22 of the 27 are held by it"
is "$(comm -13 "$tmp/held" "$tmp/inodes" | xargs)" "11404 12396 2102209 273820 5243074" \
	"five have no holder"
is "$(part_of socket | awk -F'\t' '{print $9, $11}' |
	grep -E ' (11404|12396|2102209|273820|5243074)$' | sort | xargs)" \
	"10 11404 10 12396 2 5243074 8 2102209 8 273820" \
	"they are two listeners, a SYN_SENT and two CLOSE_WAIT"
is "$(part_of address | cut -f3-6 | tr '\t' ' ')" "1 0 ::1 128
1 0 127.0.0.1 8
1 0 127.0.1.1 32
1 0 192.168.7.151 32" "the sockets prove the host's addresses"
is "$(part_of absent | awk -F'\t' '$3 == "table" {print $6, $7}' | head -1)" "icmp not given" \
	"what was not given is said"
grep -q '22 of them with a holder' "$tmp/out"
ok $? "the summary says how many sockets have a holder"

# custody.log
is "$(cut -f1,3,4 "$tmp/e/custody.log" | tr '\t' ' ')" "1 import \\N
2 import \\N
3 import $STEM.snap.gz" "the log has an entry for each file"
is "$(cut -f6 "$tmp/e/custody.log" | xargs)" \
	"$(sha256sum $data/proc-net-tcp.txt $data/proc-2143-fd.txt "$tmp/e/$STEM.snap.gz" |
		cut -d' ' -f1 | xargs)" "with its SHA-256"
cut -f7 "$tmp/e/custody.log" | grep -q "from $PWD/$data/proc-net-tcp.txt$"
ok $? "and the original path"

# Again: the same bytes; and a second import goes on numbering.
run 0 "the same once more" --time $T --tcp $data/proc-net-tcp.txt \
	--fds $data/proc-2143-fd.txt -o "$tmp/e2"
is "$(snap "$tmp/e2/$STEM.snap.gz" | grep -v argv)" "$(grep -v argv "$tmp/snap")" \
	"the same input gives the same snapshot"
run 0 "an import into existing evidence" --time @1416401520.5 --tcp $data/proc-net-tcp.txt -o "$tmp/e"
[ -f "$tmp/e/000002-20141119T125200.500000000Z.snap.gz" ] && [ -f "$tmp/e/$STEM.snap.gz" ]
ok $? "continues its numbering"
rm "$tmp/e/000002"*
run 0 "an import after a segment expired" --time $T --tcp $data/proc-net-tcp.txt -o "$tmp/e"
[ -f "$tmp/e/000003-20141119T125200.000000000Z.snap.gz" ]
ok $? "does not use its number again"

# Captures.
pcap 1416401500 1416401530 >"$tmp/within.pcap"
pcap 1416401600 1416401601 | gzip -n >"$tmp/after.pcap.gz"
pcap >"$tmp/empty.pcap"
run 0 "captures are copied in" --time $T --tcp $data/proc-net-tcp.txt --pcap "$tmp/after.pcap.gz" \
	--pcap "$tmp/within.pcap" -o "$tmp/p"
is "$(cd "$tmp/p" && echo *.*)" "000001-20141119T125140.000000000Z.pcap \
000001-20141119T125140.000000000Z.snap.gz 000002-20141119T125200.000000000Z.pcap.gz \
000002-20141119T125200.000000000Z.snap.gz custody.log" \
	"one segment each, in order of time, named for the earlier of snapshot and first packet"
cmp -s "$tmp/within.pcap" "$tmp/p/000001-20141119T125140.000000000Z.pcap" &&
	cmp -s "$tmp/after.pcap.gz" "$tmp/p/000002-20141119T125200.000000000Z.pcap.gz"
ok $? "byte for byte"
is "$(for f in "$tmp"/p/*.snap.gz; do snap "$f" | awk -F'\t' '$1 == "frame" {print $2, $4}'; done |
	xargs)" "1 import 1 restated" "the later segment repeats the one reading"
is "$(cut -f4 "$tmp/p/custody.log" | grep -c pcap)" 2 "the log names the copies"
is "$(sha256sum <"$tmp/within.pcap" | cut -d' ' -f1)" \
	"$(awk -F'\t' '$4 ~ /pcap$/ {print $6}' "$tmp/p/custody.log")" "with the original's SHA-256"
run 0 "a capture without packets is fine" --time $T --tcp $data/proc-net-tcp.txt \
	--pcap "$tmp/empty.pcap" -o "$tmp/pe"
run 0 "a snapshot far from its packets" --time 2014-11-19T20:52:00Z \
	--tcp $data/proc-net-tcp.txt --pcap "$tmp/within.pcap" -o "$tmp/far"
says 'is --time in UTC' "is questioned"
head -c 50 "$tmp/within.pcap" >"$tmp/torn.pcap"
run 2 "a capture that breaks off is taken as it is, with status 2" --time $T \
	--tcp $data/proc-net-tcp.txt --pcap "$tmp/torn.pcap" -o "$tmp/torn"
says 'torn\.pcap: at byte [0-9]+: ' "and the place is named"
run 1 "a capture that is none" --time $T --tcp $data/proc-net-tcp.txt \
	--pcap $data/README.md -o "$tmp/none"
says 'README\.md' "is named"
nothing_made "$tmp/none"
run 66 "a capture that is missing" --time $T --tcp $data/proc-net-tcp.txt \
	--pcap "$tmp/missing.pcap" -o "$tmp/none"
nothing_made "$tmp/none"

# Shapes of listings.
# shellcheck disable=SC2012
ls -l "/proc/$$/fd" >"$tmp/live.txt"
run 64 "a listing that does not say whose it is" --time -1m --fds "$tmp/live.txt" -o "$tmp/none"
says 'live\.txt: at byte [0-9]+: .*--pid N' "and the message says how to give it"
nothing_made "$tmp/none"
run 0 "--pid gives it" --time -1m --pid 77 --fds "$tmp/live.txt" -o "$tmp/live"
is "$(snap "$tmp"/live/*.snap.gz | awk -F'\t' '$1 == "process" {print $3}')" 77 "and is taken"
exec 3<>/dev/udp/127.0.0.1/9
ls -l "/proc/1/fd" "/proc/$$/fd" >"$tmp/several.txt" 2>&1
find "/proc/$$/fd" -ls >"$tmp/find.txt"
cat /proc/net/udp >"$tmp/udp.txt"
exec 3>&-
inode=$(sed -n 's/.* 3 -> socket:\[\(.*\)\]$/\1/p' "$tmp/several.txt")
for listing in several find; do
	run 0 "a live listing ($listing) beside a live table" --time -1s --udp "$tmp/udp.txt" \
		--fds "$tmp/$listing.txt" -o "$tmp/$listing"
	is "$(snap "$tmp/$listing"/*.snap.gz | awk -F'\t' -v i="$inode" \
		'$1 == "holder" && $3 == i {print $4, $7}')" "$$ 3" "gives the holder"
	is "$(snap "$tmp/$listing"/*.snap.gz | awk -F'\t' -v i="$inode" \
		'$1 == "socket" && $11 == i {print $4, $7, $8}')" "udp 127.0.0.1 9" "of the socket"
done

echo "ls: cannot open directory '/proc/1/fd': Permission denied" >"$tmp/denied.txt"
run 0 "a listing that was denied" --time $T --tcp $data/proc-net-tcp.txt --fds "$tmp/denied.txt" \
	-o "$tmp/denied"
is "$(snap "$tmp"/denied/*.snap.gz | awk -F'\t' '$3 == "descriptors" && $5 == 1 {print $7}')" \
	unreadable "is remembered as unreadable"

# Options.
run 0 "--help" --help
grep -q '^Usage: pcapwho import' "$tmp/out" && [ ! -s "$tmp/err" ]
ok $? "goes to standard output"
run 64 "without --time" --tcp $data/proc-net-tcp.txt -o "$tmp/none"
says '--time' "it says so"
run 64 "without -o" --time $T --tcp $data/proc-net-tcp.txt
run 64 "with nothing to import" --time $T -o "$tmp/none"
run 64 "with a capture alone" --time $T --pcap "$tmp/none.pcap" -o "$tmp/none"
says 'captures alone are analyzed as they are' "it says where that goes"
run 64 "a time that is none" --time yesterday --tcp $data/proc-net-tcp.txt -o "$tmp/none"
run 64 "an option that is none" --time $T --unix x -o "$tmp/none"
run 64 "an argument too many" --time $T --tcp $data/proc-net-tcp.txt -o "$tmp/none" x
run 64 "a table given twice" --time $T --tcp $data/proc-net-tcp.txt \
	--tcp $data/proc-net-tcp.txt -o "$tmp/none"
run 64 "--pid without a listing after it" --time $T --tcp $data/proc-net-tcp.txt --pid 3 -o "$tmp/none"
run 64 "--pid 0" --time $T --pid 0 --fds $data/proc-2143-fd.txt -o "$tmp/none"
run 64 "an address that is none" --time $T --tcp $data/proc-net-tcp.txt --address 1.2.3 -o "$tmp/none"
run 64 "a boot id that is none" --time $T --tcp $data/proc-net-tcp.txt --boot-id x -o "$tmp/none"
nothing_made "$tmp/none"
run 0 "what is known of the host" --time $T --tcp $data/proc-net-tcp.txt --byte-order big \
	--hostname desk --boot-id f3d4e3d1-5c87-4fd0-ab23-579d8713f4a9 --clock-ticks 250 \
	--address 2001:db8::7/64 --address 151.7.168.192/24 -o "$tmp/big"
snap "$tmp"/big/*.snap.gz >"$tmp/snap"
is "$(part_of meta | grep -E '^meta.(hostname|boot_id|byte_order|clock_ticks)' | cut -f3 | xargs)" \
	"desk f3d4e3d1-5c87-4fd0-ab23-579d8713f4a9 big 250" "stands in the header"
is "$(part_of socket | awk -F'\t' '$11 == 5248222 {print $5}')" 151.7.168.192 \
	"big-endian addresses are read the other way round"
is "$(part_of address | cut -f5-6 | tr '\t' '/' | grep -E '^(2001|151)' | xargs)" \
	"151.7.168.192/24 2001:db8::7/64" "an address given tells more than one that a socket proves"

# Hostile input.
run 66 "a table that is missing" --time $T --tcp "$tmp/missing" -o "$tmp/none"
says 'missing: .*No such file' "is named"
head -c 100000 /dev/urandom >"$tmp/junk"
for option in tcp udp6 packet fds; do
	run 1 "--$option of random bytes fails" --time $T --pid 5 "--$option" "$tmp/junk" \
		--fds "$tmp/live.txt" -o "$tmp/none"
	tail -1 "$tmp/err" | grep -q "junk: at byte [0-9]*: "
	ok $? "and says what was wanted"
done
: >"$tmp/empty"
run 1 "an empty table fails" --time $T --tcp "$tmp/empty" -o "$tmp/none"
says 'an empty file' "and says so"
run 1 "an empty listing fails" --time $T --fds "$tmp/empty" --pid 3 --fds "$tmp/empty" -o "$tmp/none"
run 1 "a listing given as a table" --time $T --tcp $data/proc-2143-fd.txt -o "$tmp/none"
run 1 "a table given as a listing" --time $T --pid 3 --fds $data/proc-net-tcp.txt -o "$tmp/none"
run 1 "a TCP table given as UDP's" --time $T --udp $data/proc-net-tcp.txt -o "$tmp/none"
says 'another kind' "is recognised"
run 1 "a TCP table given as TCP6's" --time $T --tcp6 $data/proc-net-tcp.txt -o "$tmp/none"
run 1 "a UDP table given as TCP's" --time $T --tcp "$tmp/udp.txt" -o "$tmp/none"
run 1 "a directory given as a table" --time $T --tcp "$tmp" -o "$tmp/none"
nothing_made "$tmp/none"

sed '5s/9707A8C0/97xxA8C0/; 9s/ 01 .*//' $data/proc-net-tcp.txt >"$tmp/two-bad.txt"
run 2 "bad rows are skipped, with status 2" --time $T --tcp "$tmp/two-bad.txt" -o "$tmp/bad"
is "$(sed -n 's/.*two-bad.txt: at byte \([0-9]*\): .*line \([0-9]*\)$/\1 \2/p' "$tmp/err" | xargs)" \
	"$(head -4 "$tmp/two-bad.txt" | wc -c) 5 $(head -8 "$tmp/two-bad.txt" | wc -c) 9" \
	"each is named with its place"
snap "$tmp"/bad/*.snap.gz >"$tmp/snap"
is "$(part_of socket | wc -l)" 25 "the other rows are taken"
is "$(part_of absent | awk -F'\t' '$2 == "!"' | cut -f2-)" "$(printf \
	'!\ttable\t1\t0\ttcp\t2 bad rows skipped, the first at byte %d' \
	"$(head -4 $data/proc-net-tcp.txt | wc -c)")" "and the snapshot says what is missing"
size=$(stat -c %s $data/proc-net-tcp.txt)
wrong=0
for cut in 100 1000 1050 1100 1111 1112 1113 $((size - 40)) $((size - 1)); do
	head -c "$cut" $data/proc-net-tcp.txt >"$tmp/cut.txt"
	rm -rf "$tmp/cut"
	"$pcapwho" import --time $T --tcp "$tmp/cut.txt" -o "$tmp/cut" >"$tmp/out" 2>"$tmp/err"
	status=$?
	[ $status -le 2 ] || wrong=$cut
	[ $status -eq 1 ] && continue
	snap "$tmp"/cut/*.snap.gz | awk -F'\t' '$1 == "socket" {print $11}' |
		grep -vxFf "$tmp/inodes" >"$tmp/invented" && wrong=$cut
done
is $wrong 0 "a table cut anywhere gives no socket that it had not"

# Writers exclude each other, and a failure leaves what was there as it was.
before=$(cd "$tmp/e" && sha256sum ./*)
# shellcheck disable=SC2094 # the directory is not written through descriptor 9
(
	flock 9
	"$pcapwho" import --time $T --tcp $data/proc-net-tcp.txt -o "$tmp/e" >"$tmp/out" 2>"$tmp/err"
	echo $? >"$tmp/status"
) 9<"$tmp/e"
is "$(cat "$tmp/status")" 1 "evidence that another program writes to is left alone"
says 'another program' "and the reason is given"
is "$(cd "$tmp/e" && sha256sum ./*)" "$before" "nothing of it changed"
run 1 "an evidence directory that is a file" --time $T --tcp $data/proc-net-tcp.txt -o "$tmp/junk"

# pcapwho record is pcapwho-record.
mkdir "$tmp/bin"
cp -L "$pcapwho" "$tmp/bin/pcapwho"
PATH=$tmp/nowhere "$tmp/bin/pcapwho" record -o x >"$tmp/out" 2>"$tmp/err"
is $? 1 "without a recorder, record fails"
says "looked for $tmp/bin/pcapwho-record, then for pcapwho-record in PATH" "and says where it looked"
printf '#!/bin/sh\necho "sibling: $*"\nexit 7\n' >"$tmp/bin/pcapwho-record"
chmod +x "$tmp/bin/pcapwho-record"
"$tmp/bin/pcapwho" record -o x --help -- y >"$tmp/out" 2>"$tmp/err"
is "$? $(cat "$tmp/out")" "7 sibling: -o x --help -- y" \
	"record runs the recorder beside it, with all arguments and its status"
mkdir "$tmp/path"
mv "$tmp/bin/pcapwho-record" "$tmp/path"
PATH=$tmp/path:$PATH "$tmp/bin/pcapwho" record a >"$tmp/out" 2>"$tmp/err"
is "$? $(cat "$tmp/out")" "7 sibling: a" "else the one in PATH"

echo "1..$count"
[ "$failed" -eq 0 ]
