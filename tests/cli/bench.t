#!/bin/bash
# What `make bench` writes down and shows of benches: here of small ones made up.
# lib.sh assigns by name.
# shellcheck disable=SC2154
. "${0%/*}/lib.sh"
need_command jq
bench() { # NAME: with what stands on standard input
	{
		echo "#!/bin/bash"
		echo ". '$ROOT/tests/bench/lib.bash'"
		cat
	} >"$TMP/$1"
	chmod +x "$TMP/$1"
}
bench good.sh <<'END'
options size=1 -- "$@"
goal 'CPU, "times" \ ss'\''s' 0.25 0.5 'ss -tunap, ms' 12.5
figure "rows" 1e6
figure "size" "$size"
goals_met
END
bench bad.sh <<'END'
goal "MiB" 33 32
goals_met
END
bench broken.sh <<<'failed "it broke"'
bench absent.sh <<<'skip_all "no such load"'
all() { run "$ROOT/tests/bench/run.bash" "$TMP/made/bench.json" "$@"; }
json() { jq -c "$1" "$TMP/made/bench.json"; }

all "$TMP/good.sh"
is "$status" 0 "all goals met"
is "$(json '.figures[0]')" '{"bench":"good.sh","name":"CPU, \"times\" \\ ss'\''s","value":0.25,"goal":0.5,"met":true,"peer":{"name":"ss -tunap, ms","value":12.5}}' \
	"a figure with its goal and its peer, whatever its name"
is "$(json '.figures[1]')" '{"bench":"good.sh","name":"rows","value":1000000,"goal":null,"met":null,"peer":null}' "one without"
is "$(json '.machine | keys')" '["cores","cpu","kernel"]' "the machine"
is "$(json 'keys')" '["benches","commit","figures","machine"]' "and nothing of when it was"
like "$out" $'\n''BENCH +FIGURE +VALUE +AT MOST +MET +BESIDE'$'\n''good.sh  CPU, "times" .* 0.25 +0.5  yes  ss -tunap, ms 12.5'$'\n' \
	"the table at the end"
all "$TMP/good.sh" -- --size 7
is "$(json '.figures[2].value')" 7 "options reach the bench"
all "$TMP/absent.sh" "$TMP/bad.sh" "$TMP/broken.sh" "$TMP/good.sh"
is "$status" 1 "one missed, one failed"
is "$(json '.benches[] | [.bench, .result]')" '["absent.sh","skipped"]
["bad.sh","missed"]
["broken.sh","failed"]
["good.sh","met"]' "each with its result"
is "$(json '[.figures[] | select(.met == false) | .name]')" '["MiB"]' "what was missed"
like "$out" 'bad.sh +MiB +33 +32 +NO' "which the table shows"
like "$out" 'broken.sh +failed' "and what failed"
all "$TMP/absent.sh"
is "$status$(json '.figures')" "0[]" "nothing could run: no figures"
# ---- what evidence is made with ----
history=${MANY%/cli/many}/bench/history
if [ -x "$history" ]; then
	mkdir "$TMP/history" && cd "$TMP/history" || bail "no directory"
	for words in --help -x "" "made --help" "made nonsense" "made packets=" "made packets=0"; do
		read -r -a arguments <<<"$words"
		run "$history" "${arguments[@]}"
		like "$status $out$err" "^2 history: .*: wanted .*Usage: history DIRECTORY" "history $words: refused"
	done
	is "$(ls -A "$TMP/history")" "" "and nothing is made"
else
	skip 8 "the benches are not built"
fi
done_testing
