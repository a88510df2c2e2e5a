/*
 * cmd.h - the verbs of pcapwho. Each takes its own arguments (argv[0] is the
 * verb), prints its own help and errors, and returns the exit status.
 */
#ifndef ANALYZE_CMD_H
#define ANALYZE_CMD_H

#include "snapshot/format/error.h"

int cmd_record(int argc, char **argv);
int cmd_analyze(int argc, char **argv);
int cmd_query(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_import(int argc, char **argv);

/* The error of an option that getopt_long, with opterr 0 and ':' first among its
 * letters, has just answered with found, '?' or ':'. letters: those it knows.
 * Returns ERROR_USAGE. */
int cmd_bad_option(const char *program, int found, const char *letters, char **argv,
		   struct error *error);

#endif
