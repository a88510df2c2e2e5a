#!/bin/bash
# Why a packet has its owner: each link that explain names stands in the evidence,
# as others read it, and whatever was altered is told.
# lib.sh assigns by name.
# shellcheck disable=SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO" "$MANY"
need_command perl sqlite3 tshark zcat script
perl -MJSON::PP -MDigest::SHA -MCompress::Zlib -e 1 2>/dev/null || skip_all "needs perl's JSON::PP"

# Where nobody else makes anything meanwhile.
export TMPDIR=$TMP/temporary
mkdir "$TMPDIR"

EVIDENCE=$ROOT/samples/evidence
FIRST=000001-20261122T035254.187739683Z SECOND=000002-20261122T035257.187931049Z
DB=$TMP/packets.db PLAIN=$TMP/plain.db
"$PCAPWHO" analyze -q --packets -o "$DB" "$EVIDENCE" || bail "no database"
"$PCAPWHO" analyze -q -o "$PLAIN" "$EVIDENCE" || bail "no database"
sql() { sqlite3 -batch "$@"; }
explain() { run "$PCAPWHO" explain "$@"; }

# ---- a hundred packets, each link of each chain ----
# The sample, and the same without the kernel's account, so that readings decide.
mkdir "$TMP/readings"
cp "$EVIDENCE"/0* "$TMP/readings"
for snap in "$TMP"/readings/*.snap.gz; do
	rewrite "$snap" '$_ = "" if /^(use|born|exec)\t/'
done
"$PCAPWHO" analyze -q -o "$TMP/readings.db" "$TMP/readings" || bail "no database"
SEED=$(date +%N)
perl -e 'my ($seed, %packets) = @ARGV; srand $seed;
	my @all = map { my $f = $_; map { "$f $_" } 1 .. $packets{$f} } sort keys %packets;
	print splice(@all, int rand @all, 1), "\n" for 1 .. 100;' "$SEED" \
	"$FIRST.pcap" "$(sql "$DB" "SELECT packets FROM segment WHERE segment_id = 1")" \
	"$SECOND.pcap" "$(sql "$DB" "SELECT packets FROM segment WHERE segment_id = 2")" >"$TMP/chosen"
hundred() { # DATABASE EVIDENCE
	rm -rf "$TMP/hundred" && mkdir "$TMP/hundred"
	awk -v stem="$TMP/hundred/" -v database="$1" -v evidence="$2" -v OFS='\t' '{
		print stem 1000 + NR, "explain", database, "--packet", $1 ":" $2, "--evidence", evidence, "--format", "json"
	}' "$TMP/chosen" | "$MANY" 2>"$TMP/complaints"
	cat "$TMP"/hundred/*.err >>"$TMP/complaints"
	grep -L '^0$' "$TMP"/hundred/*.txt >>"$TMP/complaints"
	cat "$TMP"/hundred/*.out >"$TMP/explained"
	is "$(cat "$TMP/complaints")" "" "(${1##*/}, seed $SEED) 100 packets are explained, nothing differs"
	perl "$ROOT/tests/cli/explain.pl" "$2" "$TMP/chosen" <"$TMP/explained" >"$TMP/checked"
	is "$(grep -v '^#' "$TMP/checked")" "explained 100, wrong 0" "and each link stands in the evidence"
	diag "$(sed 's/^# //' "$TMP/checked" | paste -sd ';')"
}
hundred "$DB" "$EVIDENCE"
like "$(cat "$TMP/checked")" "distance from the use before" "(uses were looked at)"
hundred "$PLAIN" "$EVIDENCE"
hundred "$TMP/readings.db" "$TMP/readings"
like "$(cat "$TMP/checked")" "distance from the reading before" "(readings were looked at)"

# ---- a flow, a connection, the database alone ----
explain "$PLAIN" --flow 1 --evidence "$EVIDENCE"
is "$status$err" 0 "a flow: done"
like "$out" "All [0-9]+ links are the same" "and all of it is the same"
CONNECTION=$(sql "$PLAIN" "SELECT connection_id FROM connection WHERE rule = 'ahead' LIMIT 1")
explain "$PLAIN" --connection "$CONNECTION" --evidence "$EVIDENCE"
is "$status$(grep -c ^connection <<<"$out")" 01 "a connection: that one alone"
like "$out" "exact: no: the first (sighting|use told) is .* after the packet" "why the stronger rule did not apply"
like "$out" "ahead: yes: " "and which one did"
explain "$PLAIN" --connection "$CONNECTION"
is "$status$err" 0 "the database alone: done"
like "$out" "From the database alone" "and says so"
unlike "$out" "\[same\]|DIFFERS" "and claims nothing of the evidence"
explain "$DB" --packet "$FIRST.pcap:30"
is "$status$err" 0 "a packet that the database has a row of: needs no evidence"
explain "$PLAIN" --packet "$FIRST.pcap:30"
is "$status" 64 "one that it has none of: does"
like "$err" "give --evidence DIR" "and the message says what to do"
explain "$PLAIN" --flow 1 --format json
perl -MJSON::PP -e 'local $/; decode_json(<STDIN>)' <<<"$out"
is $? 0 "JSON of the database alone can be read"
AMBIGUOUS=$(sql "$PLAIN" "SELECT connection_id FROM connection WHERE reason = 'ambiguous' LIMIT 1")
explain "$PLAIN" --connection "$AMBIGUOUS" --evidence "$EVIDENCE"
like "$status$out" "^0.*no rule gives one owner: ambiguous" "an end without owner: why"
like "$out" "candidate dnsmasq, pid [0-9]+.*\[same\]" "with its candidates"

# A terminal is as wide as it is; what others wrote does not steer it.
script -qec "stty cols 80; '$PCAPWHO' explain '$PLAIN' --flow 1 --evidence '$EVIDENCE'" /dev/null |
	tr -d '\r' >"$TMP/terminal"
is "$(awk 'length > 80' "$TMP/terminal")" "" "no line is wider than the terminal"
is "$(wc -l <"$TMP/terminal" | awk '{ print ($1 > 20) }')" 1 "(there are lines)"
cp "$PLAIN" "$TMP/steer.db"
sql "$TMP/steer.db" "UPDATE process SET cmdline = char(27) || '[2J'"
explain "$TMP/steer.db" --flow 1
unlike "$out" $'\e' "control characters of the evidence do not reach it"

# ---- altered databases: UPDATE, then the word that must be told ----
altered() {
	local name=$1 change=$2 wanted=$3
	shift 3
	cp "$DB" "$TMP/altered.db"
	sql "$TMP/altered.db" "$change; SELECT changes()" >"$TMP/changed"
	isnt "$(cat "$TMP/changed")" 0 "($name: the row is changed)"
	explain "$TMP/altered.db" "${@:---flow=1}" --evidence "$EVIDENCE"
	is "$status" 1 "$name: the status tells"
	like "$out$err" "$wanted" "$name: it is named"
}
OWNED="connection_id = (SELECT min(connection_id) FROM connection WHERE flow_id = 1)"
SOCKET="socket_id = (SELECT socket_id FROM connection WHERE $OWNED)"
PROCESS="process_id = (SELECT process_id FROM connection WHERE $OWNED)"
altered "another process" "UPDATE connection SET process_id = 1 WHERE $OWNED" "! pid: the database has [0-9]+, the evidence"
altered "another rule" "UPDATE connection SET rule = 'behind' WHERE $OWNED" "! rule: the database has behind, the evidence exact"
altered "another count" "UPDATE connection SET exact_packets = 0 WHERE $OWNED" "! exact_packets"
altered "another distance" "UPDATE connection SET distance_ns = 7 WHERE $OWNED" "! distance_ns: the database has 7"
altered "more holders" "UPDATE connection SET shared_by = 3 WHERE $OWNED" "! shared_by"
altered "another frame" "UPDATE connection SET snapshot_id = 40 WHERE $OWNED" "! sequence"
altered "another line" "UPDATE snapshot SET line = line + 1" "! line"
altered "another inode" "UPDATE socket SET inode = 5 WHERE $SOCKET" "the database has inode 5"
altered "another port" "UPDATE socket SET local_port = 5 WHERE $SOCKET" "! local_port"
altered "another descriptor" "UPDATE holder SET fd = 77 WHERE fd IS NOT NULL AND $SOCKET" "! fd: the database has 77"
altered "another name" "UPDATE process SET comm = 'evil' WHERE $PROCESS" "! comm: the database has evil, the evidence"
altered "another user" "UPDATE process SET uid = 12345 WHERE $PROCESS" "! uid: the database has 12345"
altered "another parent" "UPDATE process SET parent_process_id = 2 WHERE $PROCESS" "parent.*DIFFERS|DIFFERS.*parent|started by .*DIFFERS"
altered "no parent" "UPDATE process SET parent_process_id = NULL WHERE $PROCESS" "the database has no such row"
altered "another address" "UPDATE flow SET resp_address = '192.0.2.9' WHERE flow_id = 1" "! resp_address"
altered "another begin" "UPDATE flow SET start_ns = start_ns + 1 WHERE flow_id = 1" "! start_ns"
altered "another first packet" "UPDATE flow SET first_packet_number = 2 WHERE flow_id = 1" "DIFFERS"
altered "another byte" "UPDATE flow SET first_packet_offset = 25 WHERE flow_id = 1" "! first_packet_offset"
altered "an owner less" "DELETE FROM connection WHERE $OWNED" "the database has no such row"
altered "another digest" "UPDATE segment SET pcap_sha256 = 'x' || substr(pcap_sha256, 2)" "custody.log vouches for this file"
altered "a candidate less" "DELETE FROM candidate WHERE connection_id = $AMBIGUOUS" "the database has no such row" \
	"--connection=$AMBIGUOUS"
# Packet 30 is the sixth of row 3; rule 3 is behind.
altered "another row of the packet" "UPDATE packet_row SET size_6 = size_6 & ~62 | 3 << 1 WHERE place = 3" "! rule: the database has behind" \
	--packet "$FIRST.pcap:30"
altered "another flow of the packet" "INSERT OR IGNORE INTO packet_stretch VALUES (5, 1, 0);
	UPDATE packet_row SET connection_6 = 5 WHERE segment_id = 1 AND place = 3" \
	"DIFFERS|differs" --packet "$FIRST.pcap:30"

# ---- altered evidence ----
copy() {
	rm -rf "$TMP/copy"
	cp -r "$EVIDENCE" "$TMP/copy"
}
poke() { # FILE BYTE: every bit of it
	perl -e 'open my $f, "+<:raw", $ARGV[0] or die; seek $f, $ARGV[1], 0; read $f, my $b, 1;
		seek $f, $ARGV[1], 0; print $f chr(255 ^ ord $b)' "$1" "$2"
}
OFFSET=$(sql "$DB" "SELECT offset_bytes FROM packet WHERE segment_id = 1 AND number = 30")
copy
poke "$TMP/copy/$FIRST.pcap" $((OFFSET + 16 + 20 + 12)) # the source address
explain "$DB" --packet "$FIRST.pcap:30" --evidence "$TMP/copy"
is "$status" 1 "an address in a packet: the status tells"
like "$out$err" "altered since it was recorded" "and custody.log is called to witness"
like "$out$err" "DIFFERS|differs" "and what differs is named"
explain "$PLAIN" --packet "$FIRST.pcap:30" --evidence "$TMP/copy"
is "$status" 1 "the same without a row of the packet"
like "$out$err" "differs: the evidence has the packet" "and the message says what is where"
copy
poke "$TMP/copy/$FIRST.pcap" $((OFFSET + 16 + 20 + 55)) # options, not looked at by the join
explain "$DB" --packet "$FIRST.pcap:30" --evidence "$TMP/copy"
like "$status$out" "^1.*$FIRST.pcap \[DIFFERS\]" "a byte that no row rests on: the digest tells"
copy
poke "$TMP/copy/$FIRST.pcap" $((OFFSET + 4)) # nanoseconds of its time
explain "$DB" --packet "$FIRST.pcap:30" --evidence "$TMP/copy"
like "$status$out" "^1.*! time_ns: the database has" "a packet's time"
copy
truncate -s $((OFFSET - 5)) "$TMP/copy/$FIRST.pcap"
explain "$DB" --packet "$FIRST.pcap:30" --evidence "$TMP/copy"
is "$status" 1 "a capture that breaks off before the packet: the status tells"
like "$out$err" "byte [0-9]+" "and where it breaks off"
copy
poke "$TMP/copy/$FIRST.snap.gz" 4000
explain "$DB" --packet "$FIRST.pcap:30" --evidence "$TMP/copy"
like "$status$out" "^1.*$FIRST.snap.gz \[DIFFERS\]" "a damaged snapshot file"

copy
rewrite "$TMP/copy/$FIRST.snap.gz" ';'
is "$(zcat "$TMP/copy/$FIRST.snap.gz" | sha256sum)" "$(zcat "$EVIDENCE/$FIRST.snap.gz" | sha256sum)" "(a rewritten file is the same)"
rewrite "$TMP/copy/$FIRST.snap.gz" 's/\tcurl\t/\tevil\t/ if /^process/'
explain "$DB" --flow 1 --evidence "$TMP/copy"
like "$status$out" "^1.*! comm: the database has curl, the evidence evil" "a program's name, with its checksum"
like "$out" "altered since it was recorded" "and that it was altered"
copy
rewrite "$TMP/copy/$FIRST.snap.gz" 's/\t107\t(\d+)\t107$/\t121\t$1\t121/ if /^use\t.*\tconnect\t/'
explain "$DB" --flow 1 --evidence "$TMP/copy"
like "$status$out" "^1.*! pid: the database has 107, the evidence 121" "who used a socket, with its checksum"
copy
rewrite "$TMP/copy/$FIRST.snap.gz" 's/^(frame\t3\tevent\tuse)\t\d+/$1\t1795319574212987000/'
explain "$DB" --flow 1 --evidence "$TMP/copy"
like "$status$out" "^1.*! begin_ns" "a frame's time, with its checksum"

# The log itself.
copy
sed -i '7s/13709/13708/' "$TMP/copy/custody.log"
explain "$DB" --flow 1 --evidence "$TMP/copy"
like "$status$out" "^1.*custody.log \[DIFFERS\]" "an altered custody.log"
copy
rm "$TMP/copy/custody.log"
explain "$DB" --flow 1 --evidence "$TMP/copy"
is "$status" 0 "evidence without its log is evidence"

# Compressed since.
copy
gzip "$TMP/copy/$FIRST.pcap"
explain "$DB" --packet "$FIRST.pcap:30" --evidence "$TMP/copy"
is "$status" 0 "a capture that was compressed since is the same"
explain "$DB" --packet "$TMP/copy/$FIRST.pcap.gz:30" --evidence "$TMP/copy"
is "$status" 0 "under its new name too"

# ---- what does not belong together, or is not there ----
fails() { # STATUS REGEX NAME ARGUMENT…
	local wanted=$1 regex=$2 name=$3
	shift 3
	explain "$@"
	is "$status$out" "$wanted" "$name: status $wanted, nothing on standard output"
	like "$err" "$regex" "$name: the message"
	is "$(wc -l <<<"$err")" 1 "$name: one line"
}
mkdir "$TMP/empty"
fails 66 "wanted $FIRST.pcap, which the answer rests on, found no such file" "other evidence" "$DB" --flow 1 --evidence "$TMP/empty"
fails 66 "cannot open it as a directory" "no evidence" "$DB" --flow 1 --evidence "$TMP/nowhere"
fails 66 "wanted packet 456, found that it has 455" "a packet after the last" "$DB" --packet "$FIRST.pcap:456"
fails 64 "wanted FILE:NUMBER" "packet 0" "$DB" --packet "$FIRST.pcap:0"
fails 64 "wanted FILE:NUMBER" "a number beyond all" "$DB" --packet "$FIRST.pcap:99999999999999999999"
fails 64 "wanted FILE:NUMBER" "a packet without number" "$DB" --packet "$FIRST.pcap"
fails 66 "wanted a capture named x.pcap, found none" "another capture" "$DB" --packet x.pcap:1
fails 66 "wanted flow 99, found none of that number: they go to 49" "another flow" "$DB" --flow 99
fails 66 "wanted connection 9999" "another connection" "$DB" --connection 9999
fails 64 "wanted a number from 1" "flow -1" "$DB" --flow -1
fails 64 "wanted one of --flow, --connection and --packet, found none" "no target" "$DB"
fails 64 "found several" "two targets" "$DB" --flow 1 --connection 1
fails 64 "wanted one DATABASE" "no database" --flow 1
fails 64 "wanted text or json" "another format" "$DB" --flow 1 --format xml
fails 66 "nowhere.db" "a database that is not there" "$TMP/nowhere.db" --flow 1
fails 1 "pcapwho database" "something else" "$EVIDENCE/custody.log" --flow 1
cp "$DB" "$TMP/other.db"
sql "$TMP/other.db" "PRAGMA user_version = 1000"
fails 1 "wanted a database of version [0-9]+, found version 10.*analyze the evidence anew" "a database of another version" \
	"$TMP/other.db" --flow 1
cp "$DB" "$TMP/other.db"
sql "$TMP/other.db" "UPDATE segment SET pcap_name = '../samples/x.pcap'"
fails 1 "wanted the name of a file" "a name that leads elsewhere" "$TMP/other.db" --flow 1 --evidence "$EVIDENCE"
cp "$DB" "$TMP/other.db"
sql "$TMP/other.db" "UPDATE process SET parent_process_id = process_id"
explain "$TMP/other.db" --flow 1
is "$status" 0 "parents in a circle come to an end"
is "$(ls -A "$TMPDIR")" "" "nothing is left in the directory for temporary files"

# Captures of others, without snapshots.
mkdir "$TMP/bare"
cp "$EVIDENCE/$FIRST.pcap" "$TMP/bare/host.pcap"
"$PCAPWHO" analyze -q -o "$TMP/bare.db" "$TMP/bare/host.pcap"
explain "$TMP/bare.db" --packet host.pcap:30 --evidence "$TMP/bare"
is "$status" 0 "a capture without snapshots"
like "$out" "there are no snapshots beside these packets" "and why nobody is named"

# Packet 30 once more, a microsecond later on interface 77 (cooked frames: SLL2).
perl -e 'undef $/; my ($n, $i) = (1, 24); my $all = <STDIN>;
	print substr $all, 0, 24;
	while ($i < length $all) {
		my ($s, $ns, $bytes, $wire) = unpack "V4", substr $all, $i, 16;
		my $data = substr $all, $i + 16, $bytes;
		print substr $all, $i, 16 + $bytes;
		if ($n++ == 30) {
			substr($data, 4, 4) = pack "N", 77;
			print pack("V4", $s, $ns + 1000, $bytes, $wire), $data;
		}
		$i += 16 + $bytes;
	}' <"$EVIDENCE/$FIRST.pcap" >"$TMP/bare/twice.pcap"
"$PCAPWHO" analyze -q --packets -o "$TMP/twice.db" "$TMP/bare/twice.pcap"
is "$(sql "$TMP/twice.db" "SELECT sum(repeat_packets) FROM flow")" 1 "(a packet that two interfaces saw)"
explain "$TMP/twice.db" --packet twice.pcap:31 --evidence "$TMP/bare"
is "$status" 0 "a second sighting: explained"
like "$out" "a second sighting of packet 30 on another interface" "as one"
like "$out" "rules tried for packet twice.pcap:30" "by the packet that is counted"
explain "$TMP/twice.db" --packet twice.pcap:31 --evidence "$TMP/bare" --format json
like "$out" '"second_sighting_of":30' "in JSON too"
explain "$TMP/twice.db" --packet twice.pcap:32 --evidence "$TMP/bare"
unlike "$out" "second sighting of packet" "the packet after it is none"
fails 64 "no row of this packet, which is in no flow or a second sighting of one: give --evidence" \
	"a second sighting without the evidence" "$TMP/twice.db" --packet twice.pcap:31
done_testing
