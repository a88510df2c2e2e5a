#!/bin/bash
# What the pcaps hold of each TCP connection is what the kernel had counted when
# its socket closed: a large transfer, and many small ones closed in every way.
# A socket is known here because it lived for two polls.
# lib.sh and spawn assign by name.
# shellcheck disable=SC2034,SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO" "$PCAPWHO_RECORD"
need_command ip ss nginx curl perl tcpdump sqlite3
own_network
chmod 755 "$TMP" # for nginx's worker
mkdir "$TMP/www" "$TMP/evidence" "$TMP/holed"
head -c 8000000 /dev/urandom >"$TMP/www/large"
head -c 3000 /dev/urandom >"$TMP/www/small"
DB=$TMP/traffic.db
sql() { sqlite3 -readonly -batch "$DB" "$@"; }

cat >"$TMP/nginx.conf" <<EOT
daemon off;
master_process off;
user root;
pid $TMP/nginx.pid;
error_log $TMP/nginx.log;
events { worker_connections 256; }
http {
	access_log off;
	client_body_temp_path $TMP/body;
	proxy_temp_path $TMP/proxy;
	fastcgi_temp_path $TMP/fastcgi;
	uwsgi_temp_path $TMP/uwsgi;
	scgi_temp_path $TMP/scgi;
	server {
		listen 127.0.0.1:80;
		listen [::1]:80;
		root $TMP/www;
		location /large { limit_rate 8m; }
	}
}
EOT
spawn NGINX nginx -e "$TMP/nginx.log" -c "$TMP/nginx.conf"
wait_until 10 listening 80 || bail "nginx: $(<"$TMP/nginx.log")"

# Connections to a server of its own, which all stay until "go" is there. Then,
# one after the other: the client closes first, the server does, the client shuts
# down and reads on, both close, the server closes with data unread, and data
# comes for a server that is gone.
cat >"$TMP/talk.pl" <<'PERL'
use strict;
use warnings;
use IO::Socket::INET;
my ($connections, $ready, $go) = @ARGV;
$SIG{PIPE} = 'IGNORE';
my $listener = IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1') or die;
my @pairs;
for my $i (1 .. $connections) {
	my $client = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
		PeerPort => $listener->sockport) or die;
	my $server = $listener->accept or die;
	syswrite $client, 'q' x (10 * $i);
	push @pairs, [$client, $server];
}
sub take { my ($from, $length) = @_; while ($length > 0) {
	my $got = sysread $from, my $data, $length or die; $length -= $got } }
open my $file, '>', $ready or die;
close $file;
select undef, undef, undef, 0.02 until -e $go;
for my $i (1 .. $connections) {
	my ($client, $server) = @{$pairs[$i - 1]};
	my $way = $i % 6;
	take($server, 10 * $i) unless $way == 4;
	if ($way < 4) {
		syswrite $server, 'a' x (100 * $i);
		shutdown $client, 1 if $way == 2;
		take($client, 100 * $i);
	}
	if ($way == 1 || $way == 3 || $way == 4) { close $server; close $client }
	elsif ($way == 5) { close $server; syswrite $client, 'late'; close $client }
	else { close $client; close $server }
}
PERL

frames() { zcat "$TMP"/evidence/*.snap.gz.part 2>/dev/null | grep -c "^end"; }
more_frames() { [ "$(frames)" -ge "$1" ]; }
two_polls() { wait_until 20 more_frames $(($(frames) + 2)); }
no_connections() { ! ss -Htan state established state close-wait state fin-wait-1 \
	state fin-wait-2 state last-ack | grep -q .; }

spawn RECORDER "$PCAPWHO_RECORD" -q -o "$TMP/evidence" --interval 50ms --cpu-budget 50% \
	-B 64 2>"$TMP/record.err"
wait_until 20 more_frames 1 || bail "no recording: $(<"$TMP/record.err")"
spawn TALK perl "$TMP/talk.pl" 48 "$TMP/ready" "$TMP/go"
spawn CURL4 curl -sS -o /dev/null http://127.0.0.1/large
spawn CURL6 curl -sS -g -o /dev/null 'http://[::1]/large'
# One connection, two requests.
spawn KEPT curl -sS -o /dev/null http://127.0.0.1/small -o /dev/null \
	--limit-rate 2000 http://127.0.0.1/small
wait_until 20 test -e "$TMP/ready" || bail "the connections were not made"
two_polls
touch "$TMP/go"
ok "the connections end as they should" wait "$TALK"
ok "so does a transfer over IPv4" wait "$CURL4"
ok "and one over IPv6" wait "$CURL6"
ok "and a connection of two requests" wait "$KEPT"
wait_until 10 no_connections
two_polls
kill -TERM "$RECORDER"
wait "$RECORDER"
is $? 0 "the recorder ends cleanly"
if grep -q "close events (" "$TMP/record.err"; then
	skip 9 "this kernel tells of no closes: $(<"$TMP/record.err")"
	done_testing
	exit
fi

run "$PCAPWHO" analyze -q "$TMP/evidence" -o "$DB"
is "$status$err" 0 "the recording loads"
diag "$(sql "SELECT group_concat(verdict || ' ' || n, ', ') FROM
	(SELECT verdict, count(*) n FROM kernel_check GROUP BY verdict)")"
is "$(sql "SELECT count(*) FROM kernel_check")" 102 "both ends of 51 connections were counted by the kernel"
is "$(sql "SELECT * FROM kernel_check WHERE verdict = 'differs'")" "" "none differs"
is "$(sql "SELECT DISTINCT verdict FROM kernel_check WHERE dropped_packets = 0
	AND verdict NOT IN ('equal', 'retransmitted', 'reset')")" "" "what was whole is equal, but for retransmissions and resets"
is "$(sql "SELECT count(*) FROM kernel_check WHERE verdict = 'reset' AND (received_difference <> 4
	OR history NOT LIKE '%f%r%')")" 0 "what comes for a closed socket is on the wire alone"
is "$(sql "SELECT count(*) FROM kernel_check WHERE kernel_sent_bytes - kernel_retransmitted_bytes > 8000000
	AND process = 'nginx' AND direction = 'inbound'")" 2 "the large transfers were counted whole"
like "$("$PCAPWHO" query "$DB" kernel_check --format csv | grep '^total,differs')" "^total,differs,0," \
	"the query says so too"

# The same with packets taken out of the pcap: now they differ.
LARGE=$(sql "SELECT remote_port FROM kernel_check WHERE kernel_sent_bytes > 8000000 AND local_address = '127.0.0.1'")
cp "$TMP"/evidence/* "$TMP/holed"
for pcap in "$TMP"/evidence/*.pcap; do
	tcpdump -r "$pcap" -w "$TMP/holed/${pcap##*/}" "not (dst port $LARGE and greater 20000)" 2>/dev/null
done
DB=$TMP/holed.db
run "$PCAPWHO" analyze -q "$TMP/holed" -o "$DB"
# Where the capture itself dropped some, that would explain it.
is "$(sql "SELECT DISTINCT verdict FROM kernel_check WHERE $LARGE IN (local_port, remote_port)")" \
	"$(sql "SELECT CASE WHEN max(dropped_packets) = 0 THEN 'differs' ELSE 'dropped' END FROM kernel_check")" \
	"packets that are missing show"
is "$(sql "SELECT count(*) FROM kernel_check WHERE $LARGE NOT IN (local_port, remote_port)
	AND verdict = 'differs'")" 0 "at that connection alone"
done_testing
