#!/bin/bash
# What goes wrong: one line that names the thing, the right exit status, and
# nothing half-written.
# lib.sh and spawn assign by name.
# shellcheck disable=SC2034,SC2154
. "${0%/*}/lib.sh"
need_root
need_program "$PCAPWHO" "$PCAPWHO_RECORD"
need_command perl sqlite3 ip setpriv unshare mount
if [ -z "${ERRORS_T_INSIDE:-}" ]; then
	unshare --net --mount true 2>/dev/null || skip_all "needs to make network and mount namespaces"
	rm -rf "$TMP"
	trap - EXIT
	ERRORS_T_INSIDE=1 BUILD=$BUILD exec unshare --net --mount bash "$0"
fi
ip link set lo up

mkdir "$TMP/w"
cd "$TMP/w" || bail "no directory"
printf '%s\n' "1795290600000000000 udp 192.0.2.1 4000 192.0.2.2 53 20" |
	perl "$ROOT/tests/make_pcap.pl" ether >good.pcap
"$PCAPWHO" analyze -q good.pcap -o good.db || bail "cannot analyze at all"
everything() { find . -mindepth 1 -printf '%p %y %m ' -type f -exec sha256sum {} \; -o -mindepth 1 -printf '\n' | sort; }

# fails STATUS NAMED WHAT COMMAND…: this status; one line on standard error that
# has NAMED in it; nothing on standard output; no file made, changed or removed.
fails() {
	local wanted=$1 named=$2 what=$3 before
	shift 3
	before=$(everything)
	run "$@"
	is "$status" "$wanted" "$what: exit status $wanted" || diag "$err"
	[ "$(printf '%s\n' "$err" | wc -l)" -eq 1 ] && [[ $err == *"$named"* ]] && [ -z "$out" ]
	result $? "$what: one line that names it" || diag "     got: $err" "  wanted: $named"
	is "$(everything)" "$before" "$what: nothing made, nothing changed"
}
# usage NAMED WHAT COMMAND…: the same for a wrong command line, where a second
# line may say where help is.
usage() {
	local named=$1 what=$2 before
	shift 2
	before=$(everything)
	run "$@"
	is "$status" 64 "$what: exit status 64" || diag "$err"
	[ "$(printf '%s\n' "$err" | wc -l)" -le 2 ] && [[ $err == *"$named"* ]] && [ -z "$out" ]
	result $? "$what: it is named" || diag "     got: $err" "  wanted: $named"
	is "$(everything)" "$before" "$what: nothing made"
}

# ---- analyze: what it is given ----
echo "these are not packets, and there are quite a few of them" >text
: >nothing
head -c 3 good.pcap >three.pcap
gzip -c text >text.gz
mkdir empty other
echo x >other/readme
mkfifo pipe
ln -s nowhere dangling
fails 1 "text" "a text file" "$PCAPWHO" analyze text -o new.db
fails 1 "nothing" "an empty file" "$PCAPWHO" analyze nothing -o new.db
fails 1 "three.pcap" "three bytes of a capture" "$PCAPWHO" analyze three.pcap -o new.db
fails 1 "text.gz" "text in gzip" "$PCAPWHO" analyze text.gz -o new.db
head -c 90 good.pcap >torn.pcap
run "$PCAPWHO" analyze torn.pcap -o torn.db
like "$status$err" "^2pcapwho analyze: torn.pcap: at byte" "a capture that breaks off: named as it was given"
rm torn.db
fails 66 "missing.pcap" "a file that is missing" "$PCAPWHO" analyze missing.pcap -o new.db
fails 66 "missing/dir" "a directory that is missing" "$PCAPWHO" analyze missing/dir -o new.db
fails 66 "dangling" "a link to nowhere" "$PCAPWHO" analyze dangling -o new.db
fails 66 "empty" "an empty directory" "$PCAPWHO" analyze empty -o new.db
fails 66 "other" "a directory without segments" "$PCAPWHO" analyze other -o new.db
fails 1 "text" "one bad among good ones" "$PCAPWHO" analyze good.pcap text -o new.db
fails 66 "missing.pcap" "one missing, added to a database" "$PCAPWHO" analyze good.pcap missing.pcap -o good.db
for command in "analyze -o new.db" "query" "explain --flow 1" "merge new.db" "index"; do
	# shellcheck disable=SC2086
	fails 66 ' "": ' "$command: a name that is empty" "$PCAPWHO" $command ""
done

# ---- analyze: where it is to go ----
sqlite3 foreign.db "CREATE TABLE t (x); INSERT INTO t VALUES (1)"
cp good.db newer.db
sqlite3 newer.db "PRAGMA user_version = 1000"
head -c 6000 good.db >short.db
printf '%s\n' "1795290600000000001 udp 192.0.2.1 4000 192.0.2.2 53 21" |
	perl "$ROOT/tests/make_pcap.pl" ether >second.pcap
fails 1 "foreign.db" "a database that is not ours" "$PCAPWHO" analyze second.pcap -o foreign.db
fails 1 "newer.db" "a database of another version" "$PCAPWHO" analyze second.pcap -o newer.db
fails 1 "short.db" "a database that was cut" "$PCAPWHO" analyze second.pcap -o short.db
# A view that would never end, in the place of a table of which the first row is asked for.
for table in period rule carry; do
	cp good.db endless.db
	sqlite3 endless.db "DROP TABLE $table; CREATE VIEW $table AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
		SELECT i AS buckets, i AS part, i AS ${table}_code, i AS rule, i AS seq, i AS kind, i AS state FROM n WHERE i < 0"
	before=$(cksum endless.db)
	fails 1 "endless.db: wanted the tables of this version, found no table $table" "a view for the table $table" \
		timeout -s KILL 60 "$PCAPWHO" analyze second.pcap -o endless.db
	is "$(cksum endless.db)" "$before" "which stays as it is"
done
fails 1 "text" "a text file as -o" "$PCAPWHO" analyze second.pcap -o text
fails 1 "nothing" "an empty file as -o" "$PCAPWHO" analyze second.pcap -o nothing
fails 1 "empty" "a directory as -o" "$PCAPWHO" analyze second.pcap -o empty
fails 1 "missing/new.db: create: No such file or directory: make its directory first" "-o in a missing directory" "$PCAPWHO" analyze second.pcap -o missing/new.db
fails 1 "text/new.db" "-o below a file" "$PCAPWHO" analyze second.pcap -o text/new.db
fails 64 "good.db" "--packets on a database without" "$PCAPWHO" analyze --packets second.pcap -o good.db
fails 64 "good.db: its buckets are of 1s, and not of 250ms" "another bucket than the database's" "$PCAPWHO" analyze --bucket 250ms second.pcap -o good.db
touch new.db-journal other.db-wal
fails 64 "new.db-journal: belongs to a database that is gone" "beside the journal of another" "$PCAPWHO" analyze second.pcap -o new.db
fails 64 "other.db-wal: belongs to a database that is gone" "beside the log of another" "$PCAPWHO" merge other.db good.db
rm new.db-journal other.db-wal

# ---- a load that was interrupted ----
# journal DATABASE [VICTIM]: makes SQLite think of a load to be undone; with VICTIM its record is
# of several databases, whose common journal VICTIM is removed once all is undone.
journal() {
	perl -e 'my ($db, $victim) = @ARGV; open my $f, "<:raw", $db or die; read $f, my $page, 18; my $size = unpack "n", substr $page, 16;
		my $magic = pack "C*", 0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7; my $sum = 0; $sum += ord for split //, $victim // "";
		open my $j, ">:raw", "$db-journal" or die; print $j pack "a512", $magic . pack "N5", 0, 0x1234, (-s $db) / $size, 512, $size;
		print $j pack("N", 0x40000000 / $size + 1), $victim, pack("N2", length $victim, $sum), $magic if defined $victim' "$@"
}
cp good.db hot.db
"$PCAPWHO" merge -q merged.db good.db
echo precious >victim
journal hot.db "$PWD/victim"
journal merged.db "$PWD/victim"
for command in "query hot.db top" "analyze second.pcap -o hot.db" "merge merged.db good.db"; do
	# shellcheck disable=SC2086
	fails 1 ".db-journal: at byte" "$command: a journal that names another file" "$PCAPWHO" $command
done
ln -s hot.db hotlink.db
fails 1 "hot.db-journal: at byte" "the same through a symbolic link" "$PCAPWHO" query hotlink.db top
journal hot.db
for database in hot.db hotlink.db; do
	fails 1 "$database: an interrupted load has to be undone first" "merge of $database, which is not undone" "$PCAPWHO" merge new.db "$database"
done
run "$PCAPWHO" query hot.db top
is "$status$err$(ls hot.db-journal 2>/dev/null)" 0 "query undoes it"
run "$PCAPWHO" merge -q new.db hot.db
is "$status$err" 0 "and then it can be merged"
journal merged.db
run "$PCAPWHO" merge -q merged.db hot.db
is "$status$err$(ls merged.db-journal 2>/dev/null)" 0 "into what is merged to: it is undone"
rm new.db merged.db hotlink.db

# ---- analyze: the command line ----
usage "--nonsense" "an unknown option" "$PCAPWHO" analyze --nonsense good.pcap
usage "nothing to analyze" "no input" "$PCAPWHO" analyze -o new.db
usage "soon" "a bucket that is none" "$PCAPWHO" analyze --bucket soon good.pcap -o new.db
usage "--bucket" "a bucket of nothing" "$PCAPWHO" analyze --bucket 0s good.pcap -o new.db
usage "many" "workers that are no number" "$PCAPWHO" analyze -j many good.pcap -o new.db
usage "-o needs a value" "an option without its value" "$PCAPWHO" analyze good.pcap -o
usage "dance" "an unknown verb" "$PCAPWHO" dance

# ---- analyze: more workers than descriptors ----
# Captures enough for each worker to have some open.
mkdir many
for i in {100..399}; do
	echo "1795290600000000$i udp 192.0.2.1 4$i 192.0.2.2 53 20" | perl "$ROOT/tests/make_pcap.pl" ether >many/$i.pcap
done
for limit in -n -Sn; do
	rm -f many.db
	run bash -c "ulimit $limit 40 && exec \"\$@\"" - "$PCAPWHO" analyze -q -j1024 -o many.db many/*.pcap
	is "$status$err" 0 "-j1024 with 40 descriptors (ulimit $limit)"
	is "$(sqlite3 -readonly many.db "SELECT count(*) FROM segment")" 300 "everything loads"
done
rm -r many many.db

# ---- analyze: a full disk ----
# A file of this many connections is larger than the disk.
mkdir small
mount -t tmpfs -o size=1m none small || bail "cannot mount a small disk"
at_exit umount "$PWD/small"
for i in {1..4000}; do
	echo "$((1795290600000000000 + i * 1000)) udp 192.0.2.1 $((i + 1000)) 192.0.2.2 53 20"
done | perl "$ROOT/tests/make_pcap.pl" ether >large.pcap
"$PCAPWHO" analyze -q large.pcap -o large.db
ok "(the database is larger than the disk)" test "$(stat -c %s large.db)" -gt 1048576
fails 1 "small/new.db" "analyze to a full disk" "$PCAPWHO" analyze large.pcap -o small/new.db
cp good.db small/have.db
fails 1 "small/have.db" "adding to a database on a full disk" "$PCAPWHO" analyze large.pcap -o small/have.db
run "$PCAPWHO" analyze -q second.pcap -o small/have.db
is "$status$err" 0 "what fits is added to it afterwards"
is "$(sqlite3 -readonly small/have.db "SELECT count(*) FROM segment; PRAGMA integrity_check")" $'2\nok' "and it is sound"
rm small/*

# ---- record ----
fails 66 "nosuch0" "an interface that is not there" "$PCAPWHO_RECORD" -o new -i nosuch0
fails 64 "tcp prot 3" "a filter that is none" "$PCAPWHO_RECORD" -o new -f "tcp prot 3"
fails 1 "text" "a file as its directory" "$PCAPWHO_RECORD" -o text --duration 10ms
fails 66 "missing/new" "a directory in a missing one" "$PCAPWHO_RECORD" -o missing/new --duration 10ms
fails 1 "root" "without privilege" setpriv --reuid=65534 --regid=65534 --clear-groups "$PCAPWHO_RECORD" -o new
fails 64 "nobody-of-this-name" "a user that is not there" "$PCAPWHO_RECORD" -o new --user nobody-of-this-name
usage "--nonsense" "an unknown option of record" "$PCAPWHO_RECORD" -o new --nonsense
usage "-o" "record without -o" "$PCAPWHO_RECORD"
usage "soon" "an interval that is none" "$PCAPWHO_RECORD" -o new --interval soon
usage "9X" "a size that is none" "$PCAPWHO_RECORD" -o new --rotate-size 9X

# ---- record: a full disk ----
# Goes on, says so, and what it wrote can be read. UDP to nobody, 64 KiB each.
run timeout 60 "$PCAPWHO_RECORD" -o small/evidence --interval 100ms --cpu-budget 50% -- perl -MSocket -e '
	socket my $s, AF_INET, SOCK_DGRAM, 0 or die; my $to = pack_sockaddr_in(9, inet_aton("127.0.0.1"));
	send $s, "x" x 60000, 0, $to for 1 .. 60'
is "$status" 0 "record to a full disk goes on: the exit status is the command's" || diag "$err"
like "$err" "small/evidence: writing .*No space left on device" "it says which file found no space"
like "$err" "[1-9][0-9]* packets lost" "and how many packets are lost"
run "$PCAPWHO" analyze small/evidence -o full.db
like "$status" "^[02]$" "what it wrote can be loaded" || diag "$err"
is "$(sqlite3 -readonly full.db "SELECT sum(difference <> 0) FROM accounting")" 0 "and is accounted for"
captured=$(sqlite3 -readonly full.db "SELECT sum(packets) FROM segment")
ok "it has packets ($captured)" test "$captured" -gt 0
is "$(sqlite3 -readonly full.db "SELECT count(*) > 0 FROM coverage WHERE kind IN ('dropped', 'lost', 'torn', 'damaged', 'paused')")" 1 \
	"and coverage says that something is missing"

# ---- query and import, in short ----
fails 66 "missing.db" "query of a database that is missing" "$PCAPWHO" query missing.db top
fails 1 "text" "query of a text file" "$PCAPWHO" query text top
fails 1 "foreign.db" "query of a database that is not ours" "$PCAPWHO" query foreign.db top
fails 66 "missing.txt" "import of a missing file" "$PCAPWHO" import --time 2014-11-19T12:52:00Z --tcp missing.txt -o new
done_testing
