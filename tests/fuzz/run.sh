#!/bin/bash
# run.sh SECONDS FUZZER…: SECONDS of fuzzing, split over the fuzzers, as many side
# by side as there are cores. New inputs grow in build/fuzz/corpus; what crashes,
# hangs or leaks is kept as a named file in tests/fuzz/corpus/NAME, where
# `make check` replays it from then on. Exit 1 if there was any.
set -u
seconds=$1
shift
if [ $# -eq 0 ]; then
	echo "No fuzz targets: tests/fuzz/fuzz_*.c" >&2
	exit 1
fi
jobs=$(getconf _NPROCESSORS_ONLN)
[ "$jobs" -le $# ] || jobs=$#
export each_seconds=$((seconds * jobs / $#))
[ "$each_seconds" -ge 1 ] || each_seconds=1

fuzz_one() {
	local fuzzer=$1 name seeds grown log
	name=${fuzzer##*/fuzz_}
	seeds=tests/fuzz/corpus/$name
	grown=build/fuzz/corpus/$name
	log=build/fuzz/$name.log
	mkdir -p "$seeds" "$grown"
	if ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
		"$fuzzer" -max_total_time="$each_seconds" -timeout=10 -rss_limit_mb=2048 \
		-print_final_stats=1 -artifact_prefix="$seeds/" "$grown" "$seeds" >"$log" 2>&1; then
		printf '  %-14s %s s, %s runs, coverage %s\n' "$name" "$each_seconds" \
			"$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
			"$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -d' ' -f2)"
		return 0
	fi
	printf '  %-14s FOUND: %s\n' "$name" "$(sed -n 's/.*Test unit written to //p' "$log")"
	grep -m 1 -A 25 -E 'ERROR: |runtime error: ' "$log" | sed 's/^/    /'
	return 1
}
export -f fuzz_one

echo "fuzz: $# fuzzers, $each_seconds s each, $jobs side by side"
printf '%s\0' "$@" | xargs -0 -n 1 -P "$jobs" bash -c 'fuzz_one "$1"' fuzz || exit 1
