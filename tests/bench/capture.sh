#!/bin/bash
# capture.sh: CPU for each packet captured, beside tcpdump -w and dumpcap with a
# ring of the same size, in turns. UDP over a cable (veth) into a namespace, to
# an address of nobody, so that only capturing it costs something. As root.
. "${BASH_SOURCE[0]%/*}/lib.bash"
options rate=300000 seconds=20 bytes=200 runs=5 buffer=16 interface=cable -- "$@"
need_command tcpdump dumpcap taskset
need_program "$PCAPWHO_RECORD" "$HELPERS/flood" "$HELPERS/spent"
own_machine "$@"

netns_add far
# shellcheck disable=SC2154
veth_add "" cable 198.18.1.1/24 "$far" cable 198.18.1.2/24
# Each packet by itself, not the large ones that the sender makes.
ip -n "$far" link set cable gso_max_segs 1
ip -n "$far" neighbour add 198.18.1.3 lladdr 02:00:00:00:00:03 dev cable

start() {
	rm -rf "$TMP/evidence"
	mkdir "$TMP/evidence"
	case $1 in
	pcapwho)
		begin pcapwho 'recording into' "$PCAPWHO_RECORD" -o "$TMP/evidence" -i "$interface" \
			-B "$buffer" "${RECORDER_OPTIONS[@]}" ;;
	tcpdump)
		begin tcpdump 'listening on' tcpdump -Z root -n -i "$interface" -s 262144 \
			-B $((buffer * 1024)) -w "$TMP/evidence/pcap" ;;
	dumpcap)
		begin dumpcap 'File:' dumpcap -i "$interface" -s 262144 -B "$buffer" \
			-w "$TMP/evidence/pcapng" ;;
	esac
}

# dropped NAME: by what it says at its end.
dropped() {
	case $1 in
	dumpcap) sed -n 's/.*(pcap:\([0-9]*\)\/dumpcap:\([0-9]*\).*/\1 \2/p' "$TMP/dumpcap.err" |
		awk '{ print $1 + $2 }' ;;
	*) awk '/dropped by|lost/ { sum += $1 } END { print sum + 0 }' "$TMP/$1.err" ;;
	esac
}

# measure NAME: what it costs in $cost, what it drops in $drop. A load that was
# disturbed is made once more.
measure() {
	local attempt sent status
	for attempt in 1 2 3; do
		start "$1"
		sent=$(in_netns "$far" taskset -c 0 "$HELPERS/flood" 198.18.1.3 9 "$rate" \
			"$seconds" $((bytes - 42)))
		status=$?
		sleep 1 # what is in the ring still
		end "$1"
		[ "$status" -ne 0 ] || break
	done
	[ "$status" -eq 0 ] || skip_all "the load cannot be made"
	cost=$(calc "$(cpu_us "$1") * 1000 / $sent")
	drop=$(dropped "$1")
}

declare -A COSTS DROPS
names=(pcapwho tcpdump dumpcap)
versus_tcpdump=() versus_dumpcap=()
for ((run = 0; run < runs; run++)); do
	declare -A now=()
	for ((i = 0; i < 3; i++)); do
		name=${names[(run + i) % 3]}
		measure "$name"
		now[$name]=$cost
		COSTS[$name]+=" $cost"
		DROPS[$name]+=" $drop"
	done
	versus_tcpdump+=("$(calc "${now[pcapwho]} / ${now[tcpdump]}")")
	versus_dumpcap+=("$(calc "${now[pcapwho]} / ${now[dumpcap]}")")
done
rm -rf "$TMP/evidence"

echo "$rate packets/s of $bytes bytes for $seconds s, ring of $buffer MiB, $runs runs"
printf '%-8s  %12s  %12s  %s\n' program "ns a packet" "dropped" "ns in each run"
for name in "${names[@]}"; do
	# shellcheck disable=SC2086
	printf '%-8s  %12.0f  %12.0f  %s\n' "$name" "$(median ${COSTS[$name]})" \
		"$(median ${DROPS[$name]})" "$(printf ' %.0f' ${COSTS[$name]})"
	# shellcheck disable=SC2086
	figure "$name, ns a packet" "$(median ${COSTS[$name]})"
done
# shellcheck disable=SC2086
goal "CPU a packet, times tcpdump's" "$(median "${versus_tcpdump[@]}")" 1.0 \
	"tcpdump, ns a packet" "$(median ${COSTS[tcpdump]})"
# shellcheck disable=SC2086
goal "CPU a packet, times dumpcap's" "$(median "${versus_dumpcap[@]}")" 0.5 \
	"dumpcap, ns a packet" "$(median ${COSTS[dumpcap]})"
# shellcheck disable=SC2086
goal "packets dropped" "$(median ${DROPS[pcapwho]})" "$(median ${DROPS[tcpdump]})" \
	tcpdump "$(median ${DROPS[tcpdump]})"
goals_met
