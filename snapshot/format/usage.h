/*
 * usage.h - what both programs say of a command line that is wrong, in the same words.
 */
#ifndef SNAPSHOT_FORMAT_USAGE_H
#define SNAPSHOT_FORMAT_USAGE_H

#include "snapshot/format/error.h"

/* Both fill *error and return ERROR_USAGE. */

/* Of an option that getopt_long, with opterr 0 and ':' before its letters, has just
 * answered with found, '?' or ':'. program: whose --help is named; letters: those it knows. */
int usage_bad_option(const char *program, int found, const char *letters, char **argv,
		     struct error *error);

/* Of the value of an option: option with its dashes, wanted in words. */
int usage_bad_value(const char *option, const char *wanted, const char *found, struct error *error);

#endif
