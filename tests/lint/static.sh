#!/bin/bash
# static.sh SOURCE…: clang-tidy (with clang's analyzer) and cppcheck. Flags come in BASE,
# quoted for the shell. Prints what they find (V=1: with the path that leads
# there); exit 1 if anything.
set -u
eval "base=($BASE)"
jobs=$(getconf _NPROCESSORS_ONLN)
status=0

# each COMMAND…: run it for every source, several at a time; {} is the source.
each() {
	printf '%s\0' "${sources[@]}" | xargs -0 -I{} -P "$jobs" "$@"
}

# Tests are compiled with warnings as errors and run under sanitizers; the
# analyzers look at what is shipped.
sources=()
for source; do
	case $source in
	tests/*) ;;
	*) sources+=("$source") ;;
	esac
done
[ ${#sources[@]} -gt 0 ] || exit 0

echo "lint: clang-tidy"
each sh -c '
	source=$1
	shift
	# error.c defines what the others are told about.
	[ "$source" = snapshot/format/error.c ] || set -- "$@" -include tests/lint/analyzer.h
	found=$(clang-tidy --quiet "$source" -- "$@" 2>/dev/null) && exit 0
	if [ "${V:-0}" = 1 ]; then
		printf "%s\n" "$found"
	else
		printf "%s\n" "$found" | grep -E -A 2 "(error|warning): " | grep -v -e --
	fi
	exit 1' tidy {} "${base[@]}" || status=1

echo "lint: cppcheck"
cppcheck --quiet --std=c11 --inline-suppr --enable=warning,performance,portability \
	--suppress=missingIncludeSystem --error-exitcode=1 -j "$jobs" -D_GNU_SOURCE \
	-I. "${sources[@]}" || status=1
exit $status
