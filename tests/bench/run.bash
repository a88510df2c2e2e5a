#!/bin/bash
# run.bash OUT.json BENCH... [-- OPTION...]: the benches one after the other, each with
# the options; then all figures into OUT.json, and a table of them. Exit 1 if a goal was
# missed or a bench failed.
set -uo pipefail

out=$1
shift
benches=() status=0
while [ $# -gt 0 ] && [ "$1" != -- ]; do
	benches+=("$1")
	shift
done
[ $# -eq 0 ] || shift

work=$(mktemp -d "${TMPDIR:-/tmp}/pcapwho-bench.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
export BENCH_FIGURES=$work/figures
: >"$BENCH_FIGURES"
for bench in "${benches[@]}"; do
	printf '\n== %s\n' "$bench"
	"$bench" "$@"
	code=$?
	case $code in
	0) result=met ;;
	1) result=failed status=1
		jq -es --arg bench "${bench##*/}" 'any(.[]; .bench == $bench and .met == false)' \
			"$BENCH_FIGURES" >/dev/null && result=missed ;;
	77) result=skipped ;;
	*) result=failed status=1 ;;
	esac
	jq -cn --arg bench "${bench##*/}" --arg result "$result" '{bench: $bench, result: $result}' >>"$work/benches"
done

# Nothing of when it was: two runs of one commit on one machine differ in figures alone.
jq -n --argjson cores "$(nproc)" --arg cpu "$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -1)" \
	--arg kernel "$(uname -sr)" --arg commit "$(git describe --always --dirty 2>/dev/null)" \
	--slurpfile benches "$work/benches" --slurpfile figures "$BENCH_FIGURES" \
	'{machine: {cores: $cores, cpu: $cpu, kernel: $kernel},
	commit: (if $commit == "" then null else $commit end), benches: $benches, figures: $figures}' \
	>"$work/json" || exit 1
mkdir -p "$(dirname "$out")" && cp "$work/json" "$out" || exit 1

printf '\n== all figures (%s)\n' "$out"
# Three digits are more than two runs have in common.
jq -r 'def short: if . == null then "-" elif . == 0 then "0" else
		(fabs | log10 | floor) as $e | if $e >= 2 then round else
		(. * pow(10; 2 - $e) | round) / pow(10; 2 - $e) end | tostring end;
	["BENCH", "FIGURE", "VALUE", "AT MOST", "MET", "BESIDE"],
	(.figures[] | [.bench, .name, (.value | short), (.goal | short),
		(if .met == null then "-" elif .met then "yes" else "NO" end),
		(if .peer == null then "-" else "\(.peer.name) \(.peer.value | short)" end)]),
	(.benches[] | select(.result == "skipped" or .result == "failed") | [.bench, .result, "-", "-", "-", "-"])
	| @tsv' "$out" | awk -F '\t' '{ for (i = 1; i <= NF; i++) { cell[NR, i] = $i; n = length($i); if (n > w[i]) w[i] = n } }
	END { for (r = 1; r <= NR; r++) { line = ""; for (i = 1; i <= 6; i++)
		line = line sprintf(i == 3 || i == 4 ? "%" w[i] "s  " : "%-" w[i] "s  ", cell[r, i]);
		sub(/ +$/, "", line); print line } }'
exit "$status"
