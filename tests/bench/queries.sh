#!/bin/bash
# queries.sh: each named query on a database of months, with and without a
# window in time, a process and a host. What counts is the whole process, from the page
# cache; CPU, so that other work on the machine does not show. The database is
# made (archive.c); --keep FILE leaves it there for the next run.
. "${BASH_SOURCE[0]%/*}/lib.bash"
options connections=200000 rows=102 processes=5000 hosts=5000 days=30 machines=20 limit=20 runs=5 keep= -- "$@"
need_command sqlite3
need_program "$PCAPWHO" "$HELPERS/archive" "$HELPERS/spent"

db=${keep:-$TMP/archive.db}
[ -e "$db" ] || "$HELPERS/archive" "$db" "connections=$connections" "rows=$rows" \
	"processes=$processes" "hosts=$hosts" "days=$days" "machines=$machines" || failed "no database"
sqlite3 -readonly "$db" "SELECT (SELECT count(*) FROM traffic) || ' rows of traffic, '
	|| (SELECT count(*) FROM connection) || ' connections of '
	|| (SELECT count(*) FROM process) || ' processes of ' || (SELECT count(*) FROM recording) || ' hosts in '
	|| ((max(end_ns) - min(start_ns)) / 86400000000000) || ' days, '
	|| (SELECT sum(pgsize) / 1000000 FROM dbstat) || ' MB' FROM connection"
cat "$db" >/dev/null

# The whole, its end, an hour in its middle, and most of it; the last two are cut anywhere.
at() { date -u -d "@$((1795290600 + $1))" +%Y-%m-%dT%H:%M:%S.377Z; }
span=$((days * 86400))
mapfile -t windows <<-EOS
	
	--since -10m
	--since $(at $((span / 2 + 1273))) --until $(at $((span / 2 + 5249)))
	--since $(at $((span / 7 + 1273))) --until $(at $((span / 7 * 6 + 5249)))
EOS
worst=0 last=0
# ask QUERY ARGUMENT…: the median of the runs, as a row, and in $last.
ask() {
	local times=() run ms
	for ((run = 0; run < runs; run++)); do
		spent query "$PCAPWHO" query "$db" "$@" || failed "$* failed"
		times+=("$(cpu_us query)")
	done
	ms=$(calc "$(median "${times[@]}") / 1000")
	printf '%8.1f  %8d  %s\n' "$ms" "$(wc -l <"$TMP/query.out")" "$*"
	last=$ms
}

slower() {
	worst=$(calc "($last > $worst ? $last : $worst)")
}

printf '%8s  %8s  %s\n' 'CPU, ms' lines query
for name in $("$PCAPWHO" query --list | awk '{ print $1 }'); do
	# Which arguments it takes is in its text.
	text=${BASH_SOURCE[0]%/*}/../../schema/queries/$name.sql
	limits=()
	! grep -q ':limit' "$text" || limits=(--limit "$limit")
	for window in "${windows[@]}"; do
		[ -z "$window" ] || grep -q ':since_ns' "$text" || continue
		for process in '' worker7 1017; do
			[ -z "$process" ] || grep -q ':process' "$text" || continue
			for host in '' "host-$((machines / 2))"; do
				# shellcheck disable=SC2086
				ask "$name" $window ${process:+--process "$process"} ${host:+--host "$host"} "${limits[@]}"
				slower
			done
		done
	done
	[ "$name" != timeline ] || for step in 1m 1h; do
		ask timeline --bucket "$step" "${limits[@]}"
		slower
	done
done
echo 'Without a limit, told beside it: what is printed is what takes time.'
for name in top talkers connections; do
	ask "$name"
done
ask timeline --bucket 1d
ask timeline --bucket 1h
goal 'the slowest query with a limit, ms' "$worst" 100
goals_met
