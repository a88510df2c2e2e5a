#!/bin/bash
# A disk that is nearly full, whose oldest segments expire as new ones come, at some 8,000
# packets/s: nothing is lost, however long compressing takes. Its thread gets only what the
# processors have left, and they are busy. What --keep-free leaves is three seconds of packets.
# lib.sh and spawn assign by name.
# shellcheck disable=SC2034,SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO" "$PCAPWHO_RECORD"
need_command perl sqlite3 chrt
own_network

mkdir "$TMP/small"
mount -t tmpfs -o size=64m,mode=0700 none "$TMP/small" || skip_all "no tmpfs"
at_exit umount "$TMP/small"
where=$TMP/small/evidence

# Datagrams to nobody, never more in a hundredth of a second than the rate; no two alike, so that
# little is saved by compressing. Twice what the disk holds.
packets=96000
send() {
	nice -n -15 perl -MSocket -e 'my ($left) = @ARGV; open my $random, "<", "/dev/urandom" or die;
		read $random, my $bytes, 1 << 20; my $to = pack_sockaddr_in(9, inet_aton("127.0.0.1"));
		socket my $s, AF_INET, SOCK_DGRAM, 0 or die;
		while ($left > 0) {
			for (1 .. 80) { last if $left-- <= 0; send $s, substr($bytes, rand(length($bytes) - 1000), 1000), 0, $to or die $! }
			select undef, undef, undef, 0.01;
		}' "$1"
}
# Threads of the recorder that are below its other ones.
low_threads() {
	awk '{ sub(/.*\) /, ""); if ($17 == 10) { n = split(FILENAME, part, "/"); print part[n - 1] } }' \
		/proc/"$1"/task/*/stat
}
burn() {
	while :; do :; done
}

spawn RECORDER "$PCAPWHO_RECORD" -o "$where" -i lo -f 'udp dst port 9' -B 64 --interval 200ms \
	--cpu-budget 50% --rotate-size 4M --keep-free 24M --compress 2>"$TMP/err"
wait_until 10 grep -q 'recording into' "$TMP/err"
burners=()
wait_until 10 eval '[ "$(low_threads "$RECORDER")" ]'
for thread in $(low_threads "$RECORDER"); do
	chrt --idle --pid 0 "$thread"
done
for ((i = 0; i < $(nproc); i++)); do
	spawn BURNER burn
	burners+=("$BURNER")
done
send "$packets"
for burner in "${burners[@]}"; do
	kill "$burner"
done
kill -TERM "$RECORDER"
wait "$RECORDER"
is $? 0 "it ends well"
err=$(<"$TMP/err")
captured=$(sed -n 's/^\([0-9]*\) packets captured$/\1/p' "$TMP/err")
dropped=$(sed -n 's/^\([0-9]*\) packets dropped by kernel$/\1/p' "$TMP/err")
is "$((captured + dropped))" "$packets" "all is in a file, but for what the kernel dropped ($dropped)"
unlike "$err" 'packets lost|not recorded' "the disk cost nothing"
is "$(cut -f 3 "$where/custody.log" | grep -c pause)" 0 "the log has no pause"
ok "it expired more than once" [ "$(cut -f 3 "$where/custody.log" | grep -c expire)" -gt 2 ]
is "$(find "$where" -name '*.part')" "" "nothing is left half done"
run "$PCAPWHO" analyze -q --verify -o "$TMP/db" "$where"
is "$status$err" 0 "what is left is what the log says, plain or compressed"
is "$(sqlite3 -readonly "$TMP/db" "SELECT count(*) FROM coverage WHERE kind IN ('lost', 'paused', 'torn', 'damaged')")" 0 \
	"coverage has no loss"
done_testing
