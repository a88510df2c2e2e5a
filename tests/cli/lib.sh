# lib.sh: what the tests of the commands share. A test is a bash script that
# begins with:
#	. "${0%/*}/lib.sh"
#	plan 3			# or done_testing at the end
# It has: $ROOT, $PCAPWHO, $PCAPWHO_RECORD, an empty $TMP that goes away with the
# test, and the functions below. Everything started or made is undone at exit.
# shellcheck shell=bash

set -u
export LC_ALL=C TZ=UTC
ROOT=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)
BUILD=${BUILD:-build}
case $BUILD in
/*) ;;
*) BUILD=$ROOT/$BUILD ;;
esac
# shellcheck disable=SC2034
PCAPWHO=$BUILD/pcapwho PCAPWHO_RECORD=$BUILD/pcapwho-record
# shellcheck disable=SC2034
MANY=$(dirname "$(readlink -f "$PCAPWHO")")/tests/cli/many

TMP=$(mktemp -d "${TMPDIR:-/tmp}/pcapwho-test.XXXXXX")
TEST_COUNT=0 TEST_FAILED=0 TEST_PLAN=

# ---- at the end ----
EXIT_COMMANDS=()

# at_exit COMMAND…: run it when the test ends; the last one asked for runs first.
at_exit() {
	EXIT_COMMANDS+=("$(printf '%q ' "$@")")
}

run_exit_commands() {
	local status=$? i
	trap - EXIT
	for ((i = ${#EXIT_COMMANDS[@]} - 1; i >= 0; i--)); do
		eval "${EXIT_COMMANDS[i]}" >/dev/null 2>&1
	done
	rm -rf "$TMP"
	[ "$TEST_FAILED" -eq 0 ] || status=1
	exit "$status"
}
trap run_exit_commands EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---- TAP ----
plan() {
	TEST_PLAN=$1
	echo "1..$1"
}

# done_testing: for a test that did not say plan.
done_testing() {
	plan "$TEST_COUNT"
}

# skip_all REASON…: end here; none of the tests can run.
skip_all() {
	echo "1..0 # SKIP $*"
	exit 0
}

# bail REASON…: the test itself cannot go on.
bail() {
	diag "$*"
	TEST_FAILED=1
	exit 1
}

diag() {
	printf '%s\n' "$*" | sed 's/^/# /' >&2
}

result() {
	local passed=$1 name=$2
	TEST_COUNT=$((TEST_COUNT + 1))
	if [ "$passed" -eq 0 ]; then
		echo "ok $TEST_COUNT - $name"
		return 0
	fi
	TEST_FAILED=$((TEST_FAILED + 1))
	echo "not ok $TEST_COUNT - $name"
	diag "failed: $name (${0##*/} line ${BASH_LINENO[1]})"
	return 1
}

# ok NAME COMMAND…: the command succeeds.
ok() {
	local name=$1
	shift
	"$@"
	result $? "$name"
}

# not_ok NAME COMMAND…: the command fails.
not_ok() {
	local name=$1
	shift
	! "$@"
	result $? "$name"
}

# is GOT WANTED NAME
is() {
	[ "$1" = "$2" ]
	result $? "$3" || { diag "     got: $1"; diag "  wanted: $2"; return 1; }
}

# isnt GOT UNWANTED NAME
isnt() {
	[ "$1" != "$2" ]
	result $? "$3" || { diag "  got what was not wanted: $1"; return 1; }
}

# like GOT REGEX NAME: an extended regular expression.
like() {
	[[ $1 =~ $2 ]]
	result $? "$3" || { diag "     got: $1"; diag "  wanted: /$2/"; return 1; }
}

unlike() {
	! [[ $1 =~ $2 ]]
	result $? "$3" || { diag "     got: $1"; diag "unwanted: /$2/"; return 1; }
}

# skip COUNT REASON…: COUNT tests are not run.
skip() {
	local count=$1
	shift
	while [ "$count" -gt 0 ]; do
		TEST_COUNT=$((TEST_COUNT + 1))
		echo "ok $TEST_COUNT # SKIP $*"
		count=$((count - 1))
	done
}

# ---- commands ----
# run COMMAND…: leaves its standard output in $out, its standard error in $err,
# its exit status in $status.
# shellcheck disable=SC2034
run() {
	out=$("$@" 2>"$TMP/.err")
	status=$?
	err=$(<"$TMP/.err")
}

# spawn VARIABLE COMMAND…: in the background, killed at exit with all that it
# started; VARIABLE gets the pid. To signal the program itself, give a program as
# COMMAND and not a function.
spawn() {
	local -n spawned=$1
	shift
	set -m # a process group of its own
	"$@" &
	spawned=$!
	set +m
	at_exit end_group "$spawned"
}

end_group() {
	kill -- "-$1" && wait "$1"
}

# wait_until SECONDS COMMAND…: until the command succeeds; fails after SECONDS.
# Look for what you wait for; a pause of fixed length is always wrong somewhere.
wait_until() {
	local end=$((${EPOCHREALTIME/./} + $1 * 1000000))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "${EPOCHREALTIME/./}" -lt "$end" ] || { diag "gave up waiting for: $*"; return 1; }
		sleep 0.02
	done
}

# listening PORT [NAMESPACE]: somebody listens on TCP PORT, or has bound UDP PORT.
listening() {
	${2:+in_netns "$2"} ss -Hltun "sport = :$1" | grep -q .
}

# ---- what the machine must have ----
need_command() {
	local command
	for command; do
		command -v "$command" >/dev/null || skip_all "needs $command"
	done
}

need_program() {
	local program
	for program; do
		[ -x "$program" ] || skip_all "${program##*/} is not built"
	done
}

need_root() {
	[ "$(id -u)" -eq 0 ] || skip_all "needs root"
}

# Root in a container may still not make network namespaces.
need_netns() {
	need_root
	need_command ip ss nsenter unshare
	unshare --net true 2>/dev/null || skip_all "needs to make network namespaces"
}

# ---- evidence made anew ----
# rewrite FILE PERL: on each line of a snapshot file, which may change or empty it; count and
# checksum of its frame are made to fit.
rewrite() {
	perl -MCompress::Zlib -e 'my ($file, $code) = @ARGV; my ($frame, $records, $out) = ("", 0, "");
		my $in = gzopen($file, "rb"); my $change = eval "sub { $code }" or die $@;
		while ($in->gzreadline($_) > 0) {
			$change->();
			if (/^end\t(\d+)\t/) {
				$out .= $frame . sprintf "end\t%d\t%d\t%08x\n", $1, $records - 1, crc32($frame);
				($frame, $records) = ("", 0);
			} elsif (/^frame\t/ || $frame ne "") { $frame .= $_; $records++ if length }
			else { $out .= $_ }
		}
		$in->gzclose; my $o = gzopen($file, "wb"); $o->gzwrite($out . $frame); $o->gzclose;' "$1" "$2"
}

# ---- networks of the test's own ----
# own_network: start the test again in a new network namespace with nothing but a
# loopback interface, where every port is free and every packet is the test's.
# Say it right after sourcing this. Process events of the kernel are not to be
# had there: a test that needs them stays in the first namespace.
own_network() {
	if [ -z "${PCAPWHO_OWN_NETWORK:-}" ]; then
		need_netns
		rm -rf "$TMP"
		trap - EXIT
		PCAPWHO_OWN_NETWORK=1 BUILD=$BUILD exec unshare --net bash "$0" "$@"
	fi
	unset PCAPWHO_OWN_NETWORK
	ip link set lo up
	wait_until 10 ipv6_ready lo
}

# No address is still being probed for duplicates: it can be bound to.
ipv6_ready() {
	! ip -6 address show dev "$1" tentative | grep -q inet6
}

# netns_add VARIABLE: makes a namespace with its loopback up; VARIABLE gets its
# name, to be used with in_netns.
NETNS_COUNT=0
netns_add() {
	local -n made=$1
	NETNS_COUNT=$((NETNS_COUNT + 1))
	made=pcapwho-${TMP##*.}-$NETNS_COUNT # a pid is not one of its own in a namespace of pids
	ip netns add "$made" || bail "ip netns add failed"
	at_exit ip netns delete "$made"
	ip -n "$made" link set lo up
}

in_netns() {
	local namespace=$1
	shift
	nsenter --net="/run/netns/$namespace" "$@"
}

# veth_add NAMESPACE NAME ADDRESSES NAMESPACE NAME ADDRESSES: a cable. NAMESPACE
# "" is the one the test runs in; ADDRESSES are words with their prefix length,
# "198.18.7.1/24 fd00:7::1/64". Names have at most 15 characters.
veth_add() {
	# Moved there by name, each end is made where it belongs from the start.
	ip ${1:+-n "$1"} link add "$2" type veth peer name "$5" ${4:+netns "$4"} ||
		bail "ip link add failed"
	[ -n "$1" ] || at_exit ip link delete "$2"
	link_up "$1" "$2" "$3"
	link_up "$4" "$5" "$6"
}

link_up() {
	local address
	for address in $3; do
		case $address in
		*:*) ip ${1:+-n "$1"} address add "$address" dev "$2" nodad ;;
		*) ip ${1:+-n "$1"} address add "$address" dev "$2" ;;
		esac
	done
	ip ${1:+-n "$1"} link set "$2" up
}
