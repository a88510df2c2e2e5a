#!/bin/bash
# idle.sh: what recording costs on a host where nothing happens: CPU and memory,
# beside that many processes with that many sockets. As root.
. "${BASH_SOURCE[0]%/*}/lib.bash"
options sockets=100 processes=60 seconds=20 runs=5 -- "$@"
need_program "$PCAPWHO_RECORD" "$HELPERS/crowd" "$HELPERS/spent"
own_machine "$@"
crowd "$sockets" "$processes"

record() {
	rm -rf "$TMP/evidence"
	spent "$1" "$PCAPWHO_RECORD" -o "$TMP/evidence" --duration "$2s" "${RECORDER_OPTIONS[@]}" ||
		failed "recording failed"
}

# A long recording less a short one: starting and stopping are no idleness.
shares=() sizes=()
for ((run = 0; run < runs; run++)); do
	record long $((seconds + 2))
	record short 2
	shares+=("$(calc "($(cpu_us long) - $(cpu_us short)) / ${seconds}e4")")
	sizes+=("$(calc "$(rss_kib long) / 1024")")
done

echo "idle for $seconds s, $runs runs, $sockets sockets in $processes processes"
printf '%-22s  %6.3f\n' "percent of a core" "$(median "${shares[@]}")"
printf '%-22s  %6.1f\n' "resident set, MiB" "$(median "${sizes[@]}")"
goal "percent of a core" "$(median "${shares[@]}")" 0.5
goal "MiB" "$(median "${sizes[@]}")" 32
goals_met
