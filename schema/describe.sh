#!/bin/sh
# Prints what columns.tsv says in another form: "tables" is the second half of
# README.md, "metadata" is metadata.json (for Datasette), "readme" is README.md
# with that half renewed.
set -eu
cd "$(dirname "$0")"

mark='<!-- From here on made by: schema/describe.sh tables -->'

tables() {
	tail -n +2 columns.tsv | awk -F '\t' '
	{ gsub(/\|/, "\\|", $5) }
	$2 == "" {
		printf "\n### %s `%s`\n\n%s\n\n", $3 == "view" ? "View" : "Table", $1, $5
		print "| column | type | unit | what it holds |"
		print "|---|---|---|---|"
		next
	}
	{ printf "| `%s` | %s | %s | %s |\n", $2, $3, $4, $5 }'
}

metadata() {
	tail -n +2 columns.tsv | awk -F '\t' '
	function quoted(text) {
		gsub(/\\/, "\\\\", text)
		gsub(/"/, "\\\"", text)
		return "\"" text "\""
	}
	BEGIN {
		print "{"
		print "  \"title\": \"pcapwho: which process sent or received each packet\","
		print "  \"databases\": {"
		print "    \"traffic\": {"
		print "      \"tables\": {"
	}
	$2 == "" {
		if (NR > 1)
			printf "\n          }\n        },\n"
		printf "        %s: {\n          \"description\": %s,\n          \"columns\": {\n", \
			quoted($1), quoted($5)
		first = 1
		next
	}
	{
		if (!first)
			printf ",\n"
		first = 0
		printf "            %s: %s", quoted($2), quoted($5 ($4 == "" ? "" : " (" $4 ")"))
	}
	END { printf "\n          }\n        }\n      }\n    }\n  }\n}\n" }'
}

case ${1-} in
tables) tables ;;
metadata) metadata ;;
readme)
	sed "/^<!-- From here on made by/,\$d" README.md
	printf '%s\n' "$mark"
	tables
	;;
*)
	echo 'usage: describe.sh tables|metadata|readme' >&2
	exit 64
	;;
esac
