#!/bin/bash
# truth.sh [SCALE]: how many owners are found, and that none is wrong, at large
# scale: tests/truth/harness with SCALE clients of each kind (default 300), with
# several mixes of lives. As root. Other options of the harness, such as
# --interval, come from TRUTH_OPTIONS.
set -uo pipefail

HARNESS=$(cd "${BASH_SOURCE[0]%/*}/../truth" && pwd)/harness
SCALE=${1:-300}
status=0

# play TITLE OPTION…
play() {
	printf '\n== %s\n' "$1"
	shift
	# shellcheck disable=SC2086
	"$HARNESS" --scale "$SCALE" ${TRUTH_OPTIONS:-} "$@"
	local ended=$?
	[ "$ended" -eq 0 ] || status=1
	[ "$ended" -ne 77 ] || exit 77
}

STREAMS=tcp4,tcp6,mapped,exec,leader
SERVERS=prefork,reuseport,forking,inetd,pass
DATAGRAMS=udp4,udp6,udp4loose,udp6loose

play "every kind, lives of all lengths" --rate 20
play "one exchange and the end, kind after kind, as fast as can be" \
	--kinds "$STREAMS,$SERVERS,$DATAGRAMS" --jobs 1 --rate 0 --life 0:1
play "one exchange and the end, 100 a second of each" \
	--kinds "$STREAMS,$DATAGRAMS" --rate 100 --life 0:1
# Half a gigabyte in some seconds, beside so many processes: more than the buffer
# that the recorder has by default.
play "lives of seconds" --kinds "$STREAMS,$SERVERS,$DATAGRAMS" --rate 100 --life 1500:1,3000:1 \
	--buffer 256
play "what comes again" --kinds portreuse,udpreuse,pidreuse --life 0:3,20:1
exit "$status"
