#!/bin/bash
# pcapwho query on a database of several hosts: --host gives what the database of that host
# alone gives, rows say whose they are, and two machines of one name are two hosts.
# lib.sh assigns by name.
# shellcheck disable=SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO"
need_command sqlite3 perl jq
cd "$TMP" || bail "no directory"

# ---- the sample, as several hosts recorded it, each another part ----
# host FILE NAME MACHINE-ID SEGMENTS: there curl has the name of the file in its own
host() {
	cp -r "$ROOT/samples/evidence" "$1"
	rm -f "$1/custody.log"
	for snap in "$1"/*.snap.gz; do
		rewrite "$snap" "s/^(meta\thostname\t).*/\${1}$2/ or s/^(meta\tmachine_id\t).*/\${1}$3/ or
			s/^(meta\t(?:boot_id|recording)\t)../\${1}$1/; s/^(process\t.*\t)curl\t/\${1}curl-$1\t/;
			\$_ = '' if '$1' eq 'ff' && /^(holder|use|born)\t/"
	done
	# shellcheck disable=SC2086
	"$PCAPWHO" analyze -q -o "$1.db" "$1"/$4 || bail "analyze $1"
}
host aa alpha 01 '0*.pcap'
host bb beta 02 '000001*.pcap'
host cc web 03 '000002*.pcap'
host dd web 04 '000001*.pcap'
host ff fog 05 '0*.pcap'
cp "$ROOT"/samples/evidence/000001*.pcap bare.pcap
perl -e 'open F, "+<", $ARGV[0]; seek F, -1, 2; print F "!"' bare.pcap # or it is a part of alpha
"$PCAPWHO" analyze -q -o bare.db bare.pcap || bail "analyze bare.pcap"
"$PCAPWHO" merge -q fleet.db aa.db bb.db cc.db dd.db ff.db bare.db || bail "merge"
hosts=(alpha beta web@03 web@04 fog)
declare -A of=([alpha]=aa [beta]=bb [web@03]=cc [web@04]=dd [fog]=ff)

# What a query gives, without the numbers that merging changes; a host alone is shown by its name.
ask() { # DATABASE ARGUMENT…
	"$PCAPWHO" query "$@" --format json >asked 2>asked.err || diag "query $*: $(<asked.err)"
	sed -E 's/"(id|flow_id|segment_id)":[0-9]+,?//g; s/web@0[34]/web/g' asked
}
isnt "$(ask aa.db connections | cksum)" "$(ask dd.db connections | cksum)" "(the hosts differ)"
like "$(ask cc.db top)" curl-cc "(in their processes too)"
is "$(ask ff.db top | grep -c '"process":null')" 1 "(one has nothing but what has no owner)"
is "$(ask ff.db top | grep -c '"process":"')" 0 "(one has nothing but what has no owner at all)"

# ---- one host ----
middle=2026-11-22T03:52:56.3Z
for query in $("$PCAPWHO" query --list | awk '{ print $1 }'); do
	for name in "${hosts[@]}"; do
		while read -r options; do
			case $query:$options in
			hosts:*-* | accounting:*-* | rules:*-[sup]* | unattributed:*-[sup]*) continue ;;
			esac
			[[ $options != *--bucket* || $query = timeline ]] || continue
			# shellcheck disable=SC2086
			is "$(ask fleet.db "$query" --host "$name" $options)" "$(ask "${of[$name]}.db" "$query" $options)" \
				"$query --host $name $options: what that one's own database gives"
		done <<-EOS

			--limit 3
			--since $middle
			--since $middle --until 2026-11-22T03:52:57.6Z --limit 4
			--process curl*
			--process dnsmasq --until $middle
			--bucket 2s --limit 2
		EOS
	done
done
# ---- all of them ----
rows() { # QUERY SQL-LIKE-FILTER…: the hostname of each row that jq lets through
	"$PCAPWHO" query fleet.db "$1" --format json | jq -r "[.[] | select($2) | .hostname // \"-\"] | unique | join(\" \")"
}
for query in top timeline talkers connections listeners; do
	is "$(rows "$query" '.pid != null')" "alpha beta web@03 web@04" "$query: each process with its host"
done
is "$(rows talkers '.pid == null')" "- alpha beta fog web@03 web@04" "talkers: what has no owner is told apart too"
is "$(rows connections true)" "- alpha beta fog web@03 web@04" "connections: all, of which a capture alone has no host"
is "$(rows accounting '.scope == "segment"')" "- alpha beta fog web@03 web@04" "accounting: each capture with its host"
is "$(rows kernel_check '.scope == "end"')" "beta web@03 web@04" \
	"kernel_check: each end with its host, where only a part of the flows was kept"
for query in top timeline; do
	is "$(rows "$query" '.pid == null')" - "$query: what has no owner is of all hosts, so of none"
done
is "$("$PCAPWHO" query fleet.db talkers --format json | jq '[.[].sent_bytes] | add')" \
	"$("$PCAPWHO" query fleet.db "SELECT sum(sent_bytes) AS n FROM connection" --format json | jq '.[].n')" \
	"talkers: no byte is lost or counted twice"
is "$("$PCAPWHO" query fleet.db hosts --format csv | tail -n +2 | cut -d, -f1-5 | tr -d '\r')" \
	"alpha,01,1,1,2
beta,02,1,1,1
fog,05,1,1,2
web@03,03,1,1,1
web@04,04,1,1,1
,,0,1,1" "hosts: one row for each"
is "$("$PCAPWHO" query aa.db top --format csv | cut -d, -f1 | sort -u | tr -d '\r' | paste -sd' ')" "alpha hostname" \
	"of one host alone every row has its name, also what has no owner"

# ---- which host is meant ----
refused() { # REGEX NAME ARGUMENT…
	local regex=$1 name=$2
	shift 2
	run "$PCAPWHO" query "$@"
	is "$status$out" 64 "$name: wrong usage"
	like "$err" "$regex" "$name: said so"
}
refused '^pcapwho query: fleet.db: --host: found "gamma", wanted one of: alpha, beta, fog, web@03, web@04$' \
	"a host that is not in it" fleet.db top --host gamma
refused 'found "web", wanted one of: .*web@03, web@04$' "a name that two machines have" fleet.db top --host web
refused 'found "", wanted' "no name" fleet.db top --host ''
refused 'needs a value' "no value" fleet.db top --host
refused '"alpha", wanted one of: \(no host has a name\)' "captures alone" bare.db top --host alpha
refused 'takes no --host' "SQL that does not ask for it" fleet.db "SELECT 1" --host alpha
is "$(ask fleet.db top --host alpha@01)" "$(ask aa.db top)" "the machine can be told in any case"
is "$(ask cc.db top --host web)" "$(ask cc.db top)" "a name that is one machine's in this database"
is "$("$PCAPWHO" query fleet.db "SELECT :host AS h" --host alpha@01 --format json | jq -r '.[].h')" alpha \
	"SQL gets the name that the queries show"
cp fleet.db liar.db
sqlite3 liar.db "UPDATE recording SET hostname = 'web@03' WHERE hostname = 'alpha'"
refused 'found "web@03", wanted one of' "a host that is called as another is shown" liar.db top --host web@03
sqlite3 liar.db "UPDATE recording SET hostname = 'x' || char(27) || '[2J' WHERE hostname = 'beta'"
refused 'x\\x1b\[2J' "a name that would steer a terminal" liar.db top --host gamma
sqlite3 liar.db "WITH RECURSIVE n(n) AS (SELECT 100 UNION ALL SELECT n + 1 FROM n WHERE n < 999)
	INSERT INTO recording (recording_id, hostname) SELECT n, 'host' || n FROM n"
refused 'fog, host100, .* and [0-9]+ more: pcapwho query DATABASE hosts$' "more hosts than a line has room for" \
	liar.db top --host gamma
done_testing
