#include "snapshot/tcpdiag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "snapshot/netlink_bytes.h"

/* The kernel fills dumps in pieces of at most 32 KiB (net/netlink/af_netlink.c,
 * netlink_dump). */
#define PIECE_BYTES (64u << 10)
/* The states 1 to 12 (include/net/tcp_states.h). Behind them are sockets that
 * are only bound, which /proc/net does not have. */
#define STATES 0x1ffeu

/* The old request: it asks for both families at once (inet_diag_rcv_msg_compat),
 * so that the hash table is walked once. */
static int ask(int fd)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_req body;
	} request = {
		.head = {.nlmsg_len = sizeof(request),
			 .nlmsg_type = TCPDIAG_GETSOCK,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.body = {.idiag_states = STATES},
	};
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

	return sendto(fd, &request, sizeof(request), 0, (const struct sockaddr *)&kernel,
		      sizeof(kernel)) == (ssize_t)sizeof(request)
		       ? 0
		       : errno;
}

static struct endpoint endpoint_of(const struct inet_diag_msg *message, const void *address,
				   uint16_t port_be)
{
	return (struct endpoint){
		.address = message->idiag_family == AF_INET6 ? endpoint_from_ipv6(address)
							     : endpoint_from_ipv4(address),
		.port = ntohs(port_be),
	};
}

static int add_row(struct bytes message, uint64_t netns, struct procnet_rows *rows)
{
	struct inet_diag_msg found;
	struct snap_socket *grown;

	if (!take(&message, &found, sizeof(found)))
		return EBADMSG;
	if (found.idiag_family != AF_INET && found.idiag_family != AF_INET6)
		return 0;
	grown = procfs_grow(rows->rows, &rows->capacity, rows->count + 1, sizeof(*grown));
	if (!grown)
		return ENOMEM;
	rows->rows = grown;
	grown += rows->count++;
	memset(grown, 0, sizeof(*grown));
	grown->netns = netns;
	grown->table = found.idiag_family == AF_INET6 ? SNAP_TCP6 : SNAP_TCP;
	grown->local = endpoint_of(&found, found.id.idiag_src, found.id.idiag_sport);
	grown->remote = endpoint_of(&found, found.id.idiag_dst, found.id.idiag_dport);
	grown->state = found.idiag_state;
	grown->uid = found.idiag_state == SNAP_SYN_RECV ? SNAP_UNKNOWN_UID : found.idiag_uid;
	grown->inode = found.idiag_inode;
	/* A row without an inode may be another socket's the next time. */
	grown->cookie = found.idiag_inode ? cookie_of(found.id.idiag_cookie) : 0;
	return 0;
}

/* A dump's end carries 0, an error message the reason; both below 0 else. */
static int reason_of(struct bytes message)
{
	int32_t reason = 0;

	take(&message, &reason, sizeof(reason));
	return reason < 0 ? -reason : 0;
}

/* All messages of one piece. *ended: the last was among them. 0 or an errno. */
static int take_piece(struct bytes piece, uint64_t netns, struct procnet_rows *rows, bool *ended)
{
	int result = 0;

	while (piece.left && !result && !*ended) {
		struct bytes message = piece;
		struct nlmsghdr head;

		if (!take(&message, &head, sizeof(head)) || head.nlmsg_len < sizeof(head) ||
		    head.nlmsg_len > piece.left)
			return EBADMSG;
		message.left = head.nlmsg_len - sizeof(head);
		skip(&piece, NLMSG_ALIGN(head.nlmsg_len));
		if (head.nlmsg_type == NLMSG_DONE) {
			*ended = true;
			result = reason_of(message);
		} else if (head.nlmsg_type == NLMSG_ERROR) {
			result = reason_of(message);
			result = result ? result : EBADMSG;
		} else if (head.nlmsg_type == TCPDIAG_GETSOCK) {
			result = add_row(message, netns, rows);
		}
	}
	return result;
}

int tcpdiag_read(uint64_t netns, struct procfs_text *scratch, struct procnet_rows *rows)
{
	char *room = procfs_grow(scratch->text, &scratch->capacity, PIECE_BYTES, 1);
	size_t before = rows->count;
	bool ended = false;
	int fd, result;

	if (!room)
		return ENOMEM;
	scratch->text = room;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (fd < 0)
		return errno;
	result = ask(fd);
	while (!result && !ended) {
		/* The kernel answers in the caller's own time: nothing to wait for. */
		ssize_t got = recv(fd, room, scratch->capacity, MSG_DONTWAIT | MSG_TRUNC);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			result = errno;
		else if ((size_t)got > scratch->capacity)
			result = EMSGSIZE;
		else
			result = take_piece((struct bytes){(const uint8_t *)room, (size_t)got},
					    netns, rows, &ended);
	}
	close(fd);
	if (result)
		rows->count = before;
	return result;
}
