#!/bin/bash
# What --help, the manual pages and the programs say of the options is the same,
# and a word that is no option is named.
# lib.sh assigns by name.
# shellcheck disable=SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO" "$PCAPWHO_RECORD"
mkdir "$TMP/w"
cd "$TMP/w" || bail "no directory"
manual=$ROOT/analyze/pcapwho.1
record_manual=$ROOT/snapshot/pcapwho-record.8

# Words that begin with two dashes, in text; --keep stands for all that begin so.
long_options() { grep -oE -e '--[a-z][a-z0-9-]*' | grep -vxe --keep | sort -u; }
# The same in mdoc, where the macro Fl writes the first dash.
manual_options() {
	grep -E '(^\.|[[:space:]])Fl ' | grep -oE '[[:space:]]-[a-z][a-z0-9-]*' |
		sed 's/^[[:space:]]*/-/' | long_options
}
# A verb's part of the manual, with --help, which the page says of every verb.
manual_part() {
	awk -v verb="$1" '/^\.S[sh]/ { on = $2 == verb } on' "$manual"
	grep -xF '.Fl -help ;' "$manual"
}
# A verb's part of the synopsis.
synopsis() {
	awk -v verb="$1" '/^\.Sh/ { in_synopsis = $2 == "SYNOPSIS" } /^\.Nm/ { on = 0 }
		/^\.Cm/ && in_synopsis { on = $2 == verb } on' "$manual"
}

like "$(manual_part analyze | manual_options)" "--bucket" "(options are found in the manual)"
like "$(synopsis query | manual_options)" "--since" "(and in its synopsis)"

for verb in record analyze query merge explain import index; do
	run "$PCAPWHO" "$verb" --help
	is "$status$err" 0 "$verb --help: done, and nothing on standard error"
	like "$out" "^Usage: pcapwho" "$verb --help: on standard output"
	help=$out
	run "$PCAPWHO" "$verb" -h
	is "$status$err$out" "0$help" "$verb -h: the same"
	run "$PCAPWHO" help "$verb"
	is "$status$err$out" "0$help" "help $verb: the same"

	if [ "$verb" != record ]; then # which has its command's status too
		like "$help" $'\n'"Exit status: 0 done.*64 .*usage.*66 no such" "$verb --help: the exit status"
		# What it names of the database is what it is called there.
		is "$(grep -oE '\b(table|view) [a-z_]+' <<<"$help" | while read -r type object; do
			[ "$object" != or ] || continue
			awk -F '\t' -v o="$object" '$1 == o && $2 == "" { print $1, $3 }' "$ROOT/schema/columns.tsv" |
				grep -qx "$object $type" || echo "no $type $object"
		done)" "" "$verb --help: tables are called tables, and views views"
	fi
	offered=$(long_options <<<"$help")
	if [ "$verb" = record ]; then
		is "$(manual_options <"$record_manual")" "$offered" "$verb: manual and --help have the same options"
	else
		is "$(manual_part "$verb" | manual_options)" "$offered" "$verb: manual and --help have the same options"
		is "$(comm -23 <(synopsis "$verb" | manual_options) <(echo "$offered"))" "" "$verb: the synopsis has no other"
	fi
	for option in $offered; do
		run "$PCAPWHO" "$verb" "$option"
		unlike "$err" "unknown option" "$verb $option: it is taken"
	done

	name="pcapwho $verb"
	[ "$verb" != record ] || name=pcapwho-record # a program of its own
	for option in --nonsense -Z; do
		run "$PCAPWHO" "$verb" "$option"
		is "$status$out" 64 "$verb $option: wrong usage"
		is "$err" "$name: unknown option \"$option\"; see $name --help" "$verb $option: it is named, in the same words"
	done
	valued=$(grep -m 1 -oE '^ +(-[a-z], )?--[a-z-]+ [A-Z]' <<<"$help" | grep -oE -e '--[a-z-]+')
	[ -n "$valued" ] || continue
	run "$PCAPWHO" "$verb" "$valued"
	is "$status$out$err" "64$name: $valued needs a value; see $name --help" "$verb $valued: without its value, in the same words"
done

run "$PCAPWHO" --help
help=$out
is "$status$err" 0 "--help: done, and nothing on standard error"
for verb in record analyze query merge explain import index; do
	like "$help" $'\n'"  $verb " "--help names $verb"
done
run "$PCAPWHO" help
is "$status$err$out" "0$help" "help: the same"
for command in --help --version "help query" "analyze --help" "record --help" "query --list"; do
	# shellcheck disable=SC2086
	run bash -c '"$@" >/dev/full' - "$PCAPWHO" $command
	like "$status$err" "^1pcapwho[^:]*: cannot write to standard output: No space left" \
		"$command, to where there is no room: it is said"
done
run "$PCAPWHO"
is "$status$out" 64 "no verb: wrong usage"
run "$PCAPWHO" help dance
is "$status$out" 64 "help of a verb that is not there: wrong usage"
like "$err" "^pcapwho: .*dance" "and it is named"

# Letters that share a dash; a value where none is taken, none where one is.
run "$PCAPWHO" analyze --quiet -qZ x.pcap
like "$err" '^pcapwho analyze: unknown option "-Z"' "the letter is named, not its neighbours"
run "$PCAPWHO" analyze --quiet=yes x.pcap
like "$status$err" '^64pcapwho analyze: .*"--quiet=yes"' "a value for a switch"
run "$PCAPWHO" analyze x.pcap --bucket
like "$status$err" '^64pcapwho analyze: --bucket needs a value' "an option without its value"
run "$PCAPWHO" query x.db top --limit
like "$status$err" '^64pcapwho query: --limit needs a value' "the same of query"
while read -r verb option value; do
	run "$PCAPWHO" "$verb" "$option" "$value" x
	like "$err" "^pcapwho[- ]$verb: $option: wanted .*, found \"$value\"$" "$verb $option $value: what was wanted, and what was found"
done <<'END'
record --interval soon
record --buffer 0
analyze --bucket soon
analyze --jobs 0
analyze --udp-timeout 0
query --limit few
query --bucket soon
query --format xml
explain --flow 0
explain --format xml
explain --udp-timeout 0
import --pid 0
import --byte-order middle
END
run "$PCAPWHO" import --time abc
like "$err" "^pcapwho import: --time: wanted .*, found \"abc\"$" "a wrong time comes before what is missing"
is "$(ls -A)" "" "nothing was made"
done_testing
