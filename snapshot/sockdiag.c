#include "snapshot/sockdiag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"
#include "snapshot/netlink_bytes.h"

/* The kernel makes no netlink message of these kinds longer than its
 * NLMSG_GOODSIZE (8 KiB) but for dumps, and no dump is read here. */
#define DATAGRAM_BYTES 16384

/* A socket's destruction costs under 1 KiB of buffer: some 8000 of them wait. */
#define CLOSE_BUFFER_BYTES (8 << 20)

enum support {
	SUPPORT_UNKNOWN,
	SUPPORT_YES,
	SUPPORT_NO,
};

struct sockdiag {
	int fd;
	uint32_t sequence;
	uint32_t ifindex;
	uint8_t support[256]; /* enum support, by protocol */
	uint8_t buffer[DATAGRAM_BYTES];
};

/* -------------------------------------------------------------- cursor -- */

/* The next message of a datagram: its header, and all of its bytes with the
 * header. 1, 0 at the end, negative. */
static int next_message(struct bytes *datagram, struct nlmsghdr *head, struct bytes *message)
{
	struct bytes look = *datagram;

	if (datagram->left == 0)
		return 0;
	if (!take(&look, head, sizeof(*head)))
		return damage("a netlink header", datagram->left);
	if (head->nlmsg_len < sizeof(*head) || head->nlmsg_len > datagram->left)
		return damage("a netlink message as long as its header says", datagram->left);
	message->at = datagram->at;
	message->left = head->nlmsg_len;
	skip(datagram, NLMSG_ALIGN((size_t)head->nlmsg_len));
	return 1;
}

static int next_attribute(struct bytes *attributes, struct nlattr *head, struct bytes *value)
{
	struct bytes look = *attributes;

	if (attributes->left == 0)
		return 0;
	if (!take(&look, head, sizeof(*head)))
		return damage("an attribute's header", attributes->left);
	if (head->nla_len < sizeof(*head) || head->nla_len > attributes->left)
		return damage("an attribute as long as its header says", attributes->left);
	value->at = look.at;
	value->left = head->nla_len - sizeof(*head);
	skip(attributes, NLA_ALIGN((size_t)head->nla_len));
	return 1;
}

/* ------------------------------------------------------------- parsers -- */

/* What both kinds of message hold. */
struct answer {
	struct inet_diag_msg body;
	uint8_t protocol; /* 0: not told */
	bool has_info;
	struct tcp_info info; /* zero where this kernel's is shorter */
};

static int parse_answer(const void *bytes, size_t length, struct answer *out)
{
	struct bytes datagram = {bytes, length}, message = {0}, value = {0};
	struct nlmsghdr head;
	struct nlattr attribute;
	int result = next_message(&datagram, &head, &message);

	memset(out, 0, sizeof(*out));
	if (result < 0)
		return result;
	if (result == 0 || head.nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return 0;
	skip(&message, sizeof(head));
	if (!take(&message, &out->body, sizeof(out->body)))
		return damage("an inet_diag_msg", message.left);
	if (out->body.idiag_family != AF_INET && out->body.idiag_family != AF_INET6)
		return 0;
	while ((result = next_attribute(&message, &attribute, &value)) > 0) {
		switch (attribute.nla_type & NLA_TYPE_MASK) {
		case INET_DIAG_PROTOCOL:
			if (!take(&value, &out->protocol, sizeof(out->protocol)))
				return damage("a protocol number", value.left);
			break;
		case INET_DIAG_INFO:
			out->has_info = true;
			memcpy(&out->info, value.at,
			       value.left < sizeof(out->info) ? value.left : sizeof(out->info));
			break;
		}
	}
	return result < 0 ? result : 1;
}

/* 0: no table of ours. */
static enum snap_table table_of(uint8_t protocol, bool ipv6)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return ipv6 ? SNAP_TCP6 : SNAP_TCP;
	case IPPROTO_UDP:
		return ipv6 ? SNAP_UDP6 : SNAP_UDP;
	case IPPROTO_UDPLITE:
		return ipv6 ? SNAP_UDPLITE6 : SNAP_UDPLITE;
	case IPPROTO_RAW:
		return ipv6 ? SNAP_RAW6 : SNAP_RAW;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return ipv6 ? SNAP_ICMP6 : SNAP_ICMP;
	case IPPROTO_SCTP:
		return SNAP_SCTP_ASSOCS;
	}
	return 0;
}

static struct endpoint endpoint_of(uint8_t family, const __be32 words[4], __be16 port)
{
	struct endpoint endpoint;
	uint8_t raw[16];

	memcpy(raw, words, sizeof(raw));
	endpoint.address = family == AF_INET ? endpoint_from_ipv4(raw) : endpoint_from_ipv6(raw);
	endpoint.port = ntohs(port);
	return endpoint;
}

int sockdiag_parse_reply(const void *bytes, size_t length, struct snap_socket *out)
{
	struct answer answer;
	const struct inet_diag_msg *body = &answer.body;
	enum snap_table table;
	int result = parse_answer(bytes, length, &answer);

	if (result <= 0)
		return result;
	table = table_of(answer.protocol ? answer.protocol : IPPROTO_TCP,
			 body->idiag_family == AF_INET6);
	if (!table)
		return 0;
	*out = (struct snap_socket){
		.table = table,
		.local = endpoint_of(body->idiag_family, body->id.idiag_src, body->id.idiag_sport),
		.remote = endpoint_of(body->idiag_family, body->id.idiag_dst, body->id.idiag_dport),
		.state = body->idiag_state,
		.uid = body->idiag_uid,
		.inode = body->idiag_inode,
		.cookie = cookie_of(body->id.idiag_cookie),
		.ifindex = body->id.idiag_if,
	};
	return 1;
}

int sockdiag_parse_close(const void *bytes, size_t length, struct snap_closed *out)
{
	struct answer answer;
	const struct inet_diag_msg *body = &answer.body;
	const struct tcp_info *info = &answer.info;
	int result = parse_answer(bytes, length, &answer);

	if (result <= 0)
		return result;
	if (answer.protocol != IPPROTO_TCP && answer.protocol != IPPROTO_UDP)
		return 0;
	*out = (struct snap_closed){
		.table = table_of(answer.protocol, body->idiag_family == AF_INET6),
		.local = endpoint_of(body->idiag_family, body->id.idiag_src, body->id.idiag_sport),
		.remote = endpoint_of(body->idiag_family, body->id.idiag_dst, body->id.idiag_dport),
		.cookie = cookie_of(body->id.idiag_cookie),
	};
	if (answer.protocol == IPPROTO_TCP && answer.has_info) {
		out->bytes_acked = info->tcpi_bytes_acked;
		out->bytes_received = info->tcpi_bytes_received;
		out->bytes_sent = info->tcpi_bytes_sent;
		out->bytes_retransmitted = info->tcpi_bytes_retrans;
		out->segments_out = info->tcpi_segs_out;
		out->segments_in = info->tcpi_segs_in;
		out->data_segments_out = info->tcpi_data_segs_out;
		out->data_segments_in = info->tcpi_data_segs_in;
	}
	return 1;
}

/* -------------------------------------------------------------- socket -- */

static int open_netlink(int *out, struct error *error)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);

	if (fd < 0)
		return error_errno(error, NULL, "this kernel gives no sock_diag socket");
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address))) {
		int result = error_errno(error, NULL, "cannot bind a sock_diag socket");

		close(fd);
		return result;
	}
	*out = fd;
	return 0;
}

/* One datagram from the kernel; those of other senders are no evidence. Its
 * length, 0: none is waiting, -1: errno says. */
static ssize_t receive(int fd, uint8_t buffer[DATAGRAM_BYTES])
{
	for (;;) {
		struct sockaddr_nl sender = {0};
		socklen_t sender_length = sizeof(sender);
		ssize_t length = recvfrom(fd, buffer, DATAGRAM_BYTES, MSG_TRUNC,
					  (struct sockaddr *)&sender, &sender_length);

		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return errno == EAGAIN ? 0 : -1;
		if (length == 0 || sender_length < sizeof(sender) || sender.nl_pid != 0)
			continue;
		if (length > DATAGRAM_BYTES) {
			errno = EMSGSIZE;
			return -1;
		}
		return length;
	}
}

/* ------------------------------------------------------------ requests -- */

struct request {
	struct nlmsghdr head;
	struct inet_diag_req_v2 body;
};

static int send_request(struct sockdiag *diag, uint16_t flags, struct request *request,
			struct error *error)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	ssize_t sent;

	request->head.nlmsg_len = sizeof(*request);
	request->head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
	request->head.nlmsg_flags = NLM_F_REQUEST | flags;
	request->head.nlmsg_seq = ++diag->sequence;
	do {
		sent = sendto(diag->fd, request, sizeof(*request), 0,
			      (const struct sockaddr *)&kernel, sizeof(kernel));
	} while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return error_errno(error, NULL, "cannot send a sock_diag request");
	return 0;
}

/* Sends, and gives the message that answers: the kernel has queued it when the
 * sending returns. Answers to requests that were given up are passed over. */
static int exchange(struct sockdiag *diag, uint16_t flags, struct request *request,
		    struct nlmsghdr *head, struct bytes *message, struct error *error)
{
	int result = send_request(diag, flags, request, error);

	while (!result) {
		ssize_t length = receive(diag->fd, diag->buffer);
		struct bytes datagram = {diag->buffer, length > 0 ? (size_t)length : 0};

		if (length < 0)
			return error_errno(error, NULL, "cannot receive a sock_diag answer");
		if (length == 0)
			return error_set(error, ERROR_SYSTEM, NULL, -1,
					 "the kernel did not answer a sock_diag request");
		while ((result = next_message(&datagram, head, message)) > 0) {
			if (head->nlmsg_seq == diag->sequence)
				return 0;
		}
		if (result < 0)
			return error_damage(error, "sock_diag", -1, "whole netlink messages",
					    "%zd bytes that are not", length);
	}
	return result;
}

/* The errno in an NLMSG_ERROR or NLMSG_DONE, positive; EBADMSG where there is none. */
static int errno_of(struct bytes message)
{
	int32_t code;

	skip(&message, sizeof(struct nlmsghdr));
	if (!take(&message, &code, sizeof(code)) || code > 0 || code == INT32_MIN)
		return EBADMSG;
	return -code;
}

/* The kernel says ENOENT both for a socket that is not there and for a
 * protocol that it cannot look up. A dump in no state at all tells them apart:
 * it has no rows, and fails for the latter only. */
static int learn_support(struct sockdiag *diag, uint8_t protocol, struct error *error)
{
	struct request request = {
		.body = {.sdiag_family = AF_INET, .sdiag_protocol = protocol},
	};
	struct nlmsghdr head;
	struct bytes message;
	int result, code;

	if (diag->support[protocol] != SUPPORT_UNKNOWN)
		return 0;
	result = exchange(diag, NLM_F_DUMP, &request, &head, &message, error);
	if (result)
		return result;
	code = 0;
	if (head.nlmsg_type == NLMSG_ERROR || head.nlmsg_type == NLMSG_DONE)
		code = errno_of(message);
	diag->support[protocol] = code == 0 ? SUPPORT_YES : SUPPORT_NO;
	return 0;
}

static int cannot_answer(uint8_t protocol, struct error *error)
{
	return error_set(error, ERROR_LIMIT, NULL, -1,
			 "this kernel looks up no single sockets of IP protocol %u", protocol);
}

/* Address words as the kernel wants them; "any" of one family is that of the
 * other. False: an IPv6 address for an IPv4 table. */
static bool fill_address(const struct endpoint_address *address, bool ipv6, __be32 words[4])
{
	memset(words, 0, 4 * sizeof(words[0]));
	if (endpoint_is_any(address))
		return true;
	if (ipv6) {
		memcpy(words, address->bytes, 16);
		return true;
	}
	memcpy(words, address->bytes + 12, 4);
	return endpoint_is_ipv4(address);
}

static int ask(struct sockdiag *diag, uint8_t protocol, bool ipv6, const struct endpoint *local,
	       const struct endpoint *remote, struct snap_socket *out, struct error *error)
{
	/* As a received packet has them: net/ipv4/udp_diag.c, udp_dump_one. */
	bool swapped = protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE;
	const struct endpoint *source = swapped ? remote : local;
	const struct endpoint *destination = swapped ? local : remote;
	struct request request = {
		.body =
			{
				.sdiag_family = ipv6 ? AF_INET6 : AF_INET,
				.sdiag_protocol = protocol,
				/* sdiag_raw_protocol of struct inet_diag_req_raw */
				.pad = protocol == IPPROTO_RAW ? (uint8_t)local->port : 0,
				.idiag_states = UINT32_MAX,
				.id =
					{
						.idiag_sport = htons(source->port),
						.idiag_dport = htons(destination->port),
						.idiag_if = diag->ifindex,
						.idiag_cookie = {INET_DIAG_NOCOOKIE,
								 INET_DIAG_NOCOOKIE},
					},
			},
	};
	struct snap_socket found = {0};
	struct nlmsghdr head;
	struct bytes message;
	int result, code;

	if (diag->support[protocol] == SUPPORT_NO || !table_of(protocol, ipv6))
		return cannot_answer(protocol, error);
	if (!fill_address(&source->address, ipv6, request.body.id.idiag_src) ||
	    !fill_address(&destination->address, ipv6, request.body.id.idiag_dst))
		return error_set(error, ERROR_USAGE, NULL, -1,
				 "an IPv6 address is in no table of IPv4");
	result = exchange(diag, 0, &request, &head, &message, error);
	if (result)
		return result;
	if (head.nlmsg_type == NLMSG_ERROR) {
		code = errno_of(message);
		if (code == ENOENT) {
			result = learn_support(diag, protocol, error);
			if (!result && diag->support[protocol] == SUPPORT_NO)
				return cannot_answer(protocol, error);
			return result;
		}
		errno = code;
		return error_errno(error, NULL, "sock_diag refused a look-up of IP protocol %u",
				   protocol);
	}
	result = sockdiag_parse_reply(message.at, message.left, &found);
	if (result < 0)
		return error_damage(error, "sock_diag", -1, "an answer", "%zu bytes", message.left);
	if (result == 0)
		return error_damage(error, "sock_diag", -1, "an answer", "a message of type %u",
				    head.nlmsg_type);
	found.table = table_of(protocol, snap_table_is_ipv6(found.table));
	*out = found;
	return 1;
}

/* ------------------------------------------------------------- look-up -- */

int sockdiag_open(struct sockdiag **out, struct error *error)
{
	struct sockdiag *diag = calloc(1, sizeof(*diag));
	int result;

	if (!diag)
		return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
	result = open_netlink(&diag->fd, error);
	if (result) {
		free(diag);
		return result;
	}
	/* Now, because the kernel may have to load a module for each. */
	result = learn_support(diag, IPPROTO_TCP, error);
	if (!result)
		result = learn_support(diag, IPPROTO_UDP, error);
	if (!result && diag->support[IPPROTO_TCP] == SUPPORT_NO)
		result = error_set(error, ERROR_SYSTEM, NULL, -1,
				   "this kernel's sock_diag knows no TCP (INET_DIAG is missing)");
	if (result) {
		sockdiag_close(diag);
		return result;
	}
	*out = diag;
	return 0;
}

void sockdiag_close(struct sockdiag *diag)
{
	if (!diag)
		return;
	close(diag->fd);
	free(diag);
}

void sockdiag_set_device(struct sockdiag *diag, uint32_t ifindex)
{
	diag->ifindex = ifindex;
}

/* The wildcards of both families are one: a dual-stack socket bound to :: is
 * what the IPv4 table's 0.0.0.0 is answered with. */
static bool same_end(const struct endpoint *asked, const struct endpoint *found)
{
	return asked->port == found->port &&
	       (endpoint_equal(&asked->address, &found->address) ||
		(endpoint_is_any(&asked->address) && endpoint_is_any(&found->address)));
}

/* An association has many addresses and is answered with its primary ones. The
 * table has a row for each pair, and the pair asked for is the one wanted. */
static int found_association(const struct endpoint *local, const struct endpoint *remote,
			     struct snap_socket *found, struct snap_socket *out)
{
	enum { SCTP_STATE_ESTABLISHED = 3 }; /* include/net/sctp/constants.h */

	if (found->local.port != local->port || found->remote.port != remote->port)
		return 0;
	*out = *found;
	out->local = *local;
	out->remote = *remote;
	out->state = found->state == SCTP_STATE_ESTABLISHED ? SNAP_ESTABLISHED : SNAP_UNKNOWN_STATE;
	return 1;
}

int sockdiag_lookup(struct sockdiag *diag, uint8_t protocol, bool ipv6,
		    const struct endpoint *local, const struct endpoint *remote,
		    struct snap_socket *out, struct error *error)
{
	struct snap_socket found = {0};
	int result;

	/* The kernel finds associations only, no endpoints. */
	if (protocol == IPPROTO_SCTP && remote->port == 0)
		return cannot_answer(protocol, error);
	result = ask(diag, protocol, ipv6, local, remote, &found, error);
	if (result <= 0)
		return result;
	if (protocol == IPPROTO_SCTP)
		return found_association(local, remote, &found, out);
	/* The kernel goes on to listeners and wildcards by itself. */
	if (!same_end(local, &found.local) || !same_end(remote, &found.remote))
		return 0;
	*out = found;
	return 1;
}

int sockdiag_lookup_udp(struct sockdiag *diag, const struct endpoint *local,
			const struct endpoint *remote, struct snap_socket *out, struct error *error)
{
	/* One request: the kernel's scoring goes through connected, bound and
	 * wildcard sockets, and from IPv4 on to dual-stack ones. */
	return ask(diag, IPPROTO_UDP, !endpoint_is_ipv4(&local->address), local, remote, out,
		   error);
}

/* -------------------------------------------------------------- closes -- */

struct sockdiag_close_listener {
	int fd;
	bool overrun;	   /* closes are being lost, until none is waiting any more */
	struct bytes rest; /* of the datagram in buffer */
	int64_t received_ns;
	uint8_t buffer[DATAGRAM_BYTES];
};

static int join_groups(int fd, struct error *error)
{
	static const int groups[] = {
		SKNLGRP_INET_TCP_DESTROY,
		SKNLGRP_INET_UDP_DESTROY,
		SKNLGRP_INET6_TCP_DESTROY,
		SKNLGRP_INET6_UDP_DESTROY,
	};
	int size = CLOSE_BUFFER_BYTES;

	/* Beyond net.core.rmem_max where that is allowed. A smaller buffer only
	 * loses closes earlier, and says so. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i],
			       sizeof(groups[i])))
			return error_errno(error, NULL, "this kernel does not tell closes");
	}
	return 0;
}

int sockdiag_listen(struct sockdiag_close_listener **out, struct error *error)
{
	struct sockdiag_close_listener *listener = calloc(1, sizeof(*listener));
	int result;

	if (!listener)
		return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
	result = open_netlink(&listener->fd, error);
	if (result) {
		free(listener);
		return result;
	}
	result = join_groups(listener->fd, error);
	if (result) {
		sockdiag_listen_close(listener);
		return result;
	}
	*out = listener;
	return 0;
}

int sockdiag_listen_fd(const struct sockdiag_close_listener *listener)
{
	return listener->fd;
}

void sockdiag_listen_close(struct sockdiag_close_listener *listener)
{
	if (!listener)
		return;
	close(listener->fd);
	free(listener);
}

/* 1 with a datagram in the buffer, 0, negative. */
static int next_datagram(struct sockdiag_close_listener *listener, struct error *error)
{
	ssize_t length = receive(listener->fd, listener->buffer);

	/* The kernel says ENOBUFS once, and loses all that comes until its queue
	 * has been emptied: said again then. */
	if ((length == 0 && listener->overrun) ||
	    (length < 0 && (errno == ENOBUFS || errno == EMSGSIZE))) {
		listener->overrun = length < 0;
		return error_set(error, ERROR_LIMIT, NULL, -1,
				 "closes of sockets were lost: the kernel's buffer was full");
	}
	if (length < 0)
		return error_errno(error, NULL, "cannot receive closes of sockets");
	if (length == 0)
		return 0;
	listener->received_ns = quantity_now_ns(CLOCK_REALTIME);
	listener->rest = (struct bytes){listener->buffer, (size_t)length};
	return 1;
}

int sockdiag_next_close(struct sockdiag_close_listener *listener, struct snap_closed *out,
			struct error *error)
{
	struct nlmsghdr head;
	struct bytes message;
	int result;

	do {
		while ((result = next_message(&listener->rest, &head, &message)) > 0) {
			result = sockdiag_parse_close(message.at, message.left, out);
			if (result < 0)
				break;
			if (result > 0) {
				out->closed_ns = listener->received_ns;
				return 1;
			}
		}
		if (result < 0) {
			listener->rest.left = 0;
			return error_set(error, ERROR_LIMIT, NULL, -1,
					 "a close of a socket was lost: its message is damaged");
		}
		result = next_datagram(listener, error);
	} while (result > 0);
	return result;
}
