/* The life of a recording: its start in order, its control, its end. */
#include "snapshot/recorder_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"
#include "snapshot/privilege.h"
#include "snapshot/repair.h"

/* Event frames that wait while a poll or the disk takes its time. */
#define EVENTS_MAX 16384
/* Compressing and writing each by itself would cost more than finding what is
 * in it: they are written together, after this time or at this number. */
#define EVENTS_WAIT_NS INT64_C(100000000)
#define EVENTS_EARLY   1024

void recorder_notice(struct recorder *recorder, const char *format, ...)
{
	char text[1024];
	va_list arguments;

	if (!recorder->config.notice)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	recorder->config.notice(text);
}

static void notice_error(void *context, const struct error *error)
{
	recorder_notice(context, "%s%s%s", error->path, *error->path ? ": " : "", error->message);
}

void recorder_fail(struct recorder *recorder, const struct error *error)
{
	pthread_mutex_lock(&recorder->lock);
	if (!recorder->failure.code)
		recorder->failure = *error;
	pthread_mutex_unlock(&recorder->lock);
	notice_error(recorder, error);
}

/* --------------------------------------------------------------- start -- */

static struct capture_config capture_config(const struct options *options)
{
	return (struct capture_config){
		.interfaces = options->interfaces,
		.interface_count = options->interface_count,
		.filter = options->filter,
		.snaplen = options->snaplen,
		.buffer_mib = options->buffer_mib,
	};
}

/* A wrong interface or filter must not leave a directory behind, and the
 * capture must not run while a large directory is being repaired. */
static int try_capture(const struct options *options, struct error *error)
{
	struct capture_config config = capture_config(options);
	struct capture *capture;
	int status = capture_open(&config, &capture, error);

	if (!status)
		capture_close(capture);
	return status;
}

static int open_directory(struct recorder *recorder, struct error *error)
{
	const struct options *options = recorder->options;
	struct repair_result repaired;
	struct segment_store *store = &recorder->store;
	uint64_t torn_bytes;
	bool made;
	int dirfd;
	int status = privilege_check_user(options->user, error);

	if (!status)
		status = segment_directory_open(options->output, &made, &dirfd, error);
	if (status)
		return status;
	recorder->store.dirfd = dirfd;
	status = privilege_drop(PRIVILEGE_OPENING, options->user, dirfd, made, options->watch,
				error);
	if (!status)
		status = segment_store_open(dirfd, options->output, store, &torn_bytes, error);
	if (status)
		return status;
	if (*store->damaged_log)
		recorder_notice(recorder, "%s/%s: %s; set aside as %s, a new one is begun",
				options->output, CUSTODY_LOG, store->log_damage.message,
				store->damaged_log);
	if (store->ignored_numbers)
		recorder_notice(recorder,
				"%s: %" PRIu64 " names with numbers that no recorder reaches: "
				"not counted on from",
				options->output, store->ignored_numbers);
	status = repair_directory(store, &repaired, notice_error, recorder, error);
	if (!status && repaired.files)
		recorder_notice(recorder,
				"%s: repaired %" PRIu64 " files that a crash left, %" PRIu64
				" bytes of packets cut or set aside",
				options->output, repaired.files, repaired.cut_bytes);
	return status;
}

static int log_start(struct recorder *recorder, struct error *error)
{
	const char *host = host_meta_get(&recorder->meta, "hostname");
	const char *sudo = getenv("SUDO_USER");
	char *detail = NULL;
	size_t size;
	FILE *stream = open_memstream(&detail, &size);
	int status;

	if (!stream)
		return error_errno(error, NULL, "logging the start");
	fprintf(stream, "pcapwho-record %s on %s by uid %u", PCAPWHO_VERSION, host ? host : "?",
		(unsigned)getuid());
	if (sudo)
		fprintf(stream, " (sudo: %s)", sudo);
	if (*recorder->store.damaged_log)
		fprintf(stream, " (the log before was damaged: %s)", recorder->store.damaged_log);
	fputc(':', stream);
	for (int i = 0; i < recorder->config.argc; i++)
		fprintf(stream, " %s", recorder->config.argv[i]);
	if (fclose(stream) != 0) {
		free(detail);
		return error_errno(error, NULL, "logging the start");
	}
	status = segment_log(&recorder->store, "start", NULL, -1, NULL, detail, error);
	free(detail);
	return status;
}

/* An event frame, initialised with kind EVENT, which the recorder numbers, writes and releases.
 * From any thread; never waits for a disk. When too many wait already the frame is released
 * and -1 returned. */
static int submit_event(void *context, struct snapframe *frame)
{
	struct recorder *recorder = context;
	struct recorder_event *event = malloc(sizeof *event);
	bool taken = false;

	pthread_mutex_lock(&recorder->lock);
	if (event && recorder->event_count < EVENTS_MAX && !recorder->packets_ended) {
		event->next = NULL;
		event->frame = *frame;
		*recorder->events_tail = event;
		recorder->events_tail = &event->next;
		recorder->event_count++;
		recorder->statistics.events++;
		if (recorder->event_count == 1)
			recorder->events_due_ns = quantity_now_ns(CLOCK_MONOTONIC) + EVENTS_WAIT_NS;
		else if (recorder->event_count == EVENTS_EARLY)
			recorder->events_due_ns = 0;
		if (recorder->event_count == 1 || recorder->event_count == EVENTS_EARLY)
			pthread_cond_broadcast(&recorder->changed);
		taken = true;
	}
	pthread_mutex_unlock(&recorder->lock);
	if (taken)
		return 0;
	free(event);
	snapframe_release(frame);
	return -1;
}

/* A snapshot as soon as the budget allows. From any thread; returns at once. */
static void want_poll(void *context)
{
	struct recorder *recorder = context;

	pthread_mutex_lock(&recorder->lock);
	if (!recorder->poll_wanted)
		pthread_cond_broadcast(&recorder->changed);
	recorder->poll_wanted = true;
	pthread_mutex_unlock(&recorder->lock);
}

/* Recording goes on without: snapshots alone find what lives long enough. */
static const char *open_watcher(struct recorder *recorder, char *text, size_t size)
{
	const struct watcher_config config = {
		.proc_fd = recorder->proc_fd,
		.interfaces = recorder->options->interfaces,
		.interface_count = recorder->options->interface_count,
		.cpu_budget_ppm = recorder->options->cpu_budget_ppm,
		.submit = submit_event,
		.want_poll = want_poll,
		.context = recorder,
	};
	struct error error = ERROR_NONE;

	if (!recorder->options->watch)
		return "off: --no-watch";
	if (!watcher_open(&config, &recorder->watcher, &error)) {
		snprintf(text, size, "%s", watcher_status(recorder->watcher));
		watcher_learn(recorder->watcher, poller_state(recorder->poller));
	} else {
		snprintf(text, size, "off: %s", error.message);
	}
	if (strcmp(text, "on") != 0)
		recorder_notice(recorder, "watching is %s", text);
	return text;
}

/* The first reading ends before the capture can hold a packet. */
static int open_capture(struct recorder *recorder, struct snapframe *key, struct error *error)
{
	struct poller_config poller_config = {.proc_fd = recorder->proc_fd};
	struct capture_config config = capture_config(recorder->options);
	char watching[sizeof recorder->failure.message + 8] = "";
	const char *watcher = watching;
	int status = poller_new(&poller_config, &recorder->poller, error);

	if (!status)
		status = recorder_read_state(recorder, SNAP_KEY, "start", key, error);
	if (!status)
		status = capture_open(&config, &recorder->capture, error);
	if (!status)
		status = capture_pcap_header(recorder->capture, recorder->pcap_header, error);
	if (!status)
		watcher = open_watcher(recorder, watching, sizeof watching);
	if (!status)
		status = privilege_drop(PRIVILEGE_RECORDING, NULL, recorder->store.dirfd, false,
					recorder->watcher != NULL, error);
	if (!status)
		status = host_meta_read(
			recorder->options, recorder->config.argc, recorder->config.argv,
			capture_link_type(recorder->pcap_header), watcher, &recorder->meta, error);
	recorder->poll_cost_ns = recorder->poller ? poller_cost_ns(recorder->poller) : 0;
	return status;
}

static int open_first_segment(struct recorder *recorder, const struct snapframe *key,
			      struct error *error)
{
	int status = log_start(recorder, error);

	if (!status)
		status = segment_open(&recorder->store, recorder->pcap_header,
				      recorder->meta.entries, recorder->meta.count, key,
				      &recorder->current, error);
	if (!status)
		status = segment_commit(&recorder->store, recorder->current, error);
	if (!status) {
		recorder->statistics.segments = 1;
		recorder->statistics.segment = recorder->current->stem.number;
		recorder_count_frame(recorder, &key->head);
	}
	return status;
}

static void on_failed(void *context, const struct error *error)
{
	recorder_fail(context, error);
}

/* All files are finished: the log's last entry, and the word to main. */
static void on_ended(void *context)
{
	struct recorder *recorder = context;
	struct recorder_statistics now;
	struct error error = ERROR_NONE;
	uint64_t one = 1;
	char detail[160];

	recorder_statistics(recorder, &now);
	snprintf(detail, sizeof detail,
		 "%" PRIu64 " packets, %" PRIu64 " snapshots, %" PRIu64 " segments, %" PRIu64
		 " packets dropped, %" PRIu64 " lost",
		 now.written, now.frames, now.segments, now.capture.dropped, now.lost);
	if (segment_log(&recorder->store, "stop", NULL, -1, NULL, detail, &error))
		recorder_fail(recorder, &error);
	(void)!write(recorder->done_fd, &one, sizeof one);
}

static int start_threads(struct recorder *recorder, struct error *error)
{
	const struct options *options = recorder->options;
	const struct closer_config config = {
		.store = &recorder->store,
		.quota = {options->keep_size, options->keep_time_ns, options->keep_free_bytes,
			  options->keep_free_ppm},
		.compress = options->compress,
		.failed = on_failed,
		.notice = notice_error,
		.ended = on_ended,
		.context = recorder,
	};
	int status = closer_start(&config, &recorder->closer, error);

	if (status)
		return status;
	errno = pthread_create(&recorder->poll, NULL, recorder_poll_thread, recorder);
	recorder->has_poll = errno == 0;
	if (!errno)
		errno = pthread_create(&recorder->writer, NULL, recorder_writer_thread, recorder);
	recorder->has_writer = recorder->has_poll && errno == 0;
	return errno ? error_errno(error, NULL, "starting threads") : 0;
}

static struct recorder *allocate(const struct recorder_config *config)
{
	struct recorder *recorder = calloc(1, sizeof *recorder);
	pthread_condattr_t monotonic;

	if (!recorder)
		return NULL;
	recorder->config = *config;
	recorder->options = config->options;
	recorder->store.dirfd = -1;
	recorder->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	recorder->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	recorder->awaiting.tail = &recorder->awaiting.head;
	recorder->events_tail = &recorder->events;
	recorder->recent_tail = &recorder->recent;
	pthread_mutex_init(&recorder->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&recorder->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return recorder;
}

/* Joins the threads that run, each after the one that it waits for. */
static void join(struct recorder *recorder)
{
	if (recorder->watcher && !recorder->has_writer)
		watcher_stop(recorder->watcher);
	if (recorder->has_writer)
		pthread_join(recorder->writer, NULL);
	pthread_mutex_lock(&recorder->lock);
	recorder->packets_ended = true;
	pthread_cond_broadcast(&recorder->changed);
	pthread_mutex_unlock(&recorder->lock);
	if (recorder->has_poll)
		pthread_join(recorder->poll, NULL);
	if (recorder->closer)
		closer_end(recorder->closer);
}

static void release(struct recorder *recorder)
{
	char sha256[CUSTODY_HEX_SIZE];

	closer_free(recorder->closer);
	if (recorder->current) /* the start failed after it was opened */
		segment_finish(&recorder->store, recorder->current, sha256, NULL);
	recorder_forget_recent(recorder, INT64_MAX);
	watcher_close(recorder->watcher);
	capture_close(recorder->capture);
	poller_free(recorder->poller);
	host_meta_release(&recorder->meta);
	segment_store_close(&recorder->store);
	if (recorder->proc_fd >= 0)
		close(recorder->proc_fd);
	if (recorder->done_fd >= 0)
		close(recorder->done_fd);
	pthread_cond_destroy(&recorder->changed);
	pthread_mutex_destroy(&recorder->lock);
	free(recorder);
}

int recorder_start(const struct recorder_config *config, struct recorder **out, struct error *error)
{
	struct snapframe key = {0};
	struct recorder *recorder;
	int status = try_capture(config->options, error);

	if (status)
		return status;
	recorder = allocate(config);
	if (!recorder)
		return error_errno(error, NULL, "starting");
	if (recorder->proc_fd < 0 || recorder->done_fd < 0)
		status = error_errno(error, "/proc", "starting");
	if (!status)
		status = open_directory(recorder, error);
	if (!status)
		status = open_capture(recorder, &key, error);
	if (!status && config->beginning)
		config->beginning(config->context);
	if (!status)
		status = open_first_segment(recorder, &key, error);
	if (!status && recorder->watcher)
		status = watcher_start(recorder->watcher, error);
	/* The capture first: what waits for it must not be left waiting. */
	if (!status)
		status = capture_start(recorder->capture, error);
	if (!status)
		status = start_threads(recorder, error);
	snapframe_release(&key);
	if (status) {
		join(recorder);
		release(recorder);
		return status;
	}
	*out = recorder;
	return 0;
}

/* ------------------------------------------------------------- control -- */

int recorder_done_fd(const struct recorder *recorder)
{
	return recorder->done_fd;
}

void recorder_stop(struct recorder *recorder)
{
	capture_stop(recorder->capture);
}

void recorder_hurry(struct recorder *recorder)
{
	closer_skip_compression(recorder->closer);
}

void recorder_rotate(struct recorder *recorder)
{
	pthread_mutex_lock(&recorder->lock);
	recorder->rotate_wanted = true;
	pthread_cond_broadcast(&recorder->changed);
	pthread_mutex_unlock(&recorder->lock);
}

void recorder_statistics(struct recorder *recorder, struct recorder_statistics *out)
{
	struct capture_counters counters;

	capture_counters(recorder->capture, &counters);
	pthread_mutex_lock(&recorder->lock);
	recorder->statistics.capture = counters;
	recorder->statistics.paused = recorder->paused;
	*out = recorder->statistics;
	pthread_mutex_unlock(&recorder->lock);
	out->lost += counters.lost;
	out->expired = closer_expired(recorder->closer);
}

int recorder_finish(struct recorder *recorder, struct recorder_statistics *out, struct error *error)
{
	int status;

	join(recorder);
	closer_wait(recorder->closer);
	recorder_statistics(recorder, out);
	status = recorder->failure.code;
	if (status)
		*error = recorder->failure;
	release(recorder);
	return status;
}
