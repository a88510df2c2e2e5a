#!/bin/bash
# demo.sh: what `make demo` runs, as root. Starts real servers and real clients
# (nginx, dnsmasq, curl, dig; IPv4 and IPv6; loopback and a network namespace of
# its own), records them, analyzes the recording and shows who sent what. Leaves
# build/demo/evidence and build/demo/traffic.db; everything else goes away.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C

if [ "$(id -u)" -ne 0 ]; then
	echo "make demo must run as root: it captures packets and reads what every process has open." >&2
	exit 1
fi

PCAPWHO=${PCAPWHO:-build/pcapwho}
OUT=build/demo
RUN=$(mktemp -d /tmp/pcapwho-demo.XXXXXX)
chmod 755 "$RUN" # the web server's workers are not root
NETNS=pcapwho-demo-$$
CABLE=pwdemo$((RANDOM % 1000))
HAVE_NETNS=
SERVERS=()

# Does all of it, whatever is gone already.
cleanup() {
	local status=$? server
	trap - EXIT
	set +e
	for server in "${SERVERS[@]}"; do
		kill -- "-$server" && wait "$server"
	done
	if [ -n "$HAVE_NETNS" ]; then
		ip link delete "$CABLE" 2>/dev/null
		ip netns delete "$NETNS" 2>/dev/null
	fi
	rm -rf "$RUN"
	exit "$status"
} 2>/dev/null
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say() {
	printf '\n== %s\n' "$*"
}

show() {
	printf '$ %s\n' "$*"
	"$@"
}

# in_netns NETNS COMMAND…; NETNS "" is where we are.
in_netns() {
	local netns=$1
	shift
	${netns:+nsenter --net="/run/netns/$netns"} "$@"
}

# start NETNS PORT LOG COMMAND…: in the background, until it listens.
start() {
	local netns=$1 port=$2 log=$RUN/$3.log tries
	shift 3
	# In a process group of its own, so that the end reaches its children too.
	set -m
	in_netns "$netns" "$@" >"$log" 2>&1 &
	set +m
	SERVERS+=($!)
	for ((tries = 0; tries < 200; tries++)); do
		if in_netns "$netns" ss -Hltun "sport = :$port" | grep -q .; then
			return 0
		fi
		kill -0 $! 2>/dev/null || break
		sleep 0.05
	done
	echo "demo: a server did not start: $*" >&2
	cat "$log" >&2
	return 1
}

# free_port VARIABLE: one that nobody has.
free_port() {
	local -n chosen=$1
	while
		chosen=$((20000 + RANDOM % 10000))
		ss -Hltun "sport = :$chosen" | grep -q .
	do :; done
}

# web_server NAME NETNS PORT ADDRESS…
web_server() {
	local name=$1 netns=$2 port=$3 address listen=
	shift 3
	mkdir "$RUN/$name"
	for address; do
		listen+="listen $address:$port; "
	done
	sed -e "s|@DIR@|$RUN/$name|" -e "s|@WWW@|$RUN/www|" -e "s|@LISTEN@|$listen|" \
		tests/demo/nginx.conf.in >"$RUN/$name.conf"
	start "$netns" "$port" "$name" nginx -e "$RUN/$name/error.log" -c "$RUN/$name.conf"
}

# name_server NAME NETNS PORT ADDRESS,… OPTION…
name_server() {
	local name=$1 netns=$2 port=$3 addresses=$4
	shift 4
	start "$netns" "$port" "$name" dnsmasq --keep-in-foreground --conf-file=/dev/null \
		--log-facility=- --pid-file= --no-resolv --no-hosts --bind-interfaces \
		--listen-address="$addresses" --port="$port" "$@"
}

# A namespace behind a cable, as a container is. 198.18.0.0/15 is for tests.
make_netns() {
	ip netns add "$NETNS" 2>"$RUN/netns.log" || return 1
	HAVE_NETNS=1
	ip link add "$CABLE" type veth peer name eth0 netns "$NETNS" 2>"$RUN/netns.log" || return 1
	ip address add 198.18.213.1/30 dev "$CABLE"
	ip -n "$NETNS" address add 198.18.213.2/30 dev eth0
	ip -n "$NETNS" link set lo up
	ip -n "$NETNS" link set eth0 up
	ip link set "$CABLE" up
	[ -z "$HAVE_IPV6" ] && return 0
	ip address add fd00:c613:d501::1/64 dev "$CABLE" nodad
	ip -n "$NETNS" address add fd00:c613:d501::2/64 dev eth0 nodad
}

HAVE_IPV6=
if ip -6 address show dev lo 2>/dev/null | grep -q 'inet6 ::1/'; then
	HAVE_IPV6=1
fi

say "Starting servers"
mkdir "$RUN/www"
head -c 1500000 /dev/urandom >"$RUN/www/download"
chmod 644 "$RUN/www/download"

free_port web_port
free_port authority_port
free_port slow_port
free_port resolver_port
web_server web "" "$web_port" 127.0.0.1 ${HAVE_IPV6:+'[::1]'}
echo "nginx on 127.0.0.1${HAVE_IPV6:+ and ::1}, port $web_port"

# A resolver that asks an authority, with the delay of a network between them.
loopbacks=127.0.0.1${HAVE_IPV6:+,::1}
name_server authority "" "$authority_port" "$loopbacks" --address=/demo.test/192.0.2.1
start "" "$slow_port" slow socat "UDP4-RECVFROM:$slow_port,bind=127.0.0.1,fork" \
	"SYSTEM:sleep 0.4; socat -t 1 - UDP4\:127.0.0.1\:$authority_port"
name_server resolver "" "$resolver_port" "$loopbacks" --cache-size=0 \
	--server="127.0.0.1#$slow_port"
echo "dnsmasq on 127.0.0.1${HAVE_IPV6:+ and ::1}, ports $authority_port and $resolver_port"

targets=("web=127.0.0.1:$web_port" "udp=127.0.0.1:$resolver_port" "tcp=127.0.0.1:$authority_port")
if [ -n "$HAVE_IPV6" ]; then
	targets+=("web=[::1]:$web_port" "udp=[::1]:$resolver_port" "tcp=[::1]:$authority_port")
fi
if make_netns; then
	far=198.18.213.2
	web_server far-web "$NETNS" 80 "$far" ${HAVE_IPV6:+'[fd00:c613:d501::2]'}
	name_server far-dns "$NETNS" 53 "$far${HAVE_IPV6:+,fd00:c613:d501::2}" \
		--address=/demo.test/192.0.2.2
	echo "nginx and dnsmasq in a network namespace, on $far, ports 80 and 53"
	targets+=("web=$far:80" "tcp=$far:53")
	[ -z "$HAVE_IPV6" ] || targets+=("web=[fd00:c613:d501::2]:80" "tcp=[fd00:c613:d501::2]:53")
else
	echo "no network namespace here ($(head -n 1 "$RUN/netns.log")): loopback only"
fi

say "Recording curl and dig for some seconds"
rm -rf "$OUT"
mkdir -p "$OUT"
read -ra options <<<"${PCAPWHO_DEMO_OPTIONS:-}"
show "$PCAPWHO" record -o "$OUT/evidence" --interval 100ms --cpu-budget 20% "${options[@]}" -- \
	bash tests/demo/client.sh "${targets[@]}"

say "The evidence: packets, snapshots, and a log of what happened to them"
ls -l "$OUT/evidence"

say "Analyzing: any user, any machine, any later time"
show "$PCAPWHO" analyze "$OUT/evidence" -o "$OUT/traffic.db"

say "Every packet is accounted for: the difference is zero"
show "$PCAPWHO" query "$OUT/traffic.db" accounting

say "The largest connections, with the rule by which each owner was found"
show "$PCAPWHO" query "$OUT/traffic.db" "SELECT pid, process, protocol AS proto,
	local_address || ' ' || local_port AS local, remote_address || ' ' || remote_port AS remote,
	sent_bytes AS sent, received_bytes AS received, coalesce(rule, reason) AS rule
	FROM connections ORDER BY sent_bytes + received_bytes DESC, connection_id LIMIT 20"

say "What has no certain owner, and why"
show "$PCAPWHO" query "$OUT/traffic.db" \
	"SELECT reason, connections, packets, bytes, packets_percent FROM unattributed"

say "Who sent what"
show "$PCAPWHO" query "$OUT/traffic.db" top --limit 20
echo
echo "All of it is in $OUT/traffic.db; the packets and snapshots are in $OUT/evidence."
