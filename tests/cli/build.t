#!/bin/bash
# The tree is laid out as the design says, and the programs that came out of the
# build answer to their names.
. "${0%/*}/lib.sh"
cd "$ROOT" || bail "no $ROOT"

# ---- the tree ----
top=$(find . -mindepth 1 -maxdepth 1 ! -name '.*' ! -name build -printf '%f ' | tr ' ' '\n' |
	sort | xargs)
is "$top" "LICENSE Makefile README.md analyze samples schema snapshot tests" \
	"the top level holds the rooms and nothing else"
run perl tests/lint/arrows.pl
is "$out$err" "" "every include follows the arrows of the design"

# Each rule of the arrow check can fail: a broken tree, and the one line it costs.
broken() {
	local file=$1 line=$2 want=$3
	local tree=$TMP/tree
	rm -rf "$tree"
	mkdir -p "$tree/snapshot/format" "$tree/analyze"
	for made in snapshot/procnet.h snapshot/format/error.h analyze/load.h analyze/decode.h \
		analyze/store.h analyze/replay.h; do
		: >"$tree/$made"
	done
	printf '%s\n' '#include <stdio.h>' "$line" >"$tree/$file"
	run perl tests/lint/arrows.pl "$tree"
	like "$status $out" "^1 $file:2: .*$want" "arrow check: $file may not say $line"
}
broken snapshot/procfs.c '#include "analyze/decode.h"' 'snapshot -> analyze'
broken snapshot/format/error.c '#include "analyze/decode.h"' 'snapshot/format -> analyze'
broken snapshot/format/error.c '#include "snapshot/procnet.h"' 'knows neither program'
broken analyze/decode.c '#include "snapshot/procnet.h"' 'analyze -> snapshot/procnet.h'
broken analyze/decode.c '#include "analyze/replay.h"' 'decode -> replay'
broken analyze/replay.c '#include "analyze/load.h"' 'replay -> load'
broken analyze/replay.c '#include "analyze/store.h"' 'replay -> store'
broken analyze/decode.c '#include "error.h"' 'from the root'
broken analyze/decode.c '#include "analyze/missing.h"' 'no such file'
broken analyze/decode.c '#include <pcap/pcap.h>' 'libpcap'
broken analyze/load.c '#include <sqlite3.h>' 'SQLite'
broken snapshot/capture.c '#include <cap-ng.h>' 'libcap-ng'
broken snapshot/poller.c '#include <linux/inet_diag.h>' 'netlink'

printf '%s\n' '/* strcpy(a, b) */ "atoi(x)";' 'x = atoi(y);' >"$TMP/banned.c"
run perl tests/lint/banned.pl "$TMP/banned.c"
like "$status $out" "^1 $TMP/banned.c:2: atoi is banned" "a banned function is found"
is "$(wc -l <<<"$out")" 1 "and only where it is code"

# ---- the programs ----
if [ -x "$PCAPWHO" ] && [ -x "$PCAPWHO_RECORD" ]; then
	needed() {
		readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\.so.*/\1/p' | xargs
	}
	unlike "$(needed "$PCAPWHO")" 'cap-ng' "pcapwho does not link what privilege needs"
	unlike "$(needed "$PCAPWHO_RECORD")" 'sqlite' "pcapwho-record does not link a database"

	for program in "$PCAPWHO" "$PCAPWHO_RECORD"; do
		name=${program##*/}
		run "$program" --version
		like "$status $out" "^0 $name [0-9]+\.[0-9]+\.[0-9]+" "$name --version"
		run "$program" --help
		like "$status $out" "^0 .*[Uu]sage: *$name" "$name --help is for standard output"
		is "$err" "" "$name --help leaves standard error alone"
		run "$program" --no-such-option
		is "$status$out" "64" "$name: an unknown option is a usage error"
		isnt "$err" "" "$name: and is explained on standard error"
	done

	run "$PCAPWHO" no-such-verb
	is "$status$out" "64" "an unknown verb is a usage error"
	run "$PCAPWHO" --help
	help=$out
	for verb in record analyze query; do
		like "$help" "(^|[^a-z])$verb([^a-z]|$)" "pcapwho --help names $verb"
		run "$PCAPWHO" "$verb" --help
		like "$status $out" "^0 .*[Uu]sage: *pcapwho[- ]$verb" "pcapwho $verb --help"
	done

	# ---- installation ----
	# With the compiler it was built with, or make would build it all again.
	if [ "$BUILD" = "$ROOT/build/release" ]; then
		run make -s install DESTDIR="$TMP/root" PREFIX=/usr
		is "$status" 0 "make install"
		ok "installs pcapwho" test -x "$TMP/root/usr/bin/pcapwho"
		ok "and pcapwho-record" test -x "$TMP/root/usr/bin/pcapwho-record"
		ok "and the format's page" test -f \
			"$TMP/root/usr/share/doc/pcapwho/snapshot/format/FORMAT.md"
		run make -s uninstall DESTDIR="$TMP/root" PREFIX=/usr
		is "$(find "$TMP/root" -type f)" "" "make uninstall leaves no file"
	fi
else
	skip 1 "the programs are not built"
fi
done_testing
