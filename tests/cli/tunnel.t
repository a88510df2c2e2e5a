#!/bin/bash
# Tunnels: the outer packets have their owner or a reason and count once; beside
# them stands what they carried, as tshark reads it and as it was seen outside the
# tunnel. Tunnels of the kernel, where it has their kind, and of two programs.
# lib.sh and spawn assign by name.
# shellcheck disable=SC2034,SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO" "$PCAPWHO_RECORD"
need_command ip ss socat tshark sqlite3 perl
own_network

netns_add PEER
veth_add "" w0 "192.0.2.1/24 2001:db8::1/64" "$PEER" w1 "192.0.2.2/24 2001:db8::2/64"
sql() { sqlite3 -readonly -batch "$TMP/traffic.db" "$@"; }
frames() { zcat "$TMP"/evidence/*.snap.gz* 2>/dev/null | grep -c "^end"; }
more_frames() { [ "$(frames)" -ge "$1" ]; }
segments() { find "$TMP/evidence" -name '*.pcap' | wc -l; }
more_segments() { [ "$(segments)" -ge "$1" ]; }

# ---- tunnels of the kernel ----
# tunnel NUMBER TYPE-AS-ZEEK-HAS-IT KEY LOCAL REMOTE KIND OPTION…: one from 10.9.NUMBER.1 to
# 10.9.NUMBER.2 and, with Ethernet or IPv6 in it, from fd09:NUMBER::1 to fd09:NUMBER::2.
TUNNELS=()
tunnel() {
	local number=$1 type=$2 key=$3 local=$4 remote=$5 kind=$6 inner="10.9.$1.%d/24 fd09:$1::%d/64"
	shift 6
	case $kind in
	sit) inner="fd09:$number::%d/64" ;;
	ipip) inner="10.9.$number.%d/24" ;;
	esac
	ip link add "t$number" type "$kind" local "$local" remote "$remote" "$@" 2>"$TMP/link.err" || {
		skip 1 "the kernel has no $kind: $(head -n 1 "$TMP/link.err")"
		return
	}
	ip -n "$PEER" link add "t$number" type "$kind" local "$remote" remote "$local" "$@" || bail "no $kind"
	link_up "" "t$number" "${inner//%d/1}"
	link_up "$PEER" "t$number" "${inner//%d/2}"
	TUNNELS+=("$number $type $key $kind")
	ok "a tunnel of kind $kind" true
}
tunnel 1 Tunnel::VXLAN 4242 192.0.2.1 192.0.2.2 vxlan id 4242 dstport 4789
tunnel 2 Tunnel::VXLAN 77 2001:db8::1 2001:db8::2 vxlan id 77 dstport 8472 udp6zerocsumrx
tunnel 3 Tunnel::GRE "" 192.0.2.1 192.0.2.2 gre ttl 64
tunnel 4 Tunnel::GRE 99 192.0.2.1 192.0.2.2 gretap key 99 csum seq
tunnel 5 Tunnel::IP "" 192.0.2.1 192.0.2.2 ipip ttl 64
tunnel 6 Tunnel::IP "" 192.0.2.1 192.0.2.2 sit ttl 64
tunnel 7 Tunnel::IP "" 2001:db8::1 2001:db8::2 ip6tnl mode any
tunnel 8 Tunnel::GRE 8 2001:db8::1 2001:db8::2 ip6gre key 8

# ---- tunnels of two programs: a tun device at each end, and a raw socket between ----
PROGRAMS=()
program_tunnel() { # NUMBER PROTOCOL
	local number=$1 protocol=$2 pid peer_pid
	spawn peer_pid nsenter --net="/run/netns/$PEER" socat "TUN:10.9.$number.2/24,tun-name=u$number,iff-no-pi,up" \
		"IP4-SENDTO:192.0.2.1:$protocol" 2>"$TMP/socat$number.err"
	spawn pid socat "TUN:10.9.$number.1/24,tun-name=u$number,iff-no-pi,up" \
		"IP4-SENDTO:192.0.2.2:$protocol" 2>>"$TMP/socat$number.err"
	wait_until 10 ip link show "u$number" && wait_until 10 ip -n "$PEER" link show "u$number" || return 1
	ip address add "fd09:$number::1/64" dev "u$number" nodad
	ip -n "$PEER" address add "fd09:$number::2/64" dev "u$number" nodad
	PROGRAMS+=("$number $pid $peer_pid")
}
if [ -c /dev/net/tun ]; then
	program_tunnel 21 4 || bail "no tunnel of programs: $(<"$TMP/socat21.err")"
	program_tunnel 22 41 || bail "no tunnel of programs: $(<"$TMP/socat22.err")"
else
	skip 2 "needs /dev/net/tun"
fi

# ---- traffic in all of them, over rotations ----
spawn RECORDER "$PCAPWHO_RECORD" -q -o "$TMP/evidence" --interval 100ms --cpu-budget 50% --rotate-time 1s \
	2>"$TMP/record.err"
wait_until 20 more_frames 2 || bail "no recording: $(<"$TMP/record.err")"
spawn SERVER in_netns "$PEER" socat TCP6-LISTEN:8080,ipv6only=0,reuseaddr,fork EXEC:cat
spawn DATAGRAMS in_netns "$PEER" socat UDP6-RECVFROM:8081,ipv6only=0,fork EXEC:cat
wait_until 20 listening 8080 "$PEER"
wait_until 20 listening 8081 "$PEER"
serving() { pgrep -g "$SERVER,$DATAGRAMS" | wc -l; }
SERVERS=$(serving)
SPEAKERS=()
speak() { until [ -e "$TMP/done" ]; do echo "$1" && sleep 0.05; done; }
for words in "${TUNNELS[@]}" "${PROGRAMS[@]}"; do
	number=${words%% *}
	[[ $words == *" sit" || $number == 22 ]] && to="[fd09:$number::2]" || to="10.9.$number.2"
	speak "$number" > >(socat - "TCP:$to:8080" >/dev/null 2>&1) &
	SPEAKERS+=($!)
	speak "$number" > >(socat - "UDP:$to:8081" >/dev/null 2>&1) &
	SPEAKERS+=($!)
done
# What WireGuard's packets of data look like, and a datagram to VXLAN's port that is none.
perl -e 'print pack("V V Q< a96", 4, 7, 1, "x" x 96)' | socat -u - UDP4:192.0.2.2:51820
echo "this is no tunnel, though it goes to its port" | socat -u - UDP4:192.0.2.2:4789,sourceport=4999
wait_until 20 more_segments 3
# What is in a tunnel and what carries it are two packets: the recording ends when nothing is on
# its way. All have ended at both ends, and behind what they said an echo went and came back.
touch "$TMP/done"
wait "${SPEAKERS[@]}"
all_ended() {
	[ "$(serving)" -eq "$SERVERS" ] && ! ss -Htuan "dport = :8080 or dport = :8081" | grep -Ev 'TIME-WAIT|UNCONN'
}
echo_from() { # ADDRESS
	perl -MSocket=:all -e '
		my ($to, $ident) = ($ARGV[0], $$ & 0xffff);
		my $six = $to =~ /:/;
		my $packet = pack "CCnnn", $six ? 128 : 8, 0, 0, $ident, 1;
		my $sum = 0x0800 + $ident + 1; # of IPv6 the kernel makes it
		substr $packet, 2, 2, pack "n", ~(($sum & 0xffff) + ($sum >> 16)) unless $six;
		socket my $socket, $six ? AF_INET6 : AF_INET, SOCK_RAW, $six ? IPPROTO_ICMPV6 : IPPROTO_ICMP or die;
		send $socket, $packet, 0, $six ? pack_sockaddr_in6(0, inet_pton(AF_INET6, $to))
			: pack_sockaddr_in(0, inet_aton($to)) or die;
		alarm 20;
		do {
			recv $socket, $packet, 2000, 0 // die;
			substr $packet, 0, 20, "" unless $six;
		} until (unpack "C", $packet) == ($six ? 129 : 0) && (unpack "x4n", $packet) == $ident' "$1"
}
wait_until 20 all_ended
for words in "${TUNNELS[@]}" "${PROGRAMS[@]}"; do
	number=${words%% *}
	[[ $words == *" sit" || $number == 22 ]] && to="fd09:$number::2" || to="10.9.$number.2"
	echo_from "$to" || diag "no echo from $to"
done
kill -TERM "$RECORDER"
wait "$RECORDER"

run "$PCAPWHO" analyze -q -j 3 "$TMP/evidence" -o "$TMP/traffic.db"
is "$status" 0 "it loads" || diag "$err"
is "$(sql "SELECT sum(difference <> 0) FROM accounting")" 0 "every packet is accounted for"
is "$(sql "SELECT count(*) > 0 FROM segment HAVING count(*) > 2")" 1 "of several segments"
is "$(sql "SELECT group_concat(coalesce(carries, 'none')) FROM (SELECT DISTINCT carries FROM flow
	WHERE resp_port = 51820 OR orig_port = 4999)")" none \
	"neither encrypted data nor a port alone is called a tunnel"

# ---- each conversation in a tunnel, as it was seen on the tunnel's own device ----
# seen_inside NAME TYPE KEY PATTERN-OF-INNER-ADDRESSES
seen_inside() {
	is "$(sql "SELECT DISTINCT tunnel_type || ' ' || coalesce(tunnel_key, '') FROM tunnel
		WHERE (orig_address GLOB '$4' OR resp_address GLOB '$4') AND protocol IN ('tcp', 'udp')")" \
		"$2 $3" "$1: its kind and its key"
	is "$(sql "SELECT group_concat(protocol || ' ' || port || ' ' || rows) FROM (
		SELECT protocol, max(orig_port, resp_port) > 0 AS port,
			count(DISTINCT t.flow_id || ' ' || t.community_id) = count(*) AS rows
		FROM tunnel t WHERE (orig_address GLOB '$4' OR resp_address GLOB '$4')
			AND protocol IN ('tcp', 'udp') GROUP BY protocol ORDER BY protocol)")" "tcp 1 1,udp 1 1" \
		"$1: one row for each conversation of an outer flow, over all segments"
	is "$(sql "SELECT count(*) FROM (SELECT community_id, sum(orig_packets + resp_packets) AS packets,
			sum(orig_bytes + resp_bytes) AS bytes FROM tunnel
			WHERE (orig_address GLOB '$4' OR resp_address GLOB '$4') AND protocol IN ('tcp', 'udp')
			GROUP BY community_id) i
		JOIN flow f ON f.community_id = i.community_id
			AND (i.packets, i.bytes) = (f.orig_packets + f.resp_packets, f.orig_bytes + f.resp_bytes)")" 2 \
		"$1: packets and bytes of both are those of the tunnel's device"
	is "$(sql "SELECT DISTINCT c.process FROM tunnel t JOIN connections c USING (community_id)
		WHERE (t.orig_address GLOB '$4' OR t.resp_address GLOB '$4') AND t.protocol IN ('tcp', 'udp')")" socat \
		"$1: whose process is found there"
	is "$(sql "SELECT count(*) > 0 AND sum((rule IS NULL) = (reason IS NULL)) = 0 FROM tunnels
		WHERE orig_address GLOB '$4' OR resp_address GLOB '$4'")" 1 "$1: the outer end has an owner or a reason"
}
for words in "${TUNNELS[@]}"; do
	read -r number type key kind <<<"$words "
	[ -n "$kind" ] || kind=$key key=
	seen_inside "$kind $number" "$type" "$key" "*9[.:]$number[.:]*"
	is "$(sql "SELECT count(pid) FROM tunnels WHERE orig_address GLOB '*9[.:]$number[.:]*'")" 0 \
		"$kind $number: the kernel's own packets are nobody's"
done
for words in "${PROGRAMS[@]}"; do
	read -r number pid peer_pid <<<"$words"
	seen_inside "programs $number" Tunnel::IP "" "*9[.:]$number[.:]*"
	is "$(sql "SELECT DISTINCT local_address, pid FROM tunnels WHERE orig_address GLOB '*9[.:]$number[.:]*'
		AND reason IS NULL ORDER BY 1")" "192.0.2.1|$pid"$'\n'"192.0.2.2|$peer_pid" \
		"programs $number: the outer packets are theirs"
done

# ---- and as tshark reads it ----
# The innermost addresses of each packet that is one in another, and how many it has of each.
tshark_inside() { # CAPTURE…
	local pcap
	for pcap; do
		tshark -r "$pcap" -d udp.port==8472,vxlan -Y "not icmp.type==3" -T fields -E separator=\; \
			-e frame.protocols -e ip.src -e ip.dst -e ipv6.src -e ipv6.dst -e tcp.port -e udp.port 2>/dev/null
	done | perl -F';' -lane '
		my @layers = grep { /^ip(v6)?$/ } split /:/, $F[0];
		next if @layers < 2 || $F[0] !~ /:(tcp|udp)(:[^:]*)?$/;
		my ($source, $destination) = map { (split /,/, $F[$_ + ($layers[-1] eq "ip" ? 1 : 3)])[-1] } 0, 1;
		my $protocol = $F[0] =~ /.*:(tcp|udp)/ ? $1 : "";
		my @ports = split /,/, $F[$protocol eq "tcp" ? 5 : 6];
		$count{join " ", $protocol, sort "$source $ports[-2]", "$destination $ports[-1]"}++;
		END { print "$_ $count{$_}" for sort keys %count }'
}
pcapwho_inside() { # DATABASE
	sqlite3 -readonly -batch "$1" "SELECT protocol || ' ' || min(a, b) || ' ' || max(a, b) || ' ' || sum(packets)
		FROM (SELECT protocol, orig_address || ' ' || orig_port AS a, resp_address || ' ' || resp_port AS b,
				orig_packets + resp_packets AS packets
			FROM tunnel WHERE protocol IN ('tcp', 'udp') AND coalesce(carried_packets, 0) = 0)
		GROUP BY protocol, min(a, b), max(a, b)" | LC_ALL=C sort
}
same_inside() { # NAME DATABASE CAPTURE…
	local name=$1 database=$2
	shift 2
	tshark_inside "$@" >"$TMP/tshark"
	pcapwho_inside "$database" >"$TMP/pcapwho"
	ok "$name: the inner conversations are tshark's, and so are their packets" cmp "$TMP/tshark" "$TMP/pcapwho" ||
		diag "$(diff "$TMP/tshark" "$TMP/pcapwho")"
	ok "$name: and there are some" test -s "$TMP/tshark"
}
same_inside recorded "$TMP/traffic.db" "$TMP"/evidence/*.pcap
# Kinds that the kernel may not have.
mkdir "$TMP/made"
perl "$ROOT/tests/conv_captures.pl" "$TMP/made" || bail "no captures"
for kind in ipip sit gre gretap vxlan geneve nested; do
	"$PCAPWHO" analyze -q "$TMP/made/$kind.pcap" -o "$TMP/$kind.db"
	same_inside "$kind" "$TMP/$kind.db" "$TMP/made/$kind.pcap"
done
is "$(sqlite3 -readonly "$TMP/nested.db" "SELECT DISTINCT o.tunnel_type || ' ' || o.tunnel_key || ' ' || o.orig_address
	|| ', ' || i.tunnel_type || ' ' || i.depth FROM tunnel i JOIN tunnel o ON o.tunnel_id = i.outer_tunnel_id")" \
	"Tunnel::VXLAN 42 203.0.113.3, Tunnel::GRE 2" "a tunnel in a tunnel leads to its carrier"
is "$(sql "SELECT count(*) FROM flow WHERE carries IS NOT NULL
	AND orig_packets + resp_packets <> carried_packets + carried_other_packets + carried_unreadable_packets")" 0 \
	"the packets of a tunnel are those read, those without IP and those unreadable"

# ---- the query ----
run "$PCAPWHO" query "$TMP/traffic.db" tunnels --format csv
is "$status" 0 "the query runs"
is "$(grep -Ec ',(tcp|udp),' <<<"$out")" "$(sql "SELECT count(DISTINCT tunnel_type || coalesce(tunnel_key, '')
		|| community_id || local_address) FROM tunnels WHERE protocol IN ('tcp', 'udp')")" \
	"a line for each end of each conversation, whatever outer flows it went through" || diag "$out"
is "$(grep -E '^.*,(tcp|udp),' <<<"$out" | awk -F, '$(NF - 3) == 0 || $(NF - 1) == 0')" "" "with both of its directions"

# ---- explained ----
# A packet of the last conversation that began in the first segment with any, as tshark has it.
IFS='|' read -r flow number pcap inner < <(sql "SELECT t.flow_id, t.first_packet_number, g.pcap_name,
	t.orig_address || ' port ' || t.orig_port || ' > ' || t.resp_address || ' port ' || t.resp_port
	FROM tunnel t JOIN segment g USING (segment_id) WHERE t.protocol = 'udp'
		AND t.segment_id = (SELECT min(segment_id) FROM tunnel WHERE protocol = 'udp')
	ORDER BY t.tunnel_id DESC LIMIT 1")
run "$PCAPWHO" explain "$TMP/traffic.db" --packet "$pcap:$number" --evidence "$TMP/evidence"
is "$status" 0 "a packet is explained" || diag "$err"
like "$out" "carries \(Tunnel::[A-Z]*( [0-9]+)?\) udp $inner" "with what it carries"
run "$PCAPWHO" explain "$TMP/traffic.db" --flow "$flow"
like "$out" "a tunnel \(Tunnel::" "and the flow as a tunnel"

# ---- however it is loaded ----
dump() { sqlite3 -readonly "$1" .dump | grep -v '^INSERT INTO \(sqlite_stat\|carry\)' | sort; }
"$PCAPWHO" analyze -q -j 1 "$TMP/evidence" -o "$TMP/one.db"
ok "with one worker the same bytes" cmp "$TMP/one.db" "$TMP/traffic.db"
for pcap in "$TMP"/evidence/*.pcap; do
	"$PCAPWHO" analyze -q "$pcap" -o "$TMP/steps.db"
done
ok "loaded segment by segment, the same rows" cmp <(dump "$TMP/steps.db") <(dump "$TMP/traffic.db")
done_testing
