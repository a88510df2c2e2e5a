#!/bin/bash
# What the recorder sees between two snapshots: with an interval of an hour,
# whatever is found was found by watching.
. "${0%/*}/lib.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root: captures"
# Not in a network namespace of its own: process events are the first one's only.

# A server and a client of it, which stay until each had its time.
cat >"$TMP/talk.pl" <<'PERL'
use strict;
use warnings;
use IO::Socket::INET;
my ($out, $linger) = @ARGV;
my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die;
my $udp = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1') or die;
open my $log, '>', $out or die;
$log->autoflush(1);
my $client = fork // die;
if (!$client) {
	my $tcp = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $listener->sockport)
		or die;
	my $dgram = IO::Socket::INET->new(Proto => 'udp', PeerAddr => '127.0.0.1',
		PeerPort => $udp->sockport) or die;
	$dgram->send('x');
	print $log "client $$ ", $tcp->sockport, ' ', $dgram->sockport, "\n";
	sysread $tcp, my $bye, 1;
	exit 3;
}
my $accepted = $listener->accept or die;
$udp->recv(my $word, 16);
print $log "server $$ ", $listener->sockport, ' ', $udp->sockport, "\n";
select undef, undef, undef, $linger;
close $accepted;
waitpid $client, 0;
PERL

# record NAME OPTION…: records it once; $snap is the text of its snapshots.
record() {
	local name=$1
	shift
	run "$PCAPWHO_RECORD" -o "$TMP/$name" -q --interval 1h --rotate-time 0 "$@" -- \
		perl "$TMP/talk.pl" "$TMP/$name.log" 1
	snap=$(zcat "$TMP/$name"/*.snap.gz)
	read -r client tcp_port udp_port < <(sed -n 's/^client //p' "$TMP/$name.log")
	read -r server listen_port bound_port < <(sed -n 's/^server //p' "$TMP/$name.log")
}
# holders FIELD=VALUE…: pids that event frames give for sockets with these fields.
holders() {
	awk -F'\t' -v L="$1" -v R="$2" '
		$1 == "frame" { event = $3 == "event" }
		!event { next }
		$1 == "socket" && $6 == L && $8 == R { inode[$11] = 1 }
		$1 == "holder" && ($3 in inode) { pid[$4] = 1 }
		END { for (p in pid) print p }' <<<"$snap" | sort -n | xargs
}
meta() {
	sed -n "s/^meta\t$1\t//p" <<<"$snap"
}

# users LOCAL REMOTE: pids that uses give for the socket of these ports.
users() {
	awk -F'\t' -v L="$1" -v R="$2" '$1 == "use" && $6 == L && $8 == R { pid[$16] = 1 }
		END { for (p in pid) print p }' <<<"$snap" | sort -n | xargs
}
common() {
	is "$status" 0 "$1: a recording of a short conversation"
	is "$(grep -c "$(printf '^frame\t[0-9]*\tpoll\tinterval')" <<<"$snap")" 0 \
		"$1: no snapshot was due"
	like "$(grep "$(printf '^process\t-')" <<<"$snap")" \
		"$(printf 'process\t-\t%s\t[0-9]+\t[^\n]*\t768\t[0-9]{19}' "$client")" \
		"$1: the client's exit has its code and time"
	like "$(grep ^closed <<<"$snap")" \
		"$(printf 'closed\t!\t[0-9]+\ttcp\t127.0.0.1\t%s\t' "$tcp_port")" \
		"$1: the kernel's count at the close is there"
	is "$(awk -F'\t' '$1 == "frame" && $3 == "event" && $6 < $5' <<<"$snap")" "" \
		"$1: no event ends before it begins"
}

record on
if [ "$(meta watcher)" = on ]; then
	common "tracepoints"
	is "$(users "$tcp_port" "$listen_port")" "$client" "the connecting end has its user"
	is "$(users "$listen_port" "$tcp_port")" "$server" "the accepting end, closed unused, its closer"
	is "$(users "$udp_port" "$bound_port")" "$client" "so has a datagram's sender"
	like "$(grep ^process <<<"$snap")" "$(printf 'process\t!\t%s\t[0-9]+\t%s\t0\tperl' "$client" "$server")" \
		"and the client, which no snapshot has, its facts"
else
	skip 9 "this kernel or container lets less be watched: $(meta watcher)"
fi

# The forks in between are told too, of those who use nothing themselves. The command was there
# before.
run "$PCAPWHO_RECORD" -o "$TMP/descent" -q --interval 1h -- \
	bash -c 'bash -c "bash -c \"exec 3<>/dev/udp/127.0.0.1/9; echo x >&3; sleep 0.2; true\"; true"; true'
snap=$(zcat "$TMP/descent"/*.snap.gz)
if [ "$(meta watcher)" = on ]; then
	is "$(awk -F'\t' '
		$1 == "born" { parent[$3] = $5 }
		$1 == "use" && $7 == "127.0.0.1" && $8 == 9 { user = $(NF - 2) }
		END { while (user in parent) { forks++; user = parent[user] }; print forks }' <<<"$snap")" 2 \
		"who uses a socket is told with all the forks that it descends from"
else
	skip 1 "no tracepoints here"
fi

# Without tracepoints the first packets are looked at.
PCAPWHO_RECORD=$TMP/plain
cat >"$PCAPWHO_RECORD" <<END
#!/bin/sh
exec setpriv --bounding-set -perfmon,-sys_admin "$(command -v "${BUILD:?}/pcapwho-record")" "\$@"
END
chmod +x "$PCAPWHO_RECORD"
record packets
if [ "$(meta watcher)" = "on: without tracepoints (EACCES)" ]; then
	common "packets"
	is "$(holders "$tcp_port" "$listen_port")" "$client" "the connecting end has its process"
	is "$(holders "$listen_port" "$tcp_port")" "$server" "the accepting end has its own"
	is "$(holders "$udp_port" "$bound_port")" "$client" "so has a datagram's sender"
	like " $(holders "$bound_port" 0) " " $server " "and who takes it"
	like "$err" "watching is on: without tracepoints" "the user is told what is missing"
else
	skip 10 "this kernel or container lets less be watched: $(meta watcher)"
fi

record off --no-watch
is "$(meta watcher)" "off: --no-watch" "with --no-watch the header says so"
is "$(grep -c "$(printf '^frame\t[0-9]*\tevent')" <<<"$snap")" 0 "and there is no event"

# In another network namespace there are no process events.
run unshare -n "$PCAPWHO_RECORD" -o "$TMP/less" --duration 300ms
is "$status" 0 "recording goes on without process events"
like "$err" "watching is on: without .*process events \(E?[A-Za-z]+" "and says what it lacks"
like "$(zcat "$TMP"/less/*.snap.gz)" "$(printf 'meta\twatcher\ton: without .*process events')" \
	"in the header too"
done_testing
