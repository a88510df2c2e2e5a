# lib.bash: what the benches share, on top of ../cli/lib.sh. A bench prints one
# table; exit 0 when its goal is met, 1 when not, 77 when it cannot run here.
# CPU is user and system time of a process and its threads, by wait4.
# shellcheck shell=bash

# shellcheck source=tests/cli/lib.sh
. "${BASH_SOURCE[0]%/*}/../cli/lib.sh"

# build/pcapwho-record is a link into the configuration that was built last.
HELPERS=$(dirname "$(readlink -f "$PCAPWHO_RECORD")")/tests/bench

skip_all() {
	echo "${0##*/}: not possible here: $*" >&2
	exit 77
}

# own_machine: like own_network, and with processes of its own only, so that what
# else runs here is neither read nor counted.
own_machine() {
	if [ -z "${PCAPWHO_OWN_MACHINE:-}" ]; then
		need_netns
		unshare --net --pid --fork --mount-proc true 2>/dev/null ||
			skip_all "needs to make process namespaces"
		rm -rf "$TMP"
		trap - EXIT
		PCAPWHO_OWN_MACHINE=1 BUILD=$BUILD exec unshare --net --pid --fork --mount-proc \
			--kill-child bash "$0" "$@"
	fi
	unset PCAPWHO_OWN_MACHINE
	ip link set lo up
	wait_until 10 ipv6_ready lo
}

# crowd SOCKETS PROCESSES [WAKE_MS]: as the program crowd, until the bench ends
# or $CROWD is killed.
crowd() {
	[ -p "$TMP/stay" ] || mkfifo "$TMP/stay"
	# shellcheck disable=SC2094
	spawn CROWD "$HELPERS/crowd" "$@" <>"$TMP/stay" >"$TMP/crowd.out"
	wait_until 60 grep -q ready "$TMP/crowd.out" || skip_all "no $1 sockets in $2 processes"
}

failed() {
	echo "${0##*/}: $*" >&2
	for log in "$TMP"/*.err; do
		[ ! -s "$log" ] || { echo "--- ${log##*/}" >&2; tail -5 "$log" >&2; }
	done
	exit 1
}

# options NAME=DEFAULT… -- ARGUMENT…: each --NAME VALUE among the arguments sets
# the variable NAME; what stands after a -- is left in $RECORDER_OPTIONS.
options() {
	local names=() name
	RECORDER_OPTIONS=()
	while [ "$1" != -- ]; do
		name=${1%%=*}
		names+=("$name")
		printf -v "$name" %s "${1#*=}"
		shift
	done
	shift
	while [ $# -gt 0 ]; do
		[ "$1" != -- ] || { shift; RECORDER_OPTIONS=("$@"); break; }
		name=${1#--}
		if [ $# -lt 2 ] || [[ " ${names[*]} " != *" $name "* ]]; then
			printf 'Usage: %s' "${0##*/}" >&2
			printf ' [--%s N]' "${names[@]}" >&2
			echo ' [-- RECORDER-OPTION ...]' >&2
			exit 64
		fi
		printf -v "$name" %s "$2"
		shift 2
	done
}

# spent NAME COMMAND…: as the program spent, into the files NAME, NAME.out, NAME.err.
spent() {
	local name=$1
	shift
	"$HELPERS/spent" "$TMP/$name" "$@" >"$TMP/$name.out" 2>"$TMP/$name.err"
}

# begin NAME WORD COMMAND…: the same in the background, until its standard error
# has WORD; end NAME interrupts it and waits.
declare -A BEGUN
begin() {
	local name=$1 word=$2 pid
	shift 2
	rm -f "$TMP/$name" "$TMP/$name.err"
	spawn pid "$HELPERS/spent" "$TMP/$name" "$@" >"$TMP/$name.out" 2>"$TMP/$name.err"
	BEGUN[$name]=$pid
	wait_until 20 grep -q "$word" "$TMP/$name.err" || failed "$name does not begin"
}

end() {
	kill -INT "${BEGUN[$1]}"
	wait "${BEGUN[$1]}" || failed "$1 failed"
}

# cpu_us NAME: user and system together; rss_kib NAME.
cpu_us() {
	awk '{ print $1 + $2 }' "$TMP/$1"
}

rss_kib() {
	awk '{ print $3 }' "$TMP/$1"
}

# calc EXPRESSION: by awk.
calc() {
	awk "BEGIN { printf \"%.6g\", $1 }"
}

median() {
	printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 }
		END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# figure NAME VALUE [MOST MET [PEER PEERS-VALUE]]: writes the figure down, a line of
# JSON in the file $BENCH_FIGURES, where run.bash asks for that. Prints nothing. The one
# place that knows the form.
figure() {
	local name=$1 value=$2 most=${3:-null} met=${4:-null} peer=${5:-} peers=${6:-null}
	[ -n "${BENCH_FIGURES:-}" ] || return 0
	jq -cn --arg bench "${0##*/}" --arg name "$name" --argjson value "$value" --argjson goal "$most" \
		--argjson met "$met" --arg peer "$peer" --argjson peers "$peers" \
		'{bench: $bench, name: $name, value: $value, goal: $goal, met: $met,
		peer: (if $peer == "" then null else {name: $peer, value: $peers} end)}' \
		>>"$BENCH_FIGURES" || failed "no figure of $name: $value"
}

# goal NAME VALUE MOST [PEER PEERS-VALUE]: prints, writes down and remembers;
# goals_met at the end says. PEER is what VALUE is a part or a multiple of, or
# stands beside.
GOALS_MISSED=0
goal() {
	local verdict=met met=true
	awk "BEGIN { exit !($2 <= $3) }" || { verdict=MISSED; met=false; GOALS_MISSED=1; }
	printf 'goal: %s %.3g, at most %.3g: %s\n' "$1" "$2" "$3" "$verdict"
	figure "$1" "$2" "$3" "$met" "${@:4}"
}

goals_met() {
	exit "$GOALS_MISSED"
}
