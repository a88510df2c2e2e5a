#include "snapshot/procevent.h"

#include <errno.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"
#include "snapshot/netlink_bytes.h"

/* An event takes 76 bytes; the connector sends each alone. */
#define DATAGRAM_BYTES 4096

/* Here, because it costs memory only while events wait: some 10000 of them. */
#define DEFAULT_BUFFER_BYTES (8u << 20)

/* How long the kernel may take to acknowledge; it does so at once. */
#define ACKNOWLEDGE_MS 1000

/* -------------------------------------------------------------- parser -- */

/* One message of the process connector. */
struct message {
	uint32_t acknowledges; /* an answer to a subscription: its token + 1; else 0 */
	uint32_t what;	       /* PROC_EVENT_* */
	uint64_t timestamp_ns;
	struct bytes data; /* event_data */
};

/* The start of struct proc_event, all before event_data. */
#define EVENT_HEAD_BYTES offsetof(struct proc_event, event_data)

/* The next message of a datagram. 1, 0 at the end, negative. */
static int next_message(struct bytes *datagram, struct message *out)
{
	while (datagram->left) {
		struct bytes look = *datagram;
		struct nlmsghdr head;
		struct cn_msg connector;
		uint32_t cpu;

		if (!take(&look, &head, sizeof(head)))
			return damage("a netlink header", datagram->left);
		if (head.nlmsg_len < sizeof(head) || head.nlmsg_len > datagram->left)
			return damage("a netlink message as long as its header says",
				      datagram->left);
		look.left = head.nlmsg_len - sizeof(head);
		skip(datagram, NLMSG_ALIGN((size_t)head.nlmsg_len));
		/* The connector marks each of its messages as the last. */
		if (head.nlmsg_type != NLMSG_DONE)
			continue;
		if (!take(&look, &connector, sizeof(connector)))
			return damage("a connector header", look.left);
		if (connector.id.idx != CN_IDX_PROC || connector.id.val != CN_VAL_PROC)
			continue;
		if (connector.len > look.left)
			return damage("an event as long as its header says", look.left);
		out->acknowledges = connector.ack;
		look.left = connector.len;
		if (look.left < EVENT_HEAD_BYTES)
			return damage("a process event", look.left);
		take(&look, &out->what, sizeof(out->what));
		take(&look, &cpu, sizeof(cpu));
		take(&look, &out->timestamp_ns, sizeof(out->timestamp_ns));
		out->data = look;
		return 1;
	}
	return 0;
}

/* Of a message that is an event of a process: 1. 0: another, or a thread's. */
static int read_event(const struct message *message, struct procevent *out)
{
	struct procevent event = {.monotonic_ns = (int64_t)message->timestamp_ns};
	struct bytes data = message->data;
	struct {
		uint32_t pid, tgid;
	} first, second = {0};
	struct {
		uint32_t code, signal;
	} status = {0};

	switch (message->what) {
	case PROC_EVENT_FORK:
		event.kind = PROCEVENT_FORK;
		break;
	case PROC_EVENT_EXEC:
		event.kind = PROCEVENT_EXEC;
		break;
	case PROC_EVENT_EXIT:
		event.kind = PROCEVENT_EXIT;
		break;
	case PROC_EVENT_COMM:
		event.kind = PROCEVENT_COMM;
		break;
	case PROC_EVENT_UID:
		event.kind = PROCEVENT_UID;
		break;
	default:
		return 0;
	}
	if (!take(&data, &first, sizeof(first)))
		return damage("a process's ids", data.left);
	if (event.kind == PROCEVENT_FORK) {
		if (!take(&data, &second, sizeof(second)))
			return damage("a child's ids", data.left);
		event.parent = first.tgid;
		first = second;
	}
	if (event.kind == PROCEVENT_EXIT) {
		if (!take(&data, &status, sizeof(status)))
			return damage("an exit's code", data.left);
		event.exit_code = (int32_t)status.code;
		/* Before Linux 4.18 the event ends here, or has zeros. */
		if (take(&data, &second, sizeof(second)))
			event.parent = second.tgid;
	}
	if (first.pid != first.tgid)
		return 0;
	event.pid = first.tgid;
	*out = event;
	return 1;
}

int procevent_parse(const void *bytes, size_t length,
		    void (*each)(const struct procevent *event, void *context), void *context)
{
	struct bytes datagram = {bytes, length};
	struct procevent event;
	struct message message;
	int result;

	while ((result = next_message(&datagram, &message)) > 0) {
		result = read_event(&message, &event);
		if (result < 0)
			break;
		if (result > 0)
			each(&event, context);
	}
	return result;
}

/* -------------------------------------------------------------- source -- */

struct procevent_source {
	int fd;
	uint32_t token;	   /* of the subscription; the answer is to token + 1 */
	bool overrun;	   /* events are being lost, until none is waiting any more */
	struct bytes rest; /* of the datagram in buffer */
	uint8_t buffer[DATAGRAM_BYTES];
};

/* The 4-byte operation is what all kernels understand (since Linux 6.6 there is
 * a longer one beside it). */
static int send_operation(const struct procevent_source *source, uint32_t operation)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct nlmsghdr head = {.nlmsg_type = NLMSG_DONE};
	struct cn_msg connector = {
		.id = {.idx = CN_IDX_PROC, .val = CN_VAL_PROC},
		.ack = source->token,
		.len = sizeof(operation),
	};
	uint8_t request[NLMSG_ALIGN(sizeof(head) + sizeof(connector) + sizeof(operation))] = {0};
	ssize_t sent;

	head.nlmsg_len = sizeof(head) + sizeof(connector) + sizeof(operation);
	memcpy(request, &head, sizeof(head));
	memcpy(request + sizeof(head), &connector, sizeof(connector));
	memcpy(request + sizeof(head) + sizeof(connector), &operation, sizeof(operation));
	do {
		sent = sendto(source->fd, request, head.nlmsg_len, 0,
			      (const struct sockaddr *)&kernel, sizeof(kernel));
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -1 : 0;
}

/* One datagram from the kernel into rest; those of other senders are no
 * evidence. 1, 0: none is waiting, -1: errno says. */
static int receive(struct procevent_source *source)
{
	for (;;) {
		struct sockaddr_nl sender = {0};
		socklen_t sender_length = sizeof(sender);
		ssize_t length = recvfrom(source->fd, source->buffer, sizeof(source->buffer),
					  MSG_TRUNC, (struct sockaddr *)&sender, &sender_length);

		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return errno == EAGAIN ? 0 : -1;
		if (length == 0 || sender_length < sizeof(sender) || sender.nl_pid != 0)
			continue;
		if ((size_t)length > sizeof(source->buffer)) {
			errno = EMSGSIZE;
			return -1;
		}
		source->rest = (struct bytes){source->buffer, (size_t)length};
		return 1;
	}
}

static int64_t now_ms(void)
{
	return quantity_now_ns(CLOCK_MONOTONIC) / NS_PER_MS;
}

/* The answer to our subscription in the datagram at hand: its errno (0: it is
 * granted), -1 if it is not there. Events that others subscribed to come
 * before it, and are left out: nothing was promised yet. */
static int find_acknowledgement(struct procevent_source *source)
{
	struct message message;
	uint32_t code;

	while (next_message(&source->rest, &message) > 0) {
		if (message.what == PROC_EVENT_NONE && message.acknowledges == source->token + 1 &&
		    take(&message.data, &code, sizeof(code)))
			return (int)code;
	}
	source->rest.left = 0;
	return -1;
}

static int subscribe(struct procevent_source *source, struct error *error)
{
	int64_t until_ms = now_ms() + ACKNOWLEDGE_MS, left_ms;
	struct pollfd ready = {.fd = source->fd, .events = POLLIN};

	if (send_operation(source, PROC_CN_MCAST_LISTEN))
		return error_errno(error, NULL, "cannot subscribe to process events");
	while ((left_ms = until_ms - now_ms()) > 0) {
		int got = receive(source), code;

		if (got < 0 && errno != ENOBUFS)
			return error_errno(error, NULL, "cannot subscribe to process events");
		if (got < 0)
			source->overrun = true;
		if (got == 0)
			poll(&ready, 1, (int)left_ms);
		if (got <= 0)
			continue;
		code = find_acknowledgement(source);
		if (code == 0)
			return 0;
		if (code > 0) {
			errno = code;
			return error_errno(error, NULL,
					   "the kernel gives no process events to this process");
		}
	}
	return error_set(error, ERROR_SYSTEM, NULL, -1,
			 "no process events: the kernel has none (PROC_EVENTS), or this is not the "
			 "initial user and pid namespace");
}

static int open_netlink(size_t buffer_bytes, int *out, struct error *error)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = CN_IDX_PROC};
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_CONNECTOR);
	int size, result;

	if (fd < 0)
		return error_errno(error, NULL, "this kernel gives no process events");
	if (buffer_bytes == 0)
		buffer_bytes = DEFAULT_BUFFER_BYTES;
	size = buffer_bytes < INT32_MAX / 2 ? (int)buffer_bytes : INT32_MAX / 2;
	/* Beyond net.core.rmem_max where that is allowed. A smaller buffer only
	 * loses events earlier, and says so. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address))) {
		result = error_errno(error, NULL,
				     "cannot join the process events (before Linux 6.6 only "
				     "CAP_NET_ADMIN may)");
		close(fd);
		return result;
	}
	*out = fd;
	return 0;
}

int procevent_open(size_t buffer_bytes, struct procevent_source **out, struct error *error)
{
	struct procevent_source *source = calloc(1, sizeof(*source));
	int result;

	if (!source)
		return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
	result = open_netlink(buffer_bytes, &source->fd, error);
	if (result) {
		free(source);
		return result;
	}
	/* Acknowledgements go to all who listen, numbered by the kernel: only this
	 * tells ours from theirs. */
	source->token = ((uint32_t)getpid() ^ (uint32_t)now_ms() << 16) & INT32_MAX;
	result = subscribe(source, error);
	if (result) {
		close(source->fd);
		free(source);
		return result;
	}
	*out = source;
	return 0;
}

int procevent_fd(const struct procevent_source *source)
{
	return source->fd;
}

int procevent_next(struct procevent_source *source, struct procevent *out, struct error *error)
{
	struct message message;
	int result;

	do {
		while ((result = next_message(&source->rest, &message)) > 0) {
			result = read_event(&message, out);
			if (result > 0)
				return 1;
			if (result < 0)
				break;
		}
		if (result < 0) {
			source->rest.left = 0;
			return error_set(error, ERROR_LIMIT, NULL, -1,
					 "a process event was lost: its message is damaged");
		}
		result = receive(source);
	} while (result > 0);
	/* The kernel says ENOBUFS once, and loses all that comes until its queue
	 * has been emptied: said again then, because what was read meanwhile to make
	 * up for the loss may have missed the rest of it. */
	if ((result == 0 && source->overrun) ||
	    (result < 0 && (errno == ENOBUFS || errno == EMSGSIZE))) {
		source->overrun = result < 0;
		return error_set(error, ERROR_LIMIT, NULL, -1,
				 "process events were lost: the kernel's buffer was full");
	}
	if (result < 0)
		return error_errno(error, NULL, "cannot receive process events");
	return 0;
}

void procevent_close(struct procevent_source *source)
{
	if (!source)
		return;
	/* Else older kernels go on to make events that nobody hears. */
	send_operation(source, PROC_CN_MCAST_IGNORE);
	close(source->fd);
	free(source);
}
