#!/bin/bash
# poll.sh: CPU of one snapshot of many sockets, beside one `ss -tunap`, in turns.
# A recording with many snapshots less one with few, so that starting and
# stopping count for nothing. As root.
. "${BASH_SOURCE[0]%/*}/lib.bash"
options sockets=20000 processes=200 seconds=6 runs=5 -- "$@"
need_command ss
need_program "$PCAPWHO_RECORD" "$HELPERS/crowd" "$HELPERS/spent"
own_machine "$@"

# record NAME INTERVAL: leaves the number of snapshots in $snapshots.
record() {
	rm -rf "$TMP/evidence"
	spent "$1" "$PCAPWHO_RECORD" -o "$TMP/evidence" -i lo --cpu-budget 100% --interval "$2" \
		--duration "${seconds}s" "${RECORDER_OPTIONS[@]}" || failed "recording failed"
	snapshots=$(awk '/ snapshots,/ { print $1 }' "$TMP/$1.err")
}

# measure [WAKE_MS]: leaves $ours, $theirs (ms) and $ratio of a crowd that does so.
measure() {
	local one all=() ss=() ratios=()
	crowd "$sockets" "$processes" "$@"
	for ((run = 0; run < runs; run++)); do
		record many 150ms
		many=$snapshots
		for ((i = 0; i < 3; i++)); do
			spent "ss$i" ss -tunap || failed "ss failed"
		done
		record few 1h
		one=$(calc "($(cpu_us many) - $(cpu_us few)) / ($many - $snapshots)")
		all+=("$one")
		ss+=("$(median "$(cpu_us ss0)" "$(cpu_us ss1)" "$(cpu_us ss2)")")
		ratios+=("$(calc "$one / ${ss[run]}")")
	done
	end_group "$CROWD" 2>/dev/null
	ours=$(calc "$(median "${all[@]}") / 1000")
	theirs=$(calc "$(median "${ss[@]}") / 1000")
	ratio=$(median "${ratios[@]}")
}

printf '%s TCP sockets in %s processes, %s runs of %s s; CPU, ms\n' "$sockets" "$processes" "$runs" "$seconds"
printf '%-40s  %12s  %12s  %5s\n' 'the processes' 'one snapshot' 'one ss -tunap' ratio
measure 100
printf '%-40s  %12.1f  %12.1f  %5.3f\n' 'all run between two snapshots' "$ours" "$theirs" "$ratio"
figure "CPU of a snapshot where all run, times ss's" "$ratio" null null "ss -tunap, ms" "$theirs"
measure
printf '%-40s  %12.1f  %12.1f  %5.3f\n' 'sleep' "$ours" "$theirs" "$ratio"
goal "CPU of a snapshot, times ss's" "$ratio" 0.2 "ss -tunap, ms" "$theirs"
goals_met
