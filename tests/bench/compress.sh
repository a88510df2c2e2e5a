#!/bin/bash
# compress.sh: what compressing a recording costs beside gzip, and reading it into a
# database beside `gzip -dc FILE | wc -c` of the same files, in turns, from the page
# cache; and the same of one capture of half as many packets, which several workers read by
# its index. The evidence is made (history.c).
. "${BASH_SOURCE[0]%/*}/lib.bash"
options segments=8 packets=1000000 flows=20000 sockets=2000 rate=10000 bytes=700 runs=5 -- "$@"
need_command gzip
need_program "$PCAPWHO" "$HELPERS/history" "$HELPERS/squeeze" "$HELPERS/spent"

"$HELPERS/history" "$TMP/evidence" "segments=$segments" "packets=$packets" "flows=$flows" \
	"sockets=$sockets" "rate=$rate" "bytes=$bytes" || failed "no evidence"
total=$(cat "$TMP"/evidence/*.pcap | wc -c)
mapfile -t jobs < <(printf '%s\n' 1 "$(nproc)" 4 | sort -nu | awk -v most="$(nproc)" '$1 <= most')
one=("$TMP"/evidence/*.pcap)

declare -A wall cpu
take() {
	wall[$1]+="$(awk '{ print $4 }' "$TMP/$1") "
	cpu[$1]+="$(cpu_us "$1") "
}
# shellcheck disable=SC2086
median_of() { median ${1}; }
# One segment, as often as the rest is done.
mkdir "$TMP/one"
for ((run = 0; run < runs; run++)); do
	rm -rf "$TMP/one"
	mkdir "$TMP/one"
	cp "${one[0]}" "$TMP/evidence/custody.log" "$TMP/one"
	spent gzip6 gzip -k "$TMP/one/${one[0]##*/}" || failed "gzip failed"
	gzip_bytes=$(stat -c %s "$TMP"/one/*.gz)
	rm "$TMP"/one/*.gz
	spent squeeze "$HELPERS/squeeze" "$TMP/one" || failed "squeeze failed"
	squeeze_bytes=$(stat -c %s "$TMP"/one/*.gz)
	take gzip6
	take squeeze
done
"$HELPERS/squeeze" "$TMP/evidence" || failed "squeeze failed"
cat "$TMP"/evidence/*.gz >/dev/null
for ((run = 0; run < runs; run++)); do
	# shellcheck disable=SC2016
	spent gunzip bash -c 'gzip -dc "$1"/*.pcap.gz | wc -c' gunzip "$TMP/evidence" || failed "gzip -dc failed"
	take gunzip
	for n in "${jobs[@]}"; do
		rm -f "$TMP/db"
		spent "j$n" "$PCAPWHO" analyze -q "-j$n" -o "$TMP/db" "$TMP/evidence" || failed "-j$n failed"
		take "j$n"
	done
done
rm -rf "$TMP/evidence" "$TMP/one"
"$HELPERS/history" "$TMP/large" segments=1 "packets=$((segments * packets / 2))" "flows=$flows" \
	"sockets=$sockets" "rate=$rate" "bytes=$bytes" || failed "no evidence"
"$HELPERS/squeeze" "$TMP/large" || failed "squeeze failed"
cat "$TMP"/large/*.gz >/dev/null
for ((run = 0; run < runs; run++)); do
	# shellcheck disable=SC2016
	spent gunzip1 bash -c 'gzip -dc "$1"/*.pcap.gz | wc -c' gunzip "$TMP/large" || failed "gzip -dc failed"
	take gunzip1
	for n in "${jobs[@]}"; do
		rm -f "$TMP/large$n.db"
		spent "large$n" "$PCAPWHO" analyze -q "-j$n" -o "$TMP/large$n.db" "$TMP/large" || failed "-j$n failed"
		take "large$n"
		cmp -s "$TMP/large$n.db" "$TMP/large1.db" || failed "-j$n: another database than -j1"
	done
done

row() { # NAME TITLE BESIDE
	printf '%-34s  %8.2f  %8.2f  %8.3f  %8.3f\n' "$2" "$(calc "$(median_of "${wall[$1]}") / 1e6")" \
		"$(calc "$(median_of "${cpu[$1]}") / 1e6")" \
		"$(calc "$(median_of "${wall[$1]}") / $(median_of "${wall[$3]}")")" \
		"$(calc "$(median_of "${cpu[$1]}") / $(median_of "${cpu[$3]}")")"
}
echo "$((segments * packets)) packets, $total bytes in $segments segments; medians of $runs"
printf '%-34s  %8s  %8s  %8s  %8s\n' program 'wall, s' 'CPU, s' '× wall' '× CPU'
row gzip6 "gzip, of one segment" gzip6
row squeeze "--compress, of one segment" gzip6
row gunzip 'gzip -dc FILE... | wc -c' gunzip
for n in "${jobs[@]}"; do
	row "j$n" "pcapwho analyze -j$n" gunzip
done
row gunzip1 'gzip -dc FILE | wc -c, one capture' gunzip1
for n in "${jobs[@]}"; do
	row "large$n" "pcapwho analyze -j$n, one capture" gunzip1
done
echo "of one segment gzip left $gzip_bytes bytes, --compress $squeeze_bytes"
goal "--compress, CPU times gzip's" "$(calc "$(median_of "${cpu[squeeze]}") / $(median_of "${cpu[gzip6]}")")" 1
goal "-j1, times gzip -dc" "$(calc "$(median_of "${wall[j1]}") / $(median_of "${wall[gunzip]}")")" 1.3
[ ! -v 'wall[j4]' ] || goal "-j4, times gzip -dc" "$(calc "$(median_of "${wall[j4]}") / $(median_of "${wall[gunzip]}")")" 0.45
[ ! -v 'wall[large4]' ] || goal "-j4, one capture, times gzip -dc" "$(calc "$(median_of "${wall[large4]}") / $(median_of "${wall[gunzip1]}")")" 0.45
goals_met
