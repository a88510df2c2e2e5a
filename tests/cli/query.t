#!/usr/bin/env bash
# pcapwho query on a small database that is made here from schema/.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top" || exit 1
build=${BUILD:-build}
pcapwho=$build/pcapwho
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export LC_ALL=C TZ=UTC
count=0

check() { # NAME, then a command that succeeds when it holds
	local name=$1
	shift
	count=$((count + 1))
	if "$@"; then echo "ok $count - $name"; else echo "not ok $count - $name"; fi
}

same() { # WANTED FOUND
	[ "$1" = "$2" ] && return 0
	diff <(printf '%s\n' "$1") <(printf '%s\n' "$2") | sed 's/^/# /'
	return 1
}

gives() { # STATUS TEXT ARGUMENTS: exit status, and text in what it says to stderr; nothing on stdout
	local wanted=$1 text=$2 status
	shift 2
	"$pcapwho" query "$@" >"$work/out" 2>"$work/err"
	status=$?
	[ $status -eq "$wanted" ] && grep -qF -- "$text" "$work/err" && [ ! -s "$work/out" ] && return 0
	echo "# status $status, wanted $wanted: $(cat "$work/err")"
	return 1
}

# A run of two processes and one that is not known, from 2026-11-21T19:50:00Z on.
# nginx (pid 412) serves two clients, curl (pid 900) has a hostile command line.
db=$work/traffic.db
cat schema/schema.sql schema/views.sql schema/indexes.sql - <<'SQL' | sqlite3 "$db" || exit 1
PRAGMA application_id = 0x70637768;
PRAGMA user_version = 10;
INSERT INTO setting VALUES ('bucket_ns', 1000000000), ('with_packets', 0);
INSERT INTO recording (recording_id, hostname) VALUES (1, 'alpha');
INSERT INTO segment (segment_id, recording_id, pcap_name, first_packet_ns, last_packet_ns, packets,
	bytes, flow_packets, frames, state) VALUES
	(1, 1, '000001.pcap', 1795290600000000000, 1795290610000000000, 21, 2100, 20, 1, 'whole');
INSERT INTO other VALUES (1, 'arp', 1, 28);
INSERT INTO process (process_id, recording_id, pid, image, uid, comm, exe, cmdline) VALUES
	(1, 1, 412, 1, 33, 'nginx', '/usr/sbin/nginx', 'nginx: worker process'),
	(2, 1, 900, 1, 1000, 'curl', '/usr/bin/curl', 'curl ' || char(27) || '[2J' || char(10) || 'x'),
	(3, 1, 413, 1, 33, 'nginx', '/usr/sbin/nginx', 'nginx: worker process');
INSERT INTO socket (socket_id, recording_id, protocol, family, local_address, local_port,
	remote_address, state, uid, inode) VALUES
	(1, 1, 'tcp', 4, '0.0.0.0', 80, NULL, 10, 0, 100),
	(2, 1, 'udp', 4, '127.0.0.1', 53, NULL, 7, 53, 101),
	(3, 1, 'tcp', 4, '192.0.2.1', 40000, '198.51.100.2', 1, 1000, 102);
INSERT INTO holder (holder_id, socket_id, process_id, fd) VALUES (1, 1, 1, 6), (2, 1, 3, 6);
INSERT INTO flow (flow_id, recording_id, segment_id, protocol, ip_version, orig_address,
	resp_address, orig_port, resp_port, start_ns, end_ns, orig_packets, orig_bytes,
	orig_payload_bytes, resp_packets, resp_bytes, resp_payload_bytes, repeat_packets) VALUES
	(1, 1, 1, 'tcp', 4, '192.0.2.1', '198.51.100.2', 40000, 443, 1795290600000000000,
	 1795290609000000000, 4, 400, 0, 6, 600000, 0, 0),
	(2, 1, 1, 'tcp', 4, '203.0.113.5', '192.0.2.1', 1234, 80, 1795290605000000000,
	 1795290606500000000, 2, 200, 0, 3, 300, 0, 0),
	(3, 1, 1, 'tcp', 4, '203.0.113.6', '192.0.2.1', 1235, 80, 1795290610000000000,
	 1795290610000000000, 3, 300, 0, 2, 200, 0, 0);
INSERT INTO connection SELECT 1, 1, 'orig', 2, 3, 'exact', NULL, 8, 2, 0, 0, 0, 0, 0, 1, NULL, 0,
	1795290600000000000, 1795290609000000000, 4, 400, 0, 6, 600000, 0, '198.51.100.2';
INSERT INTO connection SELECT 2, 2, 'resp', 1, 1, 'exact', NULL, 5, 0, 0, 0, 0, 0, 0, 1, NULL, 0,
	1795290605000000000, 1795290606500000000, 3, 300, 0, 2, 200, 0, '203.0.113.5';
INSERT INTO connection SELECT 3, 3, 'resp', NULL, NULL, NULL, 'ambiguous', 0, 0, 0, 0, 0, 0, 0, 0,
	NULL, NULL, 1795290610000000000, 1795290610000000000, 2, 200, 0, 3, 300, 0, '203.0.113.6';
INSERT INTO candidate VALUES (3, 1, 1), (3, 3, 1);
INSERT INTO traffic VALUES
	(1, 1795290600, 2, 200, 3, 500000), (1, 1795290609, 2, 200, 3, 100000),
	(2, 1795290605, 2, 200, 1, 100), (2, 1795290606, 1, 100, 1, 100),
	(3, 1795290610, 2, 200, 3, 300);
INSERT INTO process_bucket SELECT coalesce(process_id, 0), bucket, t.sent_packets, t.sent_bytes,
	t.received_packets, t.received_bytes FROM traffic t JOIN connection USING (connection_id);
INSERT INTO process_period SELECT process_id, p.buckets, bucket / p.buckets, sum(sent_packets),
	sum(sent_bytes), sum(received_packets), sum(received_bytes), max(sent_bytes + received_bytes)
	FROM process_bucket CROSS JOIN period p GROUP BY 1, 2, 3;
SQL

echo "# pcapwho: $pcapwho"

check 'top: processes by bytes, and what has no owner' same \
'hostname  process  pid   uid  sent_bytes  received_bytes  mean_per_second  peak_per_second  share_percent  remote_hosts  connections  rules            cmdline
alpha     curl     900  1000       400 B        600.0 kB          60.0 kB         500.2 kB           99.8             1            1  exact:8 ahead:2  curl \x1b[2J\nx
alpha     nginx    412    33       300 B           200 B            250 B            300 B            0.1             1            1  exact:5          nginx: worker process
alpha     -          -     -       200 B           300 B            500 B            500 B            0.1             1            1                   -' \
	"$("$pcapwho" query "$db" top)"

check 'top in a window counts what is in it' same \
$'process,pid,sent_bytes,received_bytes,connections\r\nnginx,412,200,100,1\r' \
	"$("$pcapwho" query "$db" top --since 2026-11-21T19:50:05Z --until 2026-11-21T19:50:06Z \
		--format csv | cut -d, -f2,3,5,6,11 | sed 's/\r*$/\r/')"

check '--since -1s is relative to the last packet' same \
$'"process"\n"curl"\n-' \
	"$("$pcapwho" query "$db" top --since -1s --format json |
		sed -n -e 's/.*"process":\("[a-z]*"\).*/\1/p' -e 's/.*"process":null.*/-/p' |
		sed '1i "process"')"

check '--limit' same 1 "$("$pcapwho" query "$db" top --limit 1 | tail -n +2 | wc -l)"

for pattern in 412 nginx 'ng*' /usr/sbin/nginx '*/nginx'; do
	check "--process $pattern" same $'nginx\t412' "$("$pcapwho" query "$db" top --format csv \
		--process "$pattern" | tail -n +2 | cut -d, -f2,3 --output-delimiter=$'\t')"
done

check 'connections: seen from the local end; a program that all candidates share' same \
'curl,900,192.0.2.1,40000,198.51.100.2,443,outbound,400,600000,exact
nginx,412,192.0.2.1,80,203.0.113.5,1234,inbound,300,200,exact
nginx,,192.0.2.1,80,203.0.113.6,1235,inbound,200,300,ambiguous' \
	"$("$pcapwho" query "$db" connections --format csv | tail -n +2 | grep , | cut -d, -f4,5,7-14)"

check 'connections in a window are those that overlap it' same '1 2' \
	"$("$pcapwho" query "$db" connections --since 2026-11-21T19:50:06.4Z \
		--until 2026-11-21T19:50:08Z --format json |
		sed -n 's/.*"id":\([0-9]*\).*/\1/p' | paste -sd' ')"

check 'timeline by the bucket of the database' same \
'2026-11-21T19:50:00.000000000Z curl 200 500000
2026-11-21T19:50:05.000000000Z nginx 200 100
2026-11-21T19:50:06.000000000Z nginx 100 100
2026-11-21T19:50:09.000000000Z curl 200 100000
2026-11-21T19:50:10.000000000Z  200 300' \
	"$("$pcapwho" query "$db" timeline --format csv | tr -d '\r' | tail -n +2 | cut -d, -f1,3,6,8 | tr , ' ')"

check 'timeline by a longer bucket' same \
'2026-11-21T19:50:00.000000000Z nginx 300 200
2026-11-21T19:50:00.000000000Z curl 400 600000
2026-11-21T19:50:10.000000000Z  200 300' \
	"$("$pcapwho" query "$db" timeline --bucket 10s --format csv | tr -d '\r' | tail -n +2 | cut -d, -f1,3,6,8 | tr , ' ')"

check 'talkers: process and remote host' same \
'curl,198.51.100.2,1,400,600000
nginx,203.0.113.5,1,300,200
,203.0.113.6,1,200,300' \
	"$("$pcapwho" query "$db" talkers --format csv | tail -n +2 | grep , | cut -d, -f2,4-7)"

check 'listeners: every holder, and none' same \
'tcp,0.0.0.0,80,412,nginx
tcp,0.0.0.0,80,413,nginx
udp,127.0.0.1,53,,' \
	"$("$pcapwho" query "$db" listeners --format csv | tail -n +2 | cut -d, -f2,3,4,7,8)"

check 'unattributed' same 'ambiguous,1,5,500,25.0' \
	"$("$pcapwho" query "$db" unattributed --format csv | tail -n +2 | cut -d, -f1-5)"

check 'unattributed: ambiguous says what holds of one candidate too' same \
	'no one owner is certain: table candidate has who qualifies' \
	"$("$pcapwho" query "$db" "SELECT meaning FROM unattributed WHERE reason = 'ambiguous'" --format csv |
		tail -n +2 | tr -d '\r"')"
check 'rules: packets by rule and reason' same 'exact=13 ahead=2 ambiguous=5' \
	"$("$pcapwho" query "$db" rules --format csv | tail -n +2 |
		awk -F, '$3 > 0 { printf "%s%s=%s", n++ ? " " : "", $2, $3 }')"

check 'accounting: the difference is zero' same \
$'segment,1,21,20,1,0\ntotal,,21,20,1,0' \
	"$("$pcapwho" query "$db" accounting --format csv | tail -n +2 | cut -d, -f1-6)"

check 'SQL' same $'n\r\n3\r' \
	"$("$pcapwho" query "$db" 'SELECT count(*) AS n FROM connections' --format csv)"
check 'SQL with the parameters' same $'pid\r\n412\r' \
	"$("$pcapwho" query "$db" --format csv --process nginx \
		'SELECT pid FROM connections WHERE process GLOB :process AND pid IS NOT NULL')"
check 'csv keeps the bytes of the evidence in a pipe' grep -q $'\x1b\\[2J' \
	<("$pcapwho" query "$db" 'SELECT cmdline FROM process' --format csv)
check 'a table has no control character' same '' \
	"$("$pcapwho" query "$db" 'SELECT cmdline FROM process' | tr -d '\n' | tr -dc '\000-\037\177')"
check 'json is JSON' perl -MJSON::PP -e 'my $rows = decode_json($ARGV[0]);
	exit !($rows->[1]{cmdline} eq "curl \x1b[2J\nx" && $rows->[0]{pid} == 412)' \
	"$("$pcapwho" query "$db" 'SELECT * FROM process' --format json)"

# What stands on standard error, and on a terminal that is standard output.
on_terminal() {
	script -qec "stty cols 60; '$pcapwho' query '$db' $1 2>'$work/err'" /dev/null >"$work/out"
	cat "$work/err"
}
check 'no row, on a terminal: it is said' same 'pcapwho query: no rows' "$(on_terminal 'top --process nobody')"
check 'no row, into a pipe: nothing is said' same '' "$("$pcapwho" query "$db" top --process nobody 2>&1 >/dev/null)"
check 'rows on a terminal: nothing is said' same '' "$(on_terminal top)"
check 'and they are as wide as it is, as --help says' test \
	"$(tr -d '\r' <"$work/out" | grep . | LC_ALL=C.UTF-8 wc -L)" -le 60
check '(there are lines)' grep -q nginx "$work/out"

queries=$(for file in schema/queries/*.sql; do basename "$file" .sql; done)
check '--list names the queries' same "$queries" "$("$pcapwho" query --list | awk '{ print $1 }')"
check 'a database alone lists them too' same "$queries" "$("$pcapwho" query "$db" | awk '{ print $1 }')"
check '--help goes to stdout' grep -q '^Usage: pcapwho query' <("$pcapwho" query --help 2>/dev/null)
check '--help exits 0' sh -c '"$1" query --help >/dev/null' sh "$pcapwho"

check 'no arguments: usage' gives 64 'wanted DATABASE'
check 'an unknown option: usage' gives 64 '--nonsense' "$db" top --nonsense
check 'a missing value: usage' gives 64 '--limit needs a value' "$db" top --limit
check 'a wrong value: usage' gives 64 '"ten"' "$db" top --limit ten
check 'a wrong format: usage' gives 64 '"xml"' "$db" top --format xml
check 'a wrong time: usage' gives 64 '"yesterday"' "$db" top --since yesterday
check 'a window that ends before it begins: usage' gives 64 'not before --since -5m, found "-10m"' \
	"$db" top --since -5m --until -10m
check 'a window that ends where it begins' "$pcapwho" query "$db" top --since -5m --until -5m
check 'a bucket that does not fit: usage' gives 64 'wanted a multiple of 1s, the bucket of this database, found 1500ms' "$db" timeline --bucket 1500ms
for bucket in 0 -1000000000; do
	cp "$db" "$work/bucket.db"
	sqlite3 "$work/bucket.db" "UPDATE setting SET value = $bucket WHERE key = 'bucket_ns'"
	check "a database with buckets of $bucket: refused" gives 1 'wanted a bucket of some nanoseconds' \
		"$work/bucket.db" timeline --bucket 10s
done
check 'an option that the query has not: usage' gives 64 'takes no --since' "$db" accounting --since -5m
check 'an unknown name: usage, with the names' gives 64 'connections hosts kernel_check listeners' "$db" nonsense
check 'SQL not quoted: usage' gives 64 'quote the SQL' "$db" SELECT 1
check 'wrong SQL: usage, with the place' gives 64 'no such column: pidd' "$db" 'SELECT pidd FROM process'
check 'SQL that writes: usage' gives 64 'only reads' "$db" 'DELETE FROM flow'
check 'two statements: usage' gives 64 'one statement' "$db" 'SELECT 1; SELECT 2'
check 'no such database: 66' gives 66 'No such file' "$work/none.db" top
check 'no database at all: 1' gives 1 'found a file that is not a database' README.md top
sqlite3 "$work/foreign.db" 'CREATE TABLE t (a)'
check 'a foreign database: 1' gives 1 'application_id 0x00000000' "$work/foreign.db" top
check 'a directory: 1' gives 1 'found a directory' "$work" top
cp "$db" "$work/new.db" && sqlite3 "$work/new.db" 'PRAGMA user_version = 1000'
check 'a newer database: 1' gives 1 'found version 1000' "$work/new.db" top
cp "$db" "$work/short.db" && truncate -s 8192 "$work/short.db"
check 'a database cut off: 1' gives 1 'found the end of the file, which was cut off: take another copy of it' "$work/short.db" top
check 'a full device: 1' bash -c '"$1" query "$2" top >/dev/full 2>/dev/null; [ $? -eq 1 ]' - "$pcapwho" "$db"

# Names that mean something to SQLite.
cp "$db" "$work/file:a?mode=memory#%41.db"
check 'a path is a path' same 3 \
	"$(cd "$work" && "$(realpath "$top/$pcapwho" 2>/dev/null || realpath "$pcapwho")" query \
		'file:a?mode=memory#%41.db' 'SELECT count(*) AS n FROM flow' --format csv | tr -d '\r' | tail -1)"

# WAL in a directory that cannot be written: SQLite alone refuses to open it.
mkdir "$work/readonly" && cp "$db" "$work/readonly/t.db"
sqlite3 "$work/readonly/t.db" 'PRAGMA journal_mode = wal' >/dev/null
chmod 444 "$work/readonly/t.db" && chmod 555 "$work/readonly"
as_nobody=''
if [ "$(id -u)" -eq 0 ]; then
	chmod 755 "$work"
	as_nobody='setpriv --reuid=65534 --regid=65534 --clear-groups'
fi
cp "$pcapwho" "$work/program" && chmod 755 "$work/program"
check 'read-only media, WAL: read as it is' same 3 \
	"$($as_nobody "$work/program" query "$work/readonly/t.db" 'SELECT count(*) AS n FROM flow' \
		--format csv | tr -d '\r' | tail -1)"
check 'and nothing is left beside it' same 't.db' "$(ls "$work/readonly")"

# A load that is killed when part of it is in the file already.
mkdir "$work/killed" && cp "$db" "$work/killed/t.db"
(sqlite3 "$work/killed/t.db" >/dev/null; true) 2>/dev/null <<'SQL'
PRAGMA cache_size = 2;
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
INSERT INTO traffic SELECT i + 10, i, 1, 1, 1, 1 FROM n;
UPDATE flow SET orig_packets = 99;
.shell kill -9 $PPID
SQL
cp -r "$work/killed" "$work/kept"
chmod 444 "$work/kept"/* && chmod 555 "$work/kept"
check 'the killed load left a journal' test -s "$work/killed/t.db-journal"
check 'a load that was killed is undone' same 5 \
	"$("$pcapwho" query "$work/killed/t.db" 'SELECT count(*) AS n FROM traffic' --format csv |
		tr -d '\r' | tail -1)"
check 'and its journal is gone' same 't.db' "$(ls "$work/killed")"
check 'read-only media, a load killed: refused' same '1 an interrupted load' \
	"$($as_nobody "$work/program" query "$work/kept/t.db" top >/dev/null 2>"$work/err"
		echo "$? $(grep -o 'an interrupted load' "$work/err")")"
chmod 755 "$work/kept" "$work/readonly"

# The outer flow of a tunnel goes from curl (pid 900) to nginx (pid 412) at its originating end.
cp "$db" "$work/tunnel.db"
sqlite3 "$work/tunnel.db" <<'SQL'
INSERT INTO connection SELECT 4, 1, 'orig', 1, 3, 'exact', NULL, 1, 0, 0, 0, 0, 0, 0, 1, NULL, 0,
	1795290609000000000, 1795290609000000000, 1, 100, 0, 0, 0, 0, '198.51.100.2';
INSERT INTO tunnel (tunnel_id, flow_id, depth, tunnel_type, segment_id, protocol, ip_version, orig_address,
	resp_address, orig_port, resp_port, start_ns, end_ns, orig_packets, orig_bytes, orig_payload_bytes,
	resp_packets, resp_bytes, resp_payload_bytes) VALUES
	(1, 1, 1, 'Tunnel::IP', 1, 'udp', 4, '10.9.0.1', '10.9.0.2', 5000, 53, 1795290600000000000,
	 1795290609000000000, 4, 200, 0, 4, 200, 0);
SQL
for wanted in '*' curl 412 '/usr/sbin/*' sshd; do
	check "tunnels --process $wanted: of two owners, none is named" same \
		"$([ "$wanted" = sshd ] && echo '[]' || echo '[{"id":1,"process":null,"pid":null}]')" \
		"$("$pcapwho" query "$work/tunnel.db" tunnels --format json --process "$wanted" |
			jq -c '[.[] | {id, process, pid}]')"
done

# Another machine of that name, whose tunnel has the same addresses: two conversations of two hosts.
sqlite3 "$work/tunnel.db" <<'SQL'
INSERT INTO recording (recording_id, hostname, machine_id) VALUES (2, 'alpha', 'm2');
INSERT INTO flow SELECT 4, 2, segment_id, protocol, ip_version, orig_address, resp_address, orig_port, resp_port,
	icmp_id, start_ns, end_ns, orig_packets, orig_bytes, orig_payload_bytes, resp_packets, resp_bytes,
	resp_payload_bytes, repeat_packets, conn_state, history, community_id, ifindex, vlan, inner_vlan,
	first_packet_number, first_packet_offset, carries, carried_packets, carried_other_packets,
	carried_unreadable_packets FROM flow WHERE flow_id = 1;
INSERT INTO connection SELECT 5, 4, "end", NULL, NULL, NULL, 'gap', 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, start_ns,
	end_ns, sent_packets, sent_bytes, 0, received_packets, received_bytes, 0, remote_address
	FROM connection WHERE connection_id = 1;
INSERT INTO tunnel (tunnel_id, flow_id, depth, tunnel_type, segment_id, protocol, ip_version, orig_address,
	resp_address, orig_port, resp_port, start_ns, end_ns, orig_packets, orig_bytes, orig_payload_bytes,
	resp_packets, resp_bytes, resp_payload_bytes) SELECT 2, 4, 1, tunnel_type, 1, protocol, 4, orig_address,
	resp_address, orig_port, resp_port, start_ns, end_ns, 40, 2000, 0, 40, 2000, 0 FROM tunnel;
SQL
for host in '' alpha@ alpha@m2; do
	check "tunnels of two machines of one name${host:+, of $host}" same \
		"$(printf '%s\n' 'alpha@,4,200' 'alpha@m2,40,2000' | grep "$host,")" \
		"$("$pcapwho" query "$work/tunnel.db" tunnels ${host:+--host "$host"} --format json |
			jq -r '.[] | "\(.hostname),\(.orig_packets),\(.orig_bytes)"')"
done

check 'schema/README.md says what columns.tsv says' same "$(sh schema/describe.sh readme)" "$(cat schema/README.md)"
check 'schema/metadata.json says what columns.tsv says' same "$(sh schema/describe.sh metadata)" "$(cat schema/metadata.json)"

echo "1..$count"
