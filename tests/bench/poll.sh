#!/bin/bash
# poll.sh: CPU of one snapshot of many sockets, beside one `ss -tunap`, in turns.
# A recording with many snapshots less one with few, so that starting and
# stopping count for nothing. As root.
. "${BASH_SOURCE[0]%/*}/lib.bash"
options sockets=20000 processes=200 seconds=6 runs=5 -- "$@"
need_command ss
need_program "$PCAPWHO_RECORD" "$HELPERS/crowd" "$HELPERS/spent"
own_machine "$@"

crowd "$sockets" "$processes"

# record NAME INTERVAL: leaves the number of snapshots in $snapshots.
record() {
	rm -rf "$TMP/evidence"
	spent "$1" "$PCAPWHO_RECORD" -o "$TMP/evidence" -i lo --cpu-budget 100% --interval "$2" \
		--duration "${seconds}s" "${RECORDER_OPTIONS[@]}" || failed "recording failed"
	snapshots=$(awk '/ snapshots,/ { print $1 }' "$TMP/$1.err")
}

ours=() theirs=() ratios=()
for ((run = 0; run < runs; run++)); do
	record many 150ms
	many=$snapshots
	for ((i = 0; i < 3; i++)); do
		spent "ss$i" ss -tunap || failed "ss failed"
	done
	record few 1h
	one=$(calc "($(cpu_us many) - $(cpu_us few)) / ($many - $snapshots)")
	ss=$(median "$(cpu_us ss0)" "$(cpu_us ss1)" "$(cpu_us ss2)")
	ours+=("$one") theirs+=("$ss") ratios+=("$(calc "$one / $ss")")
done

echo "$sockets TCP sockets in $processes processes, $runs runs of $many snapshots"
printf '%-14s  %8s\n' program "CPU, ms"
printf '%-14s  %8.1f\n' "one snapshot" "$(calc "$(median "${ours[@]}") / 1000")" \
	"one ss -tunap" "$(calc "$(median "${theirs[@]}") / 1000")"
goal "CPU of a snapshot, times ss's" "$(median "${ratios[@]}")" 0.2
goals_met
