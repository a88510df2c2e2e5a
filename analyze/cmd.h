/*
 * cmd.h - the verbs of pcapwho. Each takes its own arguments (argv[0] is the
 * verb), prints its own help and errors, and returns the exit status.
 */
#ifndef ANALYZE_CMD_H
#define ANALYZE_CMD_H

int cmd_record(int argc, char **argv);
int cmd_analyze(int argc, char **argv);
int cmd_query(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_merge(int argc, char **argv);
int cmd_index(int argc, char **argv);

#endif
