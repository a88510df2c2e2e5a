#include "snapshot/command.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

static void __attribute__((noreturn))
run_child(char **argv, const sigset_t *mask, int go_fd, int fail_fd)
{
	char byte;
	int reason;

	sigprocmask(SIG_SETMASK, mask, NULL);
	if (read(go_fd, &byte, 1) != 1)
		_exit(0); /* the recording did not begin */
	execvp(argv[0], argv);
	reason = errno;
	(void)!write(fail_fd, &reason, sizeof reason);
	_exit(reason == ENOENT ? 127 : 126);
}

int command_prepare(struct command *command, char **argv, const sigset_t *mask, struct error *error)
{
	int go[2], failed[2];
	pid_t pid;

	if (pipe2(go, O_CLOEXEC) != 0)
		return error_errno(error, NULL, "preparing \"%s\"", argv[0]);
	if (pipe2(failed, O_CLOEXEC) != 0) {
		close(go[0]);
		close(go[1]);
		return error_errno(error, NULL, "preparing \"%s\"", argv[0]);
	}
	pid = fork();
	if (pid == 0) {
		close(go[1]); /* or the recorder's end would never be seen */
		run_child(argv, mask, go[0], failed[1]);
	}
	close(go[0]);
	close(failed[1]);
	command->go_fd = go[1];
	command->fail_fd = failed[0];
	if (pid < 0)
		return error_errno(error, NULL, "starting \"%s\"", argv[0]);
	command->pid = pid;
	return 0;
}

int command_run(struct command *command, const char *name, struct error *error)
{
	int reason;

	(void)!write(command->go_fd, "g", 1);
	/* The end of the pipe: executing it has closed the other side. */
	if (read(command->fail_fd, &reason, sizeof reason) != sizeof reason)
		return 0;
	errno = reason;
	return error_errno(error, NULL, "cannot execute \"%s\"", name);
}

void command_reap(struct command *command)
{
	int status;

	if (command->pid == 0 || command->ended ||
	    waitpid(command->pid, &status, WNOHANG) != command->pid)
		return;
	command->ended = true;
	command->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void command_release(struct command *command)
{
	if (command->go_fd >= 0)
		close(command->go_fd);
	if (command->fail_fd >= 0)
		close(command->fail_fd);
	command->go_fd = command->fail_fd = -1;
}
