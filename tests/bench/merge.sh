#!/bin/bash
# merge.sh: the databases of many hosts into one, beside sqlite3, which writes the same
# rows out as text and reads them in, each host's into a file of its own: what one would do
# without merge, before any number is made to fit. In turns, from the page cache. The
# databases are made (hosts.sql); --keep DIRECTORY leaves them there for the next run.
# lib.bash assigns by name.
# shellcheck disable=SC2154
. "${BASH_SOURCE[0]%/*}/lib.bash"
options hosts=50 connections=1000 buckets=90 processes=100 runs=3 keep= -- "$@"
need_command sqlite3
need_program "$PCAPWHO" "$HELPERS/spent"

schema=$ROOT/schema
made=${keep:-$TMP/hosts}
# As store.c makes them; the bytes in a file do not matter here.
make_host() { # NUMBER FILE
	{
		echo "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
			PRAGMA application_id = 0x70637768; PRAGMA user_version = $version; BEGIN;
			CREATE TEMP TABLE wanted AS SELECT $1 AS host, $connections AS connections,
			$buckets AS buckets, $processes AS processes, $version AS version;"
		cat "$schema/schema.sql" "$schema/views.sql" "${BASH_SOURCE[0]%/*}/hosts.sql" "$schema/indexes.sql"
		echo "COMMIT;"
	} | sqlite3 -bail "$2" >/dev/null
}
if [ ! -d "$made" ]; then
	mkdir -p "$made"
	version=$(sed -n 's/^#define STOREFILE_VERSION[[:space:]]*\([0-9]*\).*/\1/p' "$ROOT/analyze/storefile.h")
	for ((host = 1; host <= hosts; host++)); do
		make_host "$host" "$made/$host.db" || failed "no database of host $host"
	done
fi
databases=("$made"/*.db)
cat "${databases[@]}" >/dev/null

cat >"$TMP/each" <<-'EOS'
	#!/bin/bash
	into=$1
	shift
	for file; do
		sqlite3 -readonly "$file" .dump | sqlite3 -cmd 'PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF' \
			"$into/${file##*/}" >/dev/null || exit
	done
EOS
chmod +x "$TMP/each"

wall_us() { awk '{ print $4 }' "$TMP/$1"; }
ours=() ours_cpu=() theirs=() theirs_cpu=() again=() ratios=()
for ((run = 0; run < runs; run++)); do
	rm -rf "$TMP/out.db" "$TMP/dumped"
	mkdir "$TMP/dumped"
	spent merge "$PCAPWHO" merge "$TMP/out.db" "${databases[@]}" || failed "merge failed"
	rows=$(sed -n 's/.*, \([0-9]*\) rows$/\1/p' "$TMP/merge.err")
	spent again "$PCAPWHO" merge "$TMP/out.db" "${databases[@]}" || failed "the second merge failed"
	spent dump "$TMP/each" "$TMP/dumped" "${databases[@]}" || failed "sqlite3 failed"
	ours+=("$(wall_us merge)") ours_cpu+=("$(cpu_us merge)") again+=("$(wall_us again)")
	theirs+=("$(wall_us dump)") theirs_cpu+=("$(cpu_us dump)")
	ratios+=("$(calc "$(cpu_us merge) / $(cpu_us dump)")")
done
row() { # NAME WALL CPU
	printf '%-40s  %8.2f  %8.2f  %12.2f\n' "$1" "$(calc "$2 / 1e6")" "$(calc "$3 / 1e6")" "$(calc "$rows / $2")"
	figure "$1, M rows/s" "$(calc "$rows / $2")"
}
echo "$rows rows of ${#databases[@]} databases; medians of $runs"
printf '%-40s  %8s  %8s  %12s\n' program 'wall, s' 'CPU, s' 'M rows/s'
row 'pcapwho merge' "$(median "${ours[@]}")" "$(median "${ours_cpu[@]}")"
row 'sqlite3 .dump | sqlite3' "$(median "${theirs[@]}")" "$(median "${theirs_cpu[@]}")"
printf '%-40s  %8.2f\n' 'the same again, nothing new' "$(calc "$(median "${again[@]}") / 1e6")"
goal "seconds for a million rows" "$(calc "$(median "${ours[@]}") / $rows")" 1.0 \
	'sqlite3 .dump | sqlite3' "$(calc "$(median "${theirs[@]}") / $rows")"
goal "CPU, part of sqlite3's" "$(median "${ratios[@]}")" 1.0 \
	'sqlite3 .dump | sqlite3, s of CPU' "$(calc "$(median "${theirs_cpu[@]}") / 1e6")"
goals_met
