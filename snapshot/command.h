/*
 * command.h - the COMMAND that is recorded while it runs.
 *
 * It is forked before the recorder touches anything, so it has the
 * descriptors, the user, the privileges and the signals that the recorder was
 * started with, and is executed when the recording has begun.
 */
#ifndef SNAPSHOT_COMMAND_H
#define SNAPSHOT_COMMAND_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "snapshot/format/error.h"

struct command {
	pid_t pid;   /* 0: none */
	int go_fd;   /* a byte here lets it run, its end makes it leave */
	int fail_fd; /* its errno, if it could not be executed */
	bool ended;
	int status; /* exit status for the shell: 128+N if killed by signal N */
};

#define COMMAND_NONE                                                                               \
	{                                                                                          \
		.go_fd = -1, .fail_fd = -1                                                         \
	}

/* Forks. The child has signals as mask says. argv is borrowed. */
int command_prepare(struct command *command, char **argv, const sigset_t *mask,
		    struct error *error);
/* Lets it run. An error names the command and why it cannot be executed;
 * command->status is then 127 (not found) or 126, as a shell has it. */
int command_run(struct command *command, const char *name, struct error *error);
/* After SIGCHLD: takes its status if it has ended. */
void command_reap(struct command *command);
void command_release(struct command *command);

#endif
