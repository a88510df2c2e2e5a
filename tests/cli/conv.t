#!/bin/bash
# Conversations against tshark's: of each capture, packets and bytes of every
# TCP, UDP, SCTP and ICMP conversation are those that tshark finds. What differs is
# one of these, and tests/conv.pl says which:
#
# | reason | what tshark counts | what pcapwho counts, and why |
# |---|---|---|
# | carried | what a tunnel carries (IP in IP, GRE, VXLAN, L2TP …) as a conversation too | the outer packet: it is what a process of the host sent. What is in it stands in table `tunnel`, see tunnel.t |
# | unreadable | a packet whose IP or TCP length says more than its frame had | in `other`, malformed: the kernel drops it. Or truncated: the snaplen cut it before its ports |
# | repeat | each sighting of a packet on several interfaces | the first one; the others are in `repeat_packets` |
# | length | the length that the IP header says | the frame's, where offload left the header's at zero |
#
# Later fragments are of the conversation of their first one for both. Further
# captures: PCAPWHO_CAPTURES="DIRECTORY …".
# lib.sh and spawn assign by name.
# shellcheck disable=SC2034,SC2086,SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO"
need_command perl sqlite3 tshark capinfos editcap mergecap

sql() { sqlite3 -readonly -batch "$@"; }
packets_of() { capinfos -Mc "$1" 2>/dev/null | awk '/^Number of packets:/ {n = $NF} END {print n + 0}'; }

load() { # CAPTURE
	rm -f "$TMP/db"
	run "$PCAPWHO" analyze -q --packets "$1" -o "$TMP/db"
}
differences() { perl "$ROOT/tests/conv.pl" "$1" "$TMP/db" 2>"$TMP/conv.err"; }

# compare CAPTURE NAME [REASON…]: every packet is accounted for, and there is no
# difference but of those reasons.
compare() {
	local capture=$1 name=$2 allowed
	shift 2
	allowed=$(IFS='|'; echo "${*:-none}")
	load "$capture"
	is "$(sql "$TMP/db" "SELECT packets FROM accounting WHERE scope = 'total';
		SELECT sum(difference <> 0) FROM accounting")" "$(packets_of "$capture")"$'\n'0 \
		"$name: every packet is accounted for"
	differences "$capture" >"$TMP/found"
	is "$?" 0 "$name is compared" || diag "$(<"$TMP/conv.err")"
	is "$(grep -Ev " ($allowed)\$" "$TMP/found")" "" "$name: tshark's conversations${1:+, but for what is $*}"
}

# ---- captures made here: each way in which a packet is carried ----
mkdir "$TMP/made"
perl "$ROOT/tests/conv_captures.pl" "$TMP/made" || bail "no captures"
for capture in "$TMP"/made/*.pcap; do
	name=${capture##*/}
	case $name in
	geneve.pcap | gre.pcap | gretap.pcap | ipip.pcap | nested.pcap | sit.pcap | vxlan.pcap)
		compare "$capture" "$name" carried
		is "$(sql "$TMP/db" "SELECT DISTINCT orig_address FROM flow ORDER BY 1")" \
			"203.0.113.1" "$name: the outer conversation is what is counted"
		;;
	*) compare "$capture" "$name" ;;
	esac
done
load "$TMP/made/gre.pcap"
is "$(differences "$TMP/made/ethernet.pcap" | grep -c '^differs')" 2 "another capture's conversations do differ"
load "$TMP/made/ethernet.pcap"
for table in "orig_packets = orig_packets + 1" "resp_bytes = resp_bytes - 1"; do
	sqlite3 "$TMP/db" "UPDATE flow SET $table WHERE ip_version = 6"
	is "$(differences "$TMP/made/ethernet.pcap" | grep -Ec '^differs|length$')" 1 "so does one of which $table"
done

# ---- the same in one pcapng: interfaces of several link types and snaplens ----
mergecap -F pcapng -w "$TMP/all.pcapng" "$TMP"/made/{ethernet,sll,sll2,raw,null,loop,ppp,cut,fragments,sctp,icmp}.pcap
ok "mergecap makes one of several interfaces" test "$(capinfos "$TMP/all.pcapng" | grep -c '^Interface #')" -gt 5
compare "$TMP/all.pcapng" "several interfaces"
gzip -k "$TMP/all.pcapng"
compare "$TMP/all.pcapng.gz" "the same with gzip"

# ---- every link type there is: read, or counted with the reason ----
mkdir "$TMP/links"
perl -e 'for my $link (0 .. 300) {
		open my $to, ">:raw", "$ARGV[0]/$link.pcap" or die;
		print $to pack("L<S<S<L<L<L<L<", 0xa1b2c3d4, 2, 4, 0, 0, 65535, $link),
			pack("L<L<L<L<", 1, 0, 48, 48), pack "C48", 0x45, 0, map { $_ * 7 % 256 } 2 .. 47;
	}' "$TMP/links"
run "$PCAPWHO" analyze -q "$TMP"/links/*.pcap -o "$TMP/links.db"
is "$status" 0 "captures of 301 link types load"
is "$(sql "$TMP/links.db" "SELECT packets, difference FROM accounting WHERE scope = 'total'")" "301|0" \
	"and each packet is accounted for"
is "$(sql "$TMP/links.db" "SELECT count(*) FROM segment g WHERE packets <> flow_packets AND NOT EXISTS
	(SELECT 1 FROM other o WHERE o.segment_id = g.segment_id AND reason <> '')")" 0 "with a reason where it is in no flow"

# ---- what this repository and Debian's packages ship, where it is installed ----
# golang-github-google-gopacket-dev, python3-dpkt, ruby-pcaprub
corpus=("$ROOT"/samples/evidence/*.pcap
	/usr/share/gocode/src/github.com/{google,gopacket}/gopacket/pcap/*.pcap
	/usr/share/gocode/src/github.com/google/gopacket/pcapgo/tests/{le,be}/*.pcapng
	/usr/share/doc/python3-dpkt/examples/data/*.pcap
	/usr/share/doc/ruby-pcaprub/examples/*.pcap.gz)
while read -r capture; do
	corpus+=("$capture")
done < <([ -z "${PCAPWHO_CAPTURES:-}" ] ||
	find $PCAPWHO_CAPTURES -type f -regextype egrep -iregex '.*\.(pcap|pcapng|cap)(\.gz)?' | sort)
for capture in "${corpus[@]}"; do
	# Not installed; or nothing that tshark reads.
	[ -e "$capture" ] || continue
	[ -n "$(capinfos -Mrc "$capture" 2>/dev/null)" ] || continue
	compare "$capture" "${capture#"$ROOT"/}" carried unreadable repeat length
done
done_testing
