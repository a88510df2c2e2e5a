/* test_watcher_live.c - the whole watcher, told by the kernel of a real connection. */
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "snapshot/watcher.h"

struct frames {
	pthread_mutex_t lock;
	char text[1 << 18];
	size_t length;
};

static int keep_frame(void *context, struct snapframe *frame)
{
	struct frames *frames = context;

	pthread_mutex_lock(&frames->lock);
	if (frames->length + frame->length < sizeof(frames->text)) {
		memcpy(frames->text + frames->length, frame->text, frame->length);
		frames->length += frame->length;
	}
	pthread_mutex_unlock(&frames->lock);
	snapframe_release(frame);
	return 0;
}

static void no_poll(void *context)
{
	(void)context;
}

/* A child that talks to us and is gone. Its pid. */
static pid_t play_client(int listener, const struct sockaddr_in *address)
{
	int accepted, status;
	char byte = 'x';
	pid_t pid = fork();

	if (pid == 0) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (connect(fd, (const void *)address, sizeof(*address)) ||
		    send(fd, &byte, 1, 0) != 1)
			_exit(1);
		_exit(0);
	}
	accepted = accept(listener, NULL, NULL);
	assert_int_equal(recv(accepted, &byte, 1, 0), 1);
	close(accepted);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return pid;
}

/* Whether a line begins with kind and has pid at field. */
static bool has_line(const char *text, const char *kind, unsigned field, pid_t pid)
{
	char wanted[16];
	int length = snprintf(wanted, sizeof(wanted), "%d", (int)pid);

	for (; text && *text; text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL) {
		const char *at = text;

		if (strncmp(text, kind, strlen(kind)) != 0)
			continue;
		for (unsigned i = 1; i < field && at; i++) {
			at = strchr(at, '\t');
			at = at ? at + 1 : NULL;
		}
		if (at && !strncmp(at, wanted, (size_t)length) && strchr("\t\n", at[length]))
			return true;
	}
	return false;
}

static void test_the_kernel_tells_who_connected_and_who_received(void **state)
{
	static struct frames frames = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct watcher_config config = {.cpu_budget_ppm = 20000,
					.submit = keep_frame,
					.want_poll = no_poll,
					.context = &frames};
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	struct watcher *watcher;
	struct error error;
	pid_t client;

	(void)state;
	config.proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (watcher_open(&config, &watcher, &error) ||
	    strstr(watcher_status(watcher), "tracepoints")) {
		print_message("no tracepoints here\n");
		close(listener);
		close(config.proc_fd);
		skip();
	}
	assert_int_equal(bind(listener, (const void *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (void *)&address, &length), 0);
	assert_int_equal(watcher_start(watcher, &error), 0);
	client = play_client(listener, &address);
	watcher_close(watcher);
	close(listener);
	close(config.proc_fd);
	frames.text[frames.length] = '\0';
	assert_true(has_line(frames.text, "use\t!\t", 16, client));
	assert_non_null(strstr(frames.text, "\tconnect\t"));
	assert_true(has_line(frames.text, "process\t!\t", 3, client));
	assert_true(has_line(frames.text, "process\t-\t", 3, client));
	assert_true(has_line(frames.text, "use\t!\t", 16, getpid()));
	assert_non_null(strstr(frames.text, "\treceive\t"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_kernel_tells_who_connected_and_who_received),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
