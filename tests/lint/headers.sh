#!/bin/bash
# headers.sh CC HEADER…: each header compiles alone. Flags come in BASE, quoted
# for the shell.
set -eu
eval "base=($BASE)"
cc=$1
shift
status=0
for header; do
	if ! printf '#include "%s"\n#include "%s"\n' "$header" "$header" |
		$cc "${base[@]}" -Werror -fsyntax-only -x c -; then
		echo "$header: does not compile alone"
		status=1
	fi
done
exit $status
