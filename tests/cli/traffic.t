#!/bin/bash
# Real programs, recorded and analyzed: every process that could be seen owns its
# own packets, no process ever owns those of another, and every packet is counted.
# PCAPWHO_LARGE=1: the download is 100 MB instead of 20.
# lib.sh and spawn assign by name.
# shellcheck disable=SC2034,SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO" "$PCAPWHO_RECORD"
need_command ip ss nginx curl dig dnsmasq socat tcpdump capinfos mergecap tshark sqlite3
own_network

netns_add PEER
veth_add "" w0 "192.0.2.1/24 2001:db8::1/64" "$PEER" w1 "192.0.2.2/24 2001:db8::2/64"
chmod 755 "$TMP" # for servers that are not root
mkdir "$TMP/www" "$TMP/evidence" "$TMP/go"
head -c 1000000 /dev/urandom >"$TMP/www/slow"
head -c 400000 /dev/urandom >"$TMP/www/short"

sql() { sqlite3 -readonly -batch "$DB" "$@"; }

# ---- what is true: who has which local port ----
# A client is given its local port before it starts, so the truth needs no tool
# that looks at sockets. In this namespace all ports are free.
NEXT_PORT=40001
: >"$TMP/truth"
new_port() { local -n chosen=$1; chosen=$NEXT_PORT; NEXT_PORT=$((NEXT_PORT + 1)); }
# truth PROTOCOL PORT PID LIFE: LIFE long when it was still there two polls after
# its connection was made, else short.
truth() { printf '%s,%s,%s,%s\n' "$@" >>"$TMP/truth"; }

# ---- the recorder ----
# Frames that are in the open snapshot file, and a way to see two more begin.
frames() { zcat "$EVIDENCE"/*.snap.gz.part 2>/dev/null | grep -c "^end"; }
more_frames() { [ "$(frames)" -ge "$1" ]; }
two_polls() { wait_until 20 more_frames $(($(frames) + 2)); }
record() { # OPTION…
	spawn RECORDER "$PCAPWHO_RECORD" -q -o "$EVIDENCE" --interval 100ms --cpu-budget 50% -B 64 "$@" \
		2>"$TMP/record.err"
	wait_until 20 more_frames 1 || bail "no recording: $(<"$TMP/record.err")"
}
stop_recording() {
	kill -TERM "$RECORDER"
	wait "$RECORDER"
}
# The programs that are to be seen run until this says so.
connected() { # PROTOCOL PORT [NAMESPACE]
	${3:+in_netns "$3"} ss -Han "--$1" "sport = :$2" | grep -Eq '^(ESTAB|UNCONN)'
}
# expect PROTOCOL PORT PID [NAMESPACE]: one that is to be there; all_seen waits until
# all of them are, and then for two polls.
EXPECTED=()
expect() { EXPECTED+=("$*"); }
all_seen() {
	local words
	for words in "${EXPECTED[@]}"; do
		set -- $words
		wait_until 20 connected "$1" "$2" ${4:+"$4"}
	done
	two_polls
	for words in "${EXPECTED[@]}"; do
		set -- $words
		if connected "$1" "$2" ${4:+"$4"} && kill -0 "$3"; then
			truth "$1" "$2" "$3" long
		else
			truth "$1" "$2" "$3" short
			diag "$words ended before it was seen"
		fi
	done
	EXPECTED=()
}

packets_of() { capinfos -Mrc "$@" | awk '{sum += $NF} END {print sum + 0}'; }

# ---- checks that every recording has to pass ----
check_accounts() { # NAME
	local pcaps=("$EVIDENCE"/*.pcap)
	is "$(sql "SELECT (SELECT sum(orig_packets + resp_packets + repeat_packets) FROM flow)
		+ coalesce((SELECT sum(packets) FROM other), 0)")" "$(packets_of "${pcaps[@]}")" \
		"$1: packets in flows and in none are those that capinfos counts"
	is "$(sql "SELECT pcap_name || ' ' || (SELECT flow_packets + coalesce(sum(packets), 0) FROM other o
		WHERE o.segment_id = g.segment_id) FROM segment g ORDER BY 1")" \
		"$(for pcap in "${pcaps[@]}"; do echo "${pcap##*/} $(packets_of "$pcap")"; done | sort)" \
		"$1: segment by segment too"
	is "$(sql "SELECT sum(difference <> 0) FROM accounting")" 0 "$1: the difference is zero"
	is "$(sql "SELECT count(*) FROM coverage WHERE kind = 'dropped'; SELECT sum(coalesce(dropped, 0)) FROM segment")" \
		$'0\n0' "$1: nothing was dropped"
	is "$(sql "SELECT count(*) FROM connection WHERE (process_id IS NULL) = (reason IS NULL)")" 0 \
		"$1: each connection has an owner or a reason"
}

# Ends whose truth is known: with the one and only process that can have them.
check_owners() { # NAME
	{
		echo "CREATE TABLE truth (protocol, port, pid, life);"
		sed "s/^/INSERT INTO truth VALUES ('/; s/,/','/g; s/\$/');/" "$TMP/truth"
		echo "ATTACH 'file:$DB?mode=ro' AS db;
		CREATE TEMP VIEW known AS SELECT c.*, t.pid AS true_pid, t.life FROM db.connections c
			JOIN truth t ON t.protocol = c.protocol AND t.port = c.local_port;"
	} >"$TMP/truth.sql"
	known() { sqlite3 -batch -cmd ".read $TMP/truth.sql" "file:$TMP/known.db?mode=memory" "$1"; }
	is "$(known "SELECT protocol, local_address, local_port, remote_port, 'owner', pid, process, 'truth', true_pid, rule
		FROM known WHERE pid IS NOT NULL AND pid <> CAST(true_pid AS INTEGER)")" "" "$1: no end has a wrong owner"
	# A datagram in the clock tick in which its process started, or after the last
	# snapshot that had its socket, is not claimed.
	is "$(known "SELECT protocol, local_address, local_port, remote_port, reason, true_pid FROM known
		WHERE life = 'long' AND pid IS NULL AND NOT (protocol = 'udp' AND reason = 'gap')
		AND remote_port NOT IN (SELECT port FROM truth WHERE life = 'short')")" "" \
		"$1: each that lived for two polls has its owner"
	is "$(known "SELECT protocol, port, pid FROM truth t WHERE life = 'long' AND NOT EXISTS
		(SELECT 1 FROM known k WHERE k.protocol = t.protocol AND k.local_port = t.port)")" "" \
		"$1: and is in the database"
	diag "$1: $(known "SELECT count(*) || ' ends known, ' || sum(pid IS NOT NULL) || ' with owner; without: '
		|| coalesce(group_concat(DISTINCT reason), 'none') FROM known")"
}

# ---- servers: one process each, so that its pid is $! ----
cat >"$TMP/nginx.conf" <<EOT
daemon off;
master_process off;
user root;
pid $TMP/nginx.pid;
error_log $TMP/nginx.log;
events { worker_connections 256; }
http {
	access_log off;
	client_max_body_size 50m;
	client_body_temp_path $TMP/body;
	proxy_temp_path $TMP/proxy;
	fastcgi_temp_path $TMP/fastcgi;
	uwsgi_temp_path $TMP/uwsgi;
	scgi_temp_path $TMP/scgi;
	server {
		listen 80;
		listen [::]:80 ipv6only=on;
		root $TMP/www;
		# The sender keeps to a rate; curl's own limit begins behind a large buffer.
		location /slow { limit_rate 250k; }
		location /more { limit_rate 1m; }
		location /large { limit_rate 8m; }
		# Reads the whole body before it answers.
		location /post { proxy_pass http://127.0.0.1:80/posted; }
		location /posted { return 200 "thank you\n"; }
	}
}
EOT
spawn NGINX nginx -e "$TMP/nginx.log" -c "$TMP/nginx.conf"
wait_until 10 listening 80 || bail "nginx: $(<"$TMP/nginx.log")"
truth tcp 80 "$NGINX" long

# Asks nobody and answers at once; it has a child for each TCP connection.
dns_server() { # VARIABLE PORT OPTION…
	local variable=$1 port=$2
	shift 2
	spawn "$variable" dnsmasq --keep-in-foreground --conf-file=/dev/null --log-facility="$TMP/dns.log" --pid-file= \
		--user=root --no-resolv --no-hosts --cache-size=0 --bind-interfaces --port="$port" "$@"
	wait_until 10 listening "$port" || bail "dnsmasq: $(<"$TMP/dns.log")"
}
dns_server DNS 53 --listen-address=127.0.0.1,::1,192.0.2.1,2001:db8::1 --address=/fast.test/192.0.2.9
truth udp 53 "$DNS" short # its children for TCP have these sockets too, for a while
# Takes questions, and never answers.
spawn SILENT socat -u UDP4-RECV:5300,bind=127.0.0.1 /dev/null
truth udp 5300 "$SILENT" long
wait_until 10 listening 5300

EVIDENCE=$TMP/evidence DB=$TMP/traffic.db
record

# ---- the programs ----
# Standard input of a program that is to last until the test says so.
lasting() { echo "$1"; while [ -d "$TMP" ] && [ ! -e "$TMP/go/all" ]; do sleep 0.02; done; }
client() { # VARIABLE COMMAND…: with what it says kept
	local variable=$1
	shift
	spawn "$variable" "$@" >"$TMP/client.$NEXT_PORT.out" 2>"$TMP/client.$NEXT_PORT.err"
}

# Slow downloads, IPv4 and IPv6, over loopback and over the cable.
declare -A DOWNLOAD WHERE
for url in http://127.0.0.1/slow 'http://[::1]/slow' http://192.0.2.1/slow; do
	new_port port
	client pid curl -sS -g --local-port "$port" -o /dev/null "$url"
	WHERE[$port]=
	DOWNLOAD[$port]=$pid
done
for url in http://192.0.2.1/slow 'http://[2001:db8::1]/slow'; do
	new_port port
	# nsenter becomes the program: the pid is curl's.
	client pid nsenter --net="/run/netns/$PEER" curl -sS -g --local-port "$port" \
		-o /dev/null "$url"
	WHERE[$port]=$PEER
	DOWNLOAD[$port]=$pid
done
for port in "${!DOWNLOAD[@]}"; do
	expect tcp "$port" "${DOWNLOAD[$port]}" "${WHERE[$port]}"
done

# A POST that lasts as long as its body, which comes from here.
new_port POST
client POSTER curl -sS --local-port "$POST" -T - -X POST http://127.0.0.1/post < <(lasting "first words")
# netcat, both ends, held open by what it reads.
new_port NC_SERVER
client LISTENER nc -d -l 127.0.0.1 "$NC_SERVER"
wait_until 10 listening "$NC_SERVER"
new_port NC_CLIENT
client TALKER nc -N -p "$NC_CLIENT" 127.0.0.1 "$NC_SERVER" < <(lasting "hello")
# UDP conversations by socat: over loopback, and from the namespace over the cable.
new_port UDP_SERVER
client UDP_LISTENER socat -T 60 -u "UDP4-LISTEN:$UDP_SERVER,bind=127.0.0.1" /dev/null
wait_until 10 listening "$UDP_SERVER"
new_port UDP_CLIENT
client UDP_TALKER socat -u - "UDP4:127.0.0.1:$UDP_SERVER,sourceport=$UDP_CLIENT" < <(lasting "datagram")
new_port FAR_SERVER
client FAR_LISTENER socat -T 60 -u "UDP6-LISTEN:$FAR_SERVER,bind=[2001:db8::1]" /dev/null
wait_until 10 listening "$FAR_SERVER"
new_port FAR_CLIENT
client FAR_TALKER nsenter --net="/run/netns/$PEER" socat -u - \
	"UDP6:[2001:db8::1]:$FAR_SERVER,sourceport=$FAR_CLIENT" < <(lasting "datagram")
# dig that waits for its answer over UDP, and has more to ask over TCP.
new_port DIG_UDP
client DIGGER dig -b "127.0.0.1#$DIG_UDP" -p 5300 @127.0.0.1 one.slow.test +tries=1 +timeout=5
new_port DIG_TCP
client TCP_DIGGER dig -b "127.0.0.1#$DIG_TCP" @127.0.0.1 -f - +tcp +keepopen < <(lasting two.fast.test)

expect tcp "$POST" "$POSTER"
expect tcp "$NC_SERVER" "$LISTENER"
expect tcp "$NC_CLIENT" "$TALKER"
expect udp "$UDP_SERVER" "$UDP_LISTENER"
expect udp "$UDP_CLIENT" "$UDP_TALKER"
expect udp "$FAR_SERVER" "$FAR_LISTENER"
expect udp "$FAR_CLIENT" "$FAR_TALKER" "$PEER"
expect udp "$DIG_UDP" "$DIGGER"
expect tcp "$DIG_TCP" "$TCP_DIGGER"
all_seen

# Short ones meanwhile: too short for any poll, but none may have a wrong owner.
for i in 1 2 3 4 5 6 7 8; do
	new_port port
	curl -sS --local-port "$port" -o /dev/null http://127.0.0.1/short &
	truth tcp "$port" $! short
	new_port port
	dig -b "127.0.0.1#$port" @127.0.0.1 "$i.fast.test" +short >/dev/null &
	truth udp "$port" $! short
	new_port port
	dig -b "::1#$port" @::1 "$i.fast.test" +short +tcp >/dev/null &
	truth tcp "$port" $! short
	wait %% 2>/dev/null
done
# Keep-alive: three requests, one connection.
new_port KEPT
curl -sS --local-port "$KEPT" -w '%{num_connects} ' -o /dev/null http://127.0.0.1/short \
	-o /dev/null http://127.0.0.1/short -o /dev/null http://127.0.0.1/short >"$TMP/kept" &
truth tcp "$KEPT" $! short
wait $!
is "$(<"$TMP/kept")" "1 0 0 " "curl kept its connection for three requests"

# ssh, the client's pid known, the server's processes known by their parent.
SSH=
if command -v sshd >/dev/null && command -v ssh >/dev/null; then
	mkdir -p /run/sshd
	mkdir -m 700 "$TMP/ssh"
	ssh-keygen -q -t ed25519 -N '' -f "$TMP/ssh/host"
	ssh-keygen -q -t ed25519 -N '' -f "$TMP/ssh/user"
	cp "$TMP/ssh/user.pub" "$TMP/ssh/authorized"
	spawn SSHD "$(command -v sshd)" -D -e -f /dev/null -o Port=22 -o ListenAddress=127.0.0.1 \
		-o "HostKey=$TMP/ssh/host" -o "AuthorizedKeysFile=$TMP/ssh/authorized" -o StrictModes=no \
		-o UsePAM=no -o PidFile=none -o PermitRootLogin=yes 2>"$TMP/sshd.err"
	wait_until 10 listening 22
	spawn SSH ssh -F /dev/null -i "$TMP/ssh/user" -o StrictHostKeyChecking=no -o BatchMode=yes \
		-o "UserKnownHostsFile=$TMP/ssh/known" -o GlobalKnownHostsFile=/dev/null -p 22 root@127.0.0.1 \
		"echo logged in; cat" < <(lasting "") >"$TMP/ssh/out" 2>"$TMP/ssh/err"
	if wait_until 15 grep -q "logged in" "$TMP/ssh/out"; then
		SSH_PORT=$(ss -Htn "dport = :22" | awk '{sub(/.*:/, "", $4); print $4}')
		two_polls
		truth tcp "$SSH_PORT" "$SSH" long
	else
		diag "no ssh session: $(<"$TMP/ssh/err") $(<"$TMP/sshd.err")"
		SSH=
	fi
fi

# Echoes, over loopback and over the cable.
PING=
if command -v ping >/dev/null && ping -c 1 -W 2 127.0.0.1 >/dev/null 2>&1; then
	spawn PING ping -n -i 0.2 192.0.2.2 >"$TMP/ping.out"
	wait_until 10 grep -q "bytes from" "$TMP/ping.out"
	two_polls
	kill -INT "$PING"
	wait "$PING"
fi

# Everybody may go.
touch "$TMP/go/all"
wait "$POSTER" "$TALKER" "$LISTENER" "$UDP_TALKER" "$FAR_TALKER" "$DIGGER" "$TCP_DIGGER"
for port in "${!DOWNLOAD[@]}"; do
	wait "${DOWNLOAD[$port]}" || diag "a download failed"
done
kill "$UDP_LISTENER" "$FAR_LISTENER" 2>/dev/null
stop_recording
is $? 0 "the recorder ends cleanly"

run "$PCAPWHO" analyze -q "$EVIDENCE" -o "$DB"
is "$status$err" 0 "all kinds of traffic load"
check_accounts "all kinds"
check_owners "all kinds"

owner() { sql "SELECT pid FROM connections WHERE protocol = '$1' AND local_port = $2 AND remote_port = $3"; }
for port in "${!DOWNLOAD[@]}"; do
	is "$(owner tcp "$port" 80) $(owner tcp 80 "$port")" "${DOWNLOAD[$port]} $NGINX" \
		"both ends of $(sql "SELECT orig_address || ' to ' || resp_address FROM flow WHERE orig_port = $port"): curl and nginx"
done
is "$(owner tcp "$NC_CLIENT" "$NC_SERVER") $(owner tcp "$NC_SERVER" "$NC_CLIENT")" "$TALKER $LISTENER" "both ends of netcat's"
like "$(owner udp "$UDP_CLIENT" "$UDP_SERVER" | grep .) $(owner udp "$UDP_SERVER" "$UDP_CLIENT" | grep .)" \
	"^($UDP_TALKER)? ($UDP_LISTENER)?\$" "no other process on socat's ends, UDP"
is "$(sql "SELECT count(*) FROM flow WHERE orig_port = $KEPT OR resp_port = $KEPT")" 1 "keep-alive is one conversation"
is "$(sql "SELECT count(*) FROM flow WHERE protocol = 'udp' AND resp_port = $UDP_SERVER")" 1 "so is each of UDP"
is "$(sql "SELECT sum(n > 1) FROM (SELECT count(*) n FROM flow WHERE protocol = 'tcp'
	GROUP BY orig_address, orig_port, resp_address, resp_port)")" 0 "each TCP connection is one row"
is "$(sql "SELECT count(*) FROM flow WHERE protocol = 'tcp'")" \
	"$(mergecap -w - "$EVIDENCE"/*.pcap | tshark -nr - -Y tcp -T fields -e tcp.stream 2>/dev/null | sort -u | wc -l)" \
	"as many as tshark finds"
if [ -n "$SSH" ]; then
	is "$(owner tcp "$SSH_PORT" 22)" "$SSH" "ssh: the client"
	is "$(sql "WITH RECURSIVE ours (pid) AS (SELECT $SSHD UNION SELECT p.pid FROM process p JOIN ours ON p.ppid = ours.pid)
		SELECT count(*) > 0, sum(pid = $SSHD), sum(pid NOT IN ours) FROM connections
		WHERE protocol = 'tcp' AND local_port = 22 AND pid IS NOT NULL")" "1|0|0" "ssh: the server's processes of this session, not the listening one"
else
	skip 2 "no sshd, or no session"
fi
if [ -n "$PING" ]; then
	is "$(sql "SELECT DISTINCT c.pid FROM connections c JOIN flow f USING (flow_id) WHERE c.protocol = 'icmp'
		AND f.resp_address = '192.0.2.2' AND c.direction = 'outbound' AND c.pid IS NOT NULL")" "$PING" \
		"echoes belong to ping"
else
	skip 1 "no ping here"
fi

# ---- short segments ----
EVIDENCE=$TMP/rotated DB=$TMP/rotated.db
: >"$TMP/truth"
truth tcp 80 "$NGINX" long
head -c 4000000 /dev/urandom >"$TMP/www/more"
record --rotate-time 1s --rotate-size 1M
declare -A ROTATED
for i in 1 2 3; do
	new_port port
	client pid curl -sS --local-port "$port" -o /dev/null http://127.0.0.1/more
	ROTATED[$port]=$pid
	expect tcp "$port" "$pid"
done
all_seen
for port in "${!ROTATED[@]}"; do
	wait "${ROTATED[$port]}"
done
stop_recording
SEGMENTS=$(find "$EVIDENCE" -name '*.pcap' | wc -l)
ok "by time and size: many segments ($SEGMENTS)" test "$SEGMENTS" -ge 6
run "$PCAPWHO" analyze -q "$EVIDENCE" -o "$DB"
is "$status$err" 0 "they load"
check_accounts "$SEGMENTS segments"
check_owners "$SEGMENTS segments"
is "$(sql "SELECT count(*), count(DISTINCT orig_port), min(conn_state), max(conn_state) FROM flow
	WHERE protocol = 'tcp' AND resp_port = 80")" "3|3|SF|SF" "one row for each conversation, from its SYN to its FIN"
is "$(sql "SELECT DISTINCT count(*) FROM connections WHERE protocol = 'tcp' GROUP BY flow_id")" 2 "and one for each end"
run "$PCAPWHO" analyze -q -j 1 "$EVIDENCE" -o "$TMP/j1.db"
run "$PCAPWHO" analyze -q -j 4 "$EVIDENCE" -o "$TMP/j4.db"
cp -r "$EVIDENCE" "$TMP/copied"
run "$PCAPWHO" analyze -q -j 2 "$TMP/copied" -o "$TMP/j2.db"
is "$(sha256sum "$TMP/j1.db" "$TMP/j4.db" "$TMP/j2.db" | cut -d' ' -f1 | sort -u | wc -l)" 1 \
	"the same bytes with 1, 2 and 4 workers and from a copy"

# ---- a large download: every byte ----
EVIDENCE=$TMP/large DB=$TMP/large.db
: >"$TMP/truth"
if [ -n "${PCAPWHO_LARGE:-}" ]; then SIZE=100000000; else SIZE=20000000; fi
# No spurious retransmissions on a busy machine: they would be sent twice, and rightly counted.
echo 0 >/proc/sys/net/ipv4/tcp_early_retrans
ip route replace local 127.0.0.0/8 dev lo table local rto_min 5s
head -c "$SIZE" /dev/zero >"$TMP/www/large"
new_port port
retransmitted() { awk '$1 == "Tcp:" && $13 ~ /[0-9]/ {print $13}' /proc/net/snmp; }
before=$(retransmitted)
run "$PCAPWHO_RECORD" -o "$EVIDENCE" --interval 100ms --cpu-budget 50% -B 128 -- sh -c 'echo $$ >"$1/curl.pid"
	exec curl -sS --local-port "$2" -o /dev/null -w "%{size_header} %{size_download} %{size_request}" \
	http://127.0.0.1/large' sh "$TMP" "$port"
is "$status" 0 "a download of $SIZE bytes"
read -r HEADER BODY REQUEST <<<"$out"
is "$BODY" "$SIZE" "is whole"
like "$err" "(^|"$'\n'")0 packets dropped" "the recorder dropped nothing" || diag "$err"
is "$(retransmitted)" "$before" "nothing was retransmitted"
run "$PCAPWHO" analyze -q "$EVIDENCE" -o "$DB"
is "$status$err" 0 "loads"
check_accounts "download"
truth tcp "$port" "$(<"$TMP/curl.pid")" long
truth tcp 80 "$NGINX" long
check_owners "download"
is "$(sql "SELECT group_concat(DISTINCT pid), sum(sent_payload_bytes), sum(received_payload_bytes) FROM connections
	WHERE local_port = 80")" "$NGINX|$((HEADER + BODY))|$REQUEST" "nginx sent the file and its header, and received the request"
is "$(sql "SELECT group_concat(DISTINCT pid), sum(sent_payload_bytes), sum(received_payload_bytes) FROM connections
	WHERE local_port = $port")" "$(<"$TMP/curl.pid")|$REQUEST|$((HEADER + BODY))" "curl the other way round, to the byte"
is "$(sql "SELECT sum(sent_payload_bytes) - sum(received_payload_bytes) FROM connections
	WHERE protocol = 'tcp'")" 0 \
	"what one end sent the other received"
is "$(sql "SELECT sum(sent_bytes) FROM traffic")" "$(sql "SELECT sum(sent_bytes) FROM connection")" \
	"the buckets add up to it"
done_testing
