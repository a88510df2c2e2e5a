#!/bin/bash
# Real processes of every kind, which know what they did, against the owners
# that were found for their packets: tests/truth/README.md.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "${0%/*}/../cli/lib.sh"

need_netns
need_command sqlite3 zcat awk
need_program "$PCAPWHO" "$PCAPWHO_RECORD" "$BUILD/tests/truth/talk"

HARNESS=$ROOT/tests/truth/harness

# It stays in the first network namespace: the kernel's process events are only
# to be had there. Its ports are the kernel's choice.
run timeout 120 "$HARNESS" --build "$BUILD" --scale 10 --tsv "$TMP/result"
diag "$(printf '%s\n' "$out" | grep -E '^(watcher|missing)|^[0-9]+ ')"
isnt "$status" 2 "every process says that it did what it should" || diag "$err"
[ -s "$TMP/result" ] || bail "no result: $err"
whole=$(printf '%s\n' "$out" | grep -cE '^watcher: on;' || true)
missing=$(printf '%s\n' "$out" | grep -cE '^missing:' || true)

doubtful=0 doubts='' taken=0 sockets=0
while IFS=$'\t' read -r kind ends _ none wrong _ _ _ _ _ _ _ more _ reasons; do
	[ "$kind" = kind ] && continue
	is "$wrong" 0 "$kind: no wrong owner" || diag "no owner: $reasons"
	is "$more" 0 "$kind: no process has more payload than it moved"
	# What a program beside the test makes doubtful is not the test's.
	strangers=${reasons##*ambiguous with a stranger }
	[ "$strangers" = "$reasons" ] || none=$((none - ${strangers%%,*}))
	# Nor is what another kind's socket makes doubtful that got the place of this one in memory, while
	# it is seldom. All ends of a bound one are of one socket.
	places=${reasons##*ambiguous with another kind }
	[ "$places" != "$reasons" ] || places=0
	places=${places%%,*}
	none=$((none - places))
	[[ $kind != *" bound" || $places -eq 0 ]] || places=1
	# Workers with one socket cannot be told apart by what they take, nor those who use one
	# connection at the same time; processes with one port, one after the other, seldom.
	case $kind in
	udpworkers\ bound | atonce\ client | udpreuse* | udpzero*client | udppass\ client | \
		udphelper\ bound | udpcast*) whole_kind=0 ;;
	*) whole_kind=1 ;;
	esac
	if [ "$whole" = 1 ] && [ "$missing" = 0 ] && [ "$whole_kind" = 1 ]; then
		doubtful=$((doubtful + none))
		taken=$((taken + places)) sockets=$((sockets + ends))
		[ "$none" -le 0 ] || doubts+=$'\n'"$kind: $reasons"
		ok "$kind: owners are found" [ $((5 * none)) -le "$ends" ] ||
			diag "no owner: $reasons"
	else
		skip 1 "$kind: the kernel's account cannot be whole, or is not here"
	fi
done <"$TMP/result"
# The kernel gives the place of a socket in memory to the next one at once, and tells of the close
# later: who used the one can then not be told from who used the other.
ok "of all these ends at most two are left in doubt" [ "$doubtful" -le 2 ] ||
	diag "in doubt: $doubtful$doubts"
ok "at most one in fifty is doubtful because another kind's socket got its place" [ $((50 * taken)) -le "$sockets" ] ||
	diag "$taken of $sockets"
missing=$("$BUILD/tests/truth/talk" --list | while read -r kind; do
	grep -q "^${kind}[ -]" "$TMP/result" || echo "$kind"
done)
is "$missing" "" "every kind was played"

# Which bytes a capture has not, by sequence numbers: one lost in the middle, one before an
# acknowledgement, none where it came late or twice, a connection that began before, one refused.
"$ROOT/tests/make_pcap.pl" sll2 >"$TMP/gaps.pcap" <<'END'
1000 tcp 10.0.0.1 1001 10.0.0.2 80 S 4294967290 0 0
1010 tcp 10.0.0.2 80 10.0.0.1 1001 SA 99 4294967291 0
1020 tcp 10.0.0.1 1001 10.0.0.2 80 A 4294967291 100 10
1030 tcp 10.0.0.1 1001 10.0.0.2 80 A 35 100 10
1040 tcp 10.0.0.1 1002 10.0.0.2 80 S 1 0 0
1050 tcp 10.0.0.2 80 10.0.0.1 1002 SA 99 2 0
1060 tcp 10.0.0.1 1002 10.0.0.2 80 A 12 100 10
1070 tcp 10.0.0.1 1002 10.0.0.2 80 A 2 100 10
1080 tcp 10.0.0.1 1002 10.0.0.2 80 FA 12 100 10
1090 tcp 10.0.0.2 80 10.0.0.1 1001 A 100 45 0
1100 tcp 10.0.0.1 1001 10.0.0.2 80 A 45 107 0
1110 tcp fd00::1 1003 fd00::2 80 A 5 5 5
1120 tcp 10.0.0.1 1002 10.0.0.2 80 S 900 0 0
1130 tcp 10.0.0.1 1002 10.0.0.2 80 A 906 0 1
1140 tcp 10.0.0.1 1004 10.0.0.2 81 S 7 0 0
1150 tcp 10.0.0.2 81 10.0.0.1 1004 RA 0 8 0
END
is "$("$ROOT/tests/truth/gaps.pl" "$TMP/gaps.pcap")" "10.0.0.1	1001	10.0.0.2	80	30
10.0.0.1	1002	10.0.0.2	80	5
10.0.0.2	80	10.0.0.1	1001	7
fd00::1	1003	fd00::2	80	1" "gaps.pl tells what a capture has not"

# A truth that is not true: the harness sees it.
run timeout 60 "$HARNESS" --build "$BUILD" --kinds tcp4,udp4 --life 300:1 --interval 50ms \
	--cpu-budget 50% --shuffle --tsv "$TMP/shuffled"
is "$status" 1 "wrong pids make the harness fail"
isnt "$(awk -F '\t' '$1 == "tcp4 client" { print $5 }' "$TMP/shuffled")" 0 \
	"and it names the kind"

done_testing
