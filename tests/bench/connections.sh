#!/bin/bash
# connections.sh: what recording costs beside many short-lived processes with a
# connection each. As root.
. "${BASH_SOURCE[0]%/*}/lib.bash"
options rate=2000 seconds=10 runs=5 -- "$@"
need_program "$PCAPWHO_RECORD" "$HELPERS/visits" "$HELPERS/spent"
own_machine "$@"

shares=() drops=()
for ((run = 0; run < runs; run++)); do
	rm -rf "$TMP/evidence"
	begin recorder 'recording into' "$PCAPWHO_RECORD" -o "$TMP/evidence" -i lo \
		"${RECORDER_OPTIONS[@]}"
	made=$("$HELPERS/visits" "$rate" "$seconds") || skip_all "the load cannot be made"
	end recorder
	shares+=("$(calc "$(cpu_us recorder) / ${seconds}e4")")
	drops+=("$(awk '/dropped by|lost/ { sum += $1 } END { print sum + 0 }' "$TMP/recorder.err")")
done

echo "$rate processes and connections a second for $seconds s, $runs runs of $made"
printf '%-22s  %6.2f\n' "percent of a core" "$(median "${shares[@]}")"
tail -n 4 "$TMP/recorder.err" | sed 's/^/    /'
goal "percent of a core" "$(median "${shares[@]}")" 25
goal "packets dropped" "$(median "${drops[@]}")" 0
goals_met
