#include "snapshot/capture.h"

#include <errno.h>
#include <net/if.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"

/* pcap_stats is a system call: often enough for statistics, not by the batch. */
#define COUNTERS_EVERY_NS (NS_PER_SECOND / 4)
/* Packets of before the stop come out of the ring within its timeout; a link
 * that never rests or a stalled thread ends the drain here. */
#define DRAIN_LIMIT_NS (2 * NS_PER_SECOND)

struct capture {
	pcap_t *pcap;
	int ring_fd;
	int wake_fd;
	pthread_t thread;
	bool started;

	/* The capture thread's own. */
	struct capture_block *filling;
	uint64_t lost;
	int64_t last_packet_ns;
	int64_t filling_since_ns; /* CLOCK_MONOTONIC_COARSE */
	int64_t counters_due_ns;

	pthread_mutex_t lock; /* everything below */
	pthread_cond_t handed_over, given_back;
	struct capture_block *full_head, **full_tail;
	unsigned waiting; /* in full_head */
	struct capture_block *free_list;
	unsigned blocks, max_blocks; /* allocated */
	bool stopping, ended;
	int64_t stop_ns; /* CLOCK_REALTIME */
	struct capture_counters counters;
	struct error failure;
};

static bool captures_any(const struct capture_config *config)
{
	for (size_t i = 0; i < config->interface_count; i++)
		if (strcmp(config->interfaces[i], "any") == 0)
			return true;
	return config->interface_count == 0;
}

static int check_interfaces(const struct capture_config *config, struct error *error)
{
	for (size_t i = 0; i < config->interface_count; i++) {
		const char *name = config->interfaces[i];

		if (strcmp(name, "any") != 0 && if_nametoindex(name) == 0)
			return error_set(error, ERROR_NO_INPUT, NULL, -1,
					 "interface \"%s\" does not exist", name);
	}
	return 0;
}

/* Several interfaces are captured as any, restricted by their indexes, which
 * the filter of the kernel sees. */
static char *compose_filter(const struct capture_config *config)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	if (!stream)
		return NULL;
	if (config->interface_count > 1 && !captures_any(config)) {
		for (size_t i = 0; i < config->interface_count; i++)
			fprintf(stream, "%sifindex %u", i ? " or " : "(",
				if_nametoindex(config->interfaces[i]));
		fputs(*config->filter ? ") and (" : ")", stream);
	}
	fputs(config->filter, stream);
	if (config->interface_count > 1 && !captures_any(config) && *config->filter)
		fputc(')', stream);
	if (fclose(stream) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

static int activate(struct capture *capture, const struct capture_config *config,
		    const char *device, struct error *error)
{
	pcap_t *pcap = capture->pcap;
	int status;

	pcap_set_snaplen(pcap, (int)config->snaplen);
	pcap_set_timeout(pcap, CAPTURE_TIMEOUT_MS);
	pcap_set_buffer_size(pcap, (int)(config->buffer_mib << 20));
	status = pcap_set_tstamp_precision(pcap, PCAP_TSTAMP_PRECISION_NANO);
	if (status)
		return error_set(error, ERROR_SYSTEM, NULL, -1,
				 "interface \"%s\" has no nanosecond time stamps: %s", device,
				 pcap_statustostr(status));
	status = pcap_activate(pcap);
	if (status == PCAP_ERROR_PERM_DENIED)
		return error_set(error, ERROR_SYSTEM, NULL, -1,
				 "no permission to capture on \"%s\": run as root, or give the "
				 "program cap_net_raw, cap_sys_ptrace and cap_dac_read_search "
				 "with setcap",
				 device);
	if (status < 0)
		return error_set(error, ERROR_SYSTEM, NULL, -1, "cannot capture on \"%s\": %s",
				 device,
				 *pcap_geterr(pcap) ? pcap_geterr(pcap) : pcap_statustostr(status));
	if (captures_any(config) || config->interface_count > 1)
		if (pcap_set_datalink(pcap, DLT_LINUX_SLL2) != 0)
			return error_set(error, ERROR_SYSTEM, NULL, -1,
					 "cannot record interface numbers: %s", pcap_geterr(pcap));
	return 0;
}

static int set_filter(struct capture *capture, const struct capture_config *config,
		      struct error *error)
{
	struct bpf_program program;
	char *text = compose_filter(config);
	int status = 0;

	if (!text)
		return error_errno(error, NULL, "composing the filter");
	if (pcap_compile(capture->pcap, &program, text, 1, PCAP_NETMASK_UNKNOWN) != 0) {
		status = error_set(error, ERROR_USAGE, NULL, -1, "filter \"%s\": %s",
				   config->filter, pcap_geterr(capture->pcap));
		goto out;
	}
	if (pcap_setfilter(capture->pcap, &program) != 0)
		status = error_set(error, ERROR_SYSTEM, NULL, -1, "filter \"%s\": %s",
				   config->filter, pcap_geterr(capture->pcap));
	pcap_freecode(&program);
out:
	free(text);
	return status;
}

static unsigned affordable_blocks(void)
{
	int64_t pages = sysconf(_SC_PHYS_PAGES);
	int64_t share = pages * sysconf(_SC_PAGESIZE) / CAPTURE_MEMORY_SHARE / CAPTURE_BLOCK_BYTES;

	if (share < CAPTURE_MIN_BLOCKS)
		return CAPTURE_MIN_BLOCKS;
	return share < CAPTURE_MAX_BLOCKS ? (unsigned)share : CAPTURE_MAX_BLOCKS;
}

static struct capture *allocate(unsigned max_blocks)
{
	struct capture *capture = calloc(1, sizeof *capture);
	pthread_condattr_t monotonic;

	if (!capture)
		return NULL;
	capture->wake_fd = -1;
	capture->full_tail = &capture->full_head;
	capture->max_blocks = max_blocks ? max_blocks : affordable_blocks();
	pthread_mutex_init(&capture->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&capture->handed_over, &monotonic);
	pthread_cond_init(&capture->given_back, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return capture;
}

int capture_open(const struct capture_config *config, struct capture **out, struct error *error)
{
	bool any = captures_any(config) || config->interface_count > 1;
	const char *device = any ? "any" : config->interfaces[0];
	char reason[PCAP_ERRBUF_SIZE];
	struct capture *capture;
	int status = check_interfaces(config, error);

	if (status)
		return status;
	capture = allocate(config->max_blocks);
	if (!capture)
		return error_errno(error, NULL, "opening the capture");
	capture->pcap = pcap_create(device, reason);
	if (!capture->pcap) {
		status = error_set(error, ERROR_SYSTEM, NULL, -1, "cannot capture on \"%s\": %s",
				   device, reason);
		goto out;
	}
	status = activate(capture, config, device, error);
	if (!status)
		status = set_filter(capture, config, error);
	if (status)
		goto out;
	/* libpcap's own wait has no timeout on a silent link with TPACKET_V3,
	 * so the waiting is done here and pcap_dispatch never blocks. */
	capture->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	capture->ring_fd = pcap_get_selectable_fd(capture->pcap);
	if (capture->wake_fd < 0 || capture->ring_fd < 0 ||
	    pcap_setnonblock(capture->pcap, 1, reason) != 0)
		status = error_errno(error, NULL, "cannot wait for packets on \"%s\"", device);
out:
	if (status)
		capture_close(capture);
	else
		*out = capture;
	return status;
}

int capture_pcap_header(struct capture *capture, uint8_t header[PCAPHEAD_FILE_BYTES],
			struct error *error)
{
	char bytes[PCAPHEAD_FILE_BYTES + 1];
	FILE *stream = fmemopen(bytes, sizeof bytes, "w");
	pcap_dumper_t *dumper;

	if (!stream)
		return error_errno(error, NULL, "making the pcap header");
	/* libpcap alone knows which LINKTYPE_ belongs to a DLT_. */
	dumper = pcap_dump_fopen(capture->pcap, stream);
	if (!dumper) {
		fclose(stream);
		return error_set(error, ERROR_SYSTEM, NULL, -1, "making the pcap header: %s",
				 pcap_geterr(capture->pcap));
	}
	pcap_dump_close(dumper);
	memcpy(header, bytes, PCAPHEAD_FILE_BYTES);
	return 0;
}

uint32_t capture_link_type(const uint8_t header[PCAPHEAD_FILE_BYTES])
{
	uint32_t link_type;

	memcpy(&link_type, header + PCAPHEAD_LINK_TYPE_AT, sizeof link_type);
	return link_type & 0xffff; /* the upper bits say how long a checksum is */
}

size_t capture_whole_records(const uint8_t *bytes, size_t length, uint64_t *packets)
{
	size_t whole = 0;

	*packets = 0;
	while (length - whole >= PCAPHEAD_RECORD_BYTES) {
		uint32_t captured;

		memcpy(&captured, bytes + whole + PCAPHEAD_CAPTURED_AT, sizeof captured);
		if (captured > length - whole - PCAPHEAD_RECORD_BYTES)
			break;
		whole += PCAPHEAD_RECORD_BYTES + captured;
		++*packets;
	}
	return whole;
}

static void publish_counters(struct capture *capture, bool now)
{
	int64_t monotonic_ns = quantity_now_ns(CLOCK_MONOTONIC_COARSE);
	struct pcap_stat stats;
	bool known;

	if (!now && monotonic_ns < capture->counters_due_ns)
		return;
	capture->counters_due_ns = monotonic_ns + COUNTERS_EVERY_NS;
	known = pcap_stats(capture->pcap, &stats) == 0;
	pthread_mutex_lock(&capture->lock);
	if (known) {
		/* libpcap's counters are 32 bits wide: add what they moved by. */
		struct capture_counters *sum = &capture->counters;

		sum->received += (uint32_t)(stats.ps_recv - (uint32_t)sum->received);
		sum->dropped += (uint32_t)(stats.ps_drop - (uint32_t)sum->dropped);
		sum->interface_dropped +=
			(uint32_t)(stats.ps_ifdrop - (uint32_t)sum->interface_dropped);
	}
	capture->counters.lost = capture->lost;
	pthread_mutex_unlock(&capture->lock);
}

/* With the lock: until one of the blocks can be had. What comes meanwhile stays in the ring, which
 * the user made as large as he wants, and the kernel counts what it has no room for. After a stop
 * it does not wait for long. */
static void await_block(struct capture *capture)
{
	while (!capture->free_list && capture->blocks == capture->max_blocks) {
		struct timespec until;
		int64_t until_ns =
			quantity_now_ns(CLOCK_MONOTONIC) + CAPTURE_TIMEOUT_MS * NS_PER_MS;

		if (capture->stopping &&
		    quantity_now_ns(CLOCK_REALTIME) - capture->stop_ns >= DRAIN_LIMIT_NS)
			return;
		until = (struct timespec){until_ns / NS_PER_SECOND, until_ns % NS_PER_SECOND};
		pthread_cond_timedwait(&capture->given_back, &capture->lock, &until);
		pthread_mutex_unlock(&capture->lock);
		publish_counters(capture, false);
		pthread_mutex_lock(&capture->lock);
	}
}

/* Called without the lock. NULL when the bound is reached. */
static struct capture_block *new_block(struct capture *capture)
{
	struct capture_block *block;
	bool allowed = false;

	pthread_mutex_lock(&capture->lock);
	await_block(capture);
	block = capture->free_list;
	if (block) {
		capture->free_list = block->next;
	} else if (capture->blocks < capture->max_blocks) {
		allowed = true;
		capture->blocks++;
	}
	pthread_mutex_unlock(&capture->lock);
	if (allowed) {
		block = malloc(sizeof *block);
		if (!block) {
			pthread_mutex_lock(&capture->lock);
			capture->blocks--;
			pthread_mutex_unlock(&capture->lock);
		}
	}
	if (block) {
		block->next = NULL;
		block->length = 0;
		block->packets = 0;
		block->full = false;
		block->first_ns = INT64_MAX;
		capture->filling_since_ns = quantity_now_ns(CLOCK_MONOTONIC_COARSE);
	}
	return block;
}

static void hand_over(struct capture *capture)
{
	struct capture_block *block = capture->filling;

	capture->filling = NULL;
	pthread_mutex_lock(&capture->lock);
	capture->waiting++;
	*capture->full_tail = block;
	capture->full_tail = &block->next;
	pthread_cond_signal(&capture->handed_over);
	pthread_mutex_unlock(&capture->lock);
}

static void on_packet(u_char *context, const struct pcap_pkthdr *header, const u_char *bytes)
{
	struct capture *capture = (struct capture *)(void *)context;
	struct capture_block *block = capture->filling;
	size_t size = PCAPHEAD_RECORD_BYTES + header->caplen;
	int64_t packet_ns = header->ts.tv_sec * NS_PER_SECOND + header->ts.tv_usec;
	/* tv_usec is nanoseconds, as asked for. */
	uint32_t record[4] = {(uint32_t)header->ts.tv_sec, (uint32_t)header->ts.tv_usec,
			      header->caplen, header->len};

	if (block && size > CAPTURE_BLOCK_BYTES - block->length) {
		block->full = true;
		hand_over(capture);
		block = NULL;
	}
	if (!block)
		block = capture->filling = new_block(capture);
	capture->last_packet_ns = packet_ns;
	if (!block || size > CAPTURE_BLOCK_BYTES) {
		capture->lost++;
		return;
	}
	memcpy(block->bytes + block->length, record, sizeof record);
	memcpy(block->bytes + block->length + sizeof record, bytes, header->caplen);
	block->length += size;
	block->packets++;
	if (packet_ns < block->first_ns)
		block->first_ns = packet_ns;
}

/* After a batch: a block that is not full goes on only when the writer has
 * nothing else to do, so that a stalled writer is met with full blocks. */
static void after_batch(struct capture *capture, int packets, int64_t before_ns)
{
	bool waited = quantity_now_ns(CLOCK_MONOTONIC_COARSE) - capture->filling_since_ns >=
		      NS_PER_MS * CAPTURE_TIMEOUT_MS;
	bool writer_waits;

	pthread_mutex_lock(&capture->lock);
	writer_waits = capture->full_head == NULL;
	pthread_mutex_unlock(&capture->lock);
	if (!writer_waits || (packets > 0 && !waited))
		return;
	if (capture->filling && capture->filling->length > 0)
		hand_over(capture);
	if (packets > 0)
		return;
	pthread_mutex_lock(&capture->lock);
	capture->counters.drained_ns = before_ns;
	pthread_mutex_unlock(&capture->lock);
}

/* True once all that came before the stop has been taken. */
static bool is_drained(struct capture *capture, int packets, int64_t *deadline_ns)
{
	int64_t monotonic_ns = quantity_now_ns(CLOCK_MONOTONIC);
	int64_t stop_ns;
	bool stopping;

	pthread_mutex_lock(&capture->lock);
	stopping = capture->stopping;
	stop_ns = capture->stop_ns;
	pthread_mutex_unlock(&capture->lock);
	if (!stopping)
		return false;
	if (*deadline_ns == 0)
		*deadline_ns = monotonic_ns + DRAIN_LIMIT_NS;
	if (monotonic_ns >= *deadline_ns || (packets > 0 && capture->last_packet_ns > stop_ns))
		return true;
	/* The kernel closes a block of its ring after the timeout; twice that
	 * later nothing of before the stop can still be in it. */
	return packets == 0 && monotonic_ns >= *deadline_ns - DRAIN_LIMIT_NS +
						       INT64_C(2000000) * CAPTURE_TIMEOUT_MS;
}

static void run(struct capture *capture)
{
	struct pollfd ready[2] = {{.fd = capture->ring_fd, .events = POLLIN},
				  {.fd = capture->wake_fd, .events = POLLIN}};
	int64_t deadline_ns = 0;

	for (;;) {
		int64_t before_ns;
		uint64_t ignored;
		int packets;

		if (poll(ready, 2, CAPTURE_TIMEOUT_MS) > 0 && ready[1].revents)
			(void)!read(capture->wake_fd, &ignored, sizeof ignored);
		before_ns = quantity_now_ns(CLOCK_REALTIME);
		packets = pcap_dispatch(capture->pcap, -1, on_packet, (u_char *)capture);
		if (packets < 0) {
			pthread_mutex_lock(&capture->lock);
			error_set(&capture->failure, ERROR_SYSTEM, NULL, -1,
				  "the capture ended: %s", pcap_geterr(capture->pcap));
			pthread_mutex_unlock(&capture->lock);
			return;
		}
		publish_counters(capture, false);
		after_batch(capture, packets, before_ns);
		if (is_drained(capture, packets, &deadline_ns))
			return;
	}
}

static void *capture_thread(void *context)
{
	struct capture *capture = context;

	run(capture);
	if (capture->filling && capture->filling->length > 0)
		hand_over(capture);
	publish_counters(capture, true);
	pthread_mutex_lock(&capture->lock);
	capture->ended = true;
	pthread_cond_signal(&capture->handed_over);
	pthread_mutex_unlock(&capture->lock);
	return NULL;
}

int capture_start(struct capture *capture, struct error *error)
{
	errno = pthread_create(&capture->thread, NULL, capture_thread, capture);
	if (errno)
		return error_errno(error, NULL, "starting the capture thread");
	capture->started = true;
	return 0;
}

void capture_stop(struct capture *capture)
{
	uint64_t one = 1;

	pthread_mutex_lock(&capture->lock);
	if (!capture->stopping)
		capture->stop_ns = quantity_now_ns(CLOCK_REALTIME);
	capture->stopping = true;
	pthread_mutex_unlock(&capture->lock);
	(void)!write(capture->wake_fd, &one, sizeof one);
}

int capture_take(struct capture *capture, unsigned timeout_ms, struct capture_block **block)
{
	int64_t until_ns = quantity_now_ns(CLOCK_MONOTONIC) + timeout_ms * NS_PER_MS;
	struct timespec until = {until_ns / NS_PER_SECOND, until_ns % NS_PER_SECOND};
	int status = 0;

	pthread_mutex_lock(&capture->lock);
	while (!capture->full_head && !capture->ended)
		if (pthread_cond_timedwait(&capture->handed_over, &capture->lock, &until) ==
		    ETIMEDOUT)
			break;
	if (capture->full_head) {
		*block = capture->full_head;
		capture->full_head = (*block)->next;
		(*block)->waiting = --capture->waiting;
		if (!capture->full_head)
			capture->full_tail = &capture->full_head;
		(*block)->next = NULL;
		status = 1;
	} else if (capture->ended) {
		status = -1;
	}
	pthread_mutex_unlock(&capture->lock);
	return status;
}

void capture_give_back(struct capture *capture, struct capture_block *block)
{
	pthread_mutex_lock(&capture->lock);
	/* What a stall has cost beyond the least is not kept. */
	if (capture->blocks > CAPTURE_MIN_BLOCKS) {
		capture->blocks--;
	} else {
		block->next = capture->free_list;
		capture->free_list = block;
		block = NULL;
	}
	pthread_cond_signal(&capture->given_back);
	pthread_mutex_unlock(&capture->lock);
	free(block);
}

void capture_counters(struct capture *capture, struct capture_counters *out)
{
	pthread_mutex_lock(&capture->lock);
	*out = capture->counters;
	pthread_mutex_unlock(&capture->lock);
}

int capture_failure(struct capture *capture, struct error *error)
{
	int status;

	pthread_mutex_lock(&capture->lock);
	status = capture->failure.code;
	if (status)
		*error = capture->failure;
	pthread_mutex_unlock(&capture->lock);
	return status;
}

static void free_blocks(struct capture_block *block)
{
	while (block) {
		struct capture_block *next = block->next;

		free(block);
		block = next;
	}
}

void capture_close(struct capture *capture)
{
	if (!capture)
		return;
	if (capture->started) {
		capture_stop(capture);
		pthread_join(capture->thread, NULL);
	}
	free_blocks(capture->full_head);
	free_blocks(capture->free_list);
	free(capture->filling);
	if (capture->pcap)
		pcap_close(capture->pcap);
	if (capture->wake_fd >= 0)
		close(capture->wake_fd);
	pthread_cond_destroy(&capture->handed_over);
	pthread_cond_destroy(&capture->given_back);
	pthread_mutex_destroy(&capture->lock);
	free(capture);
}
