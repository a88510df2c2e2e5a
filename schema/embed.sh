#!/bin/sh
# Prints a C file that holds the SQL of this directory; analyze/schema_sql.h
# declares what is in it. Takes no arguments and reads only files beside itself.
set -eu
cd "$(dirname "$0")"

# A query, and what it has in common with others: "-- part: NAME" stands for parts/NAME.sql.
whole() {
	awk '/^-- part: [a-z]+$/ {
		part = "parts/" $3 ".sql"
		while ((got = (getline line < part)) > 0)
			print line
		if (got < 0)
			exit 1
		close(part)
		next
	}
	{ print }' "$1"
}

# Text as adjacent C string literals, one for each line. "??" would be a trigraph.
literal() {
	sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/	/\\t/g' -e 's/?/\\?/g' \
		-e 's/^/\t"/' -e 's/$/\\n"/'
}

echo '/* Made by schema/embed.sh; do not edit. */'
echo '#include "analyze/schema_sql.h"'
for part in schema views indexes; do
	[ "$part" = schema ] && name=schema_tables || name=schema_$part
	printf 'const char %s[] =\n' "$name"
	literal <"$part.sql"
	echo ';'
done
for file in checks/*.sql; do
	name=${file#checks/}
	printf 'const char schema_checks_%s[] =\n' "${name%.sql}"
	literal <"$file"
	echo ';'
done
echo 'const char schema_columns[] ='
literal <columns.tsv
echo ';'
echo 'const struct schema_query schema_queries[] = {'
for file in queries/*.sql; do
	name=${file#queries/}
	printf '\t{"%s",\n' "${name%.sql}"
	text=$(whole "$file")
	printf '%s\n' "$text" | literal
	echo '	},'
done
echo '	{0, 0},'
echo '};'
