#include "snapshot/watcher_tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Some milliseconds of first packets while a look-up takes long. */
#define RECEIVE_BYTES (4 << 20)

/* -------------------------------------------------------------- filter -- */

/* Places that code before them jumps to. */
enum label { ACCEPT, DROP, WANTED, IPV4, IPV6, UPPER, TCP, UDP, ICMP, ICMP6, SCTP, LABELS };

struct assembler {
	struct sock_filter *program;
	size_t length;
	size_t at[LABELS];
};

static void put(struct assembler *as, unsigned code, uint32_t k)
{
	as->program[as->length++] = (struct sock_filter){.code = (uint16_t)code, .k = k};
}

static void test(struct assembler *as, unsigned code, uint32_t k, uint8_t met, uint8_t else_)
{
	as->program[as->length++] = (struct sock_filter){(uint16_t)code, met, else_, k};
}

/* Until all labels are known, a jump holds its label's number. */
static void jump(struct assembler *as, enum label to)
{
	put(as, BPF_JMP | BPF_JA, to);
}

static void if_equal(struct assembler *as, uint32_t k, enum label to)
{
	test(as, BPF_JMP | BPF_JEQ | BPF_K, k, 0, 1);
	jump(as, to);
}

static void if_set(struct assembler *as, uint32_t k, enum label to)
{
	test(as, BPF_JMP | BPF_JSET | BPF_K, k, 0, 1);
	jump(as, to);
}

static void label(struct assembler *as, enum label which)
{
	as->at[which] = as->length;
}

static void load_about(struct assembler *as, int what)
{
	put(as, BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + what));
}

static void put_interfaces(struct assembler *as, const struct watcher_filter *filter)
{
	if (filter->interface_count) {
		load_about(as, SKF_AD_IFINDEX);
		/* One jump over all of the list. */
		for (size_t i = 0; i < filter->interface_count; i++) {
			test(as, BPF_JMP | BPF_JEQ | BPF_K, filter->interfaces[i], 0, 1);
			put(as, BPF_JMP | BPF_JA,
			    LABELS + 2 * (uint32_t)(filter->interface_count - i - 1) + 1);
		}
		jump(as, DROP);
	}
	/* On loopback a packet is seen going out and coming in: the first one
	 * of the two comes earlier. */
	load_about(as, SKF_AD_PKTTYPE);
	if_equal(as, PACKET_OUTGOING, WANTED);
	if (!filter->foreign)
		if_equal(as, PACKET_OTHERHOST, DROP);
	load_about(as, SKF_AD_HATYPE);
	if_equal(as, ARPHRD_LOOPBACK, DROP);
}

/* X: the length of the IP header; A: the upper protocol. */
static void put_network(struct assembler *as)
{
	label(as, WANTED);
	load_about(as, SKF_AD_PROTOCOL);
	if_equal(as, ETH_P_IP, IPV4);
	if_equal(as, ETH_P_IPV6, IPV6);
	jump(as, DROP);
	label(as, IPV4);
	put(as, BPF_LD | BPF_H | BPF_ABS, 6);
	if_set(as, 0x1fff, DROP); /* not the first fragment */
	put(as, BPF_LDX | BPF_B | BPF_MSH, 0);
	put(as, BPF_LD | BPF_B | BPF_ABS, 9);
	jump(as, UPPER);
	label(as, IPV6);
	put(as, BPF_LDX | BPF_IMM, 40);
	put(as, BPF_LD | BPF_B | BPF_ABS, 6);
	label(as, UPPER);
}

static void put_tcp(struct assembler *as, const struct watcher_filter *filter)
{
	label(as, TCP);
	if (filter->no_tcp) {
		jump(as, DROP);
		return;
	}
	put(as, BPF_LD | BPF_B | BPF_IND, 13);
	put(as, BPF_ALU | BPF_AND | BPF_K, 0x12);
	test(as, BPF_JMP | BPF_JEQ | BPF_K, filter->side == WATCHER_ANSWERS ? 0x12 : 0x02, 1, 0);
	jump(as, DROP);
	/* The sender's end is looked up: here, or in a namespace behind a bridge. */
	if (!filter->foreign) {
		load_about(as, SKF_AD_PKTTYPE);
		if_equal(as, PACKET_OUTGOING, ACCEPT);
		jump(as, DROP);
	}
	jump(as, ACCEPT);
}

static void put_udp(struct assembler *as, const struct watcher_filter *filter)
{
	label(as, UDP);
	if (filter->no_udp) {
		jump(as, DROP);
		return;
	}
	put(as, BPF_LD | BPF_W | BPF_IND, 0);
	for (size_t i = 0; i < filter->pair_count; i++) {
		if_equal(as, filter->pairs[i], DROP);
		if_equal(as, filter->pairs[i] << 16 | filter->pairs[i] >> 16, DROP);
	}
	for (uint32_t at = 0; at <= 2 && filter->port_count; at += 2) {
		put(as, BPF_LD | BPF_H | BPF_IND, at);
		for (size_t i = 0; i < filter->port_count; i++)
			if_equal(as, filter->ports[i], DROP);
	}
	jump(as, ACCEPT);
}

static void put_upper(struct assembler *as, const struct watcher_filter *filter)
{
	if_equal(as, IPPROTO_TCP, TCP);
	if_equal(as, IPPROTO_SCTP, SCTP);
	if (filter->side == WATCHER_ANSWERS)
		jump(as, DROP);
	if_equal(as, IPPROTO_UDP, UDP);
	if_equal(as, IPPROTO_UDPLITE, UDP);
	for (size_t i = 0; i < filter->protocol_count; i++)
		if_equal(as, filter->protocols[i], DROP);
	if_equal(as, IPPROTO_ICMP, ICMP);
	if_equal(as, IPPROTO_ICMPV6, ICMP6);
	jump(as, ACCEPT);
	put_tcp(as, filter);
	put_udp(as, filter);
	label(as, ICMP);
	put(as, BPF_LD | BPF_B | BPF_IND, 0);
	if_equal(as, 8, ACCEPT); /* echo request */
	jump(as, DROP);
	label(as, ICMP6);
	put(as, BPF_LD | BPF_B | BPF_IND, 0);
	if_equal(as, 128, ACCEPT);
	jump(as, DROP);
	label(as, SCTP);
	put(as, BPF_LD | BPF_B | BPF_IND, 12);
	if_equal(as, filter->side == WATCHER_ANSWERS ? 2 : 1, ACCEPT); /* INIT ACK; INIT */
	label(as, DROP);
	put(as, BPF_RET | BPF_K, 0);
	label(as, ACCEPT);
	put(as, BPF_RET | BPF_K, WATCHER_TAP_SNAPLEN);
}

size_t watcher_filter_compile(const struct watcher_filter *filter,
			      struct sock_filter program[WATCHER_TAP_PROGRAM])
{
	struct assembler as = {.program = program};

	put_interfaces(&as, filter);
	put_network(&as);
	put_upper(&as, filter);
	for (size_t i = 0; i < as.length; i++) {
		if (program[i].code != (BPF_JMP | BPF_JA))
			continue;
		if (program[i].k >= LABELS)
			program[i].k -= LABELS;
		else
			program[i].k = (uint32_t)(as.at[program[i].k] - i - 1);
	}
	return as.length;
}

/* ----------------------------------------------------------------- tap -- */

int watcher_tap_filter(int fd, const struct watcher_filter *filter, struct error *error)
{
	struct sock_filter program[WATCHER_TAP_PROGRAM];
	struct sock_fprog code = {.filter = program};

	code.len = (unsigned short)watcher_filter_compile(filter, program);
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &code, sizeof(code)))
		return error_errno(error, NULL, "setting the watcher's filter");
	return 0;
}

int watcher_tap_open(const struct watcher_filter *filter, unsigned ifindex, struct error *error)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
				      .sll_protocol = htons(ETH_P_ALL),
				      .sll_ifindex = (int)ifindex};
	int bytes = RECEIVE_BYTES, status;
	/* Protocol 0: nothing arrives before the filter is there. */
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return error_errno(error, NULL, "opening the watcher's packet socket");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	status = watcher_tap_filter(fd, filter, error);
	if (!status && bind(fd, (struct sockaddr *)(void *)&address, sizeof(address)))
		status = error_errno(error, NULL, "binding the watcher's packet socket");
	if (status) {
		close(fd);
		return status;
	}
	return fd;
}

/* ------------------------------------------------------------- packets -- */

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

/* Sets addresses and protocol; the length of the header, or 0. */
static size_t parse_network(const uint8_t *bytes, size_t length, struct watcher_packet *out)
{
	size_t header;

	if (length >= 20 && bytes[0] >> 4 == 4) {
		header = (size_t)(bytes[0] & 15) * 4;
		if (header < 20 || header > length || get16(bytes + 6) & 0x1fff)
			return 0;
		out->protocol = bytes[9];
		out->source.address = endpoint_from_ipv4(bytes + 12);
		out->destination.address = endpoint_from_ipv4(bytes + 16);
		return header;
	}
	if (length < 40 || bytes[0] >> 4 != 6)
		return 0;
	out->ipv6 = true;
	out->protocol = bytes[6];
	out->source.address = endpoint_from_ipv6(bytes + 8);
	out->destination.address = endpoint_from_ipv6(bytes + 24);
	header = 40;
	/* Hop-by-hop, routing, destination options (RFC 8200). */
	while (out->protocol == 0 || out->protocol == 43 || out->protocol == 60) {
		if (length < header + 8)
			return 0;
		out->protocol = bytes[header];
		header += 8 + (size_t)bytes[header + 1] * 8;
	}
	if (out->protocol == 44) { /* fragment */
		if (length < header + 8 || get16(bytes + header + 2) & 0xfff8)
			return 0;
		out->protocol = bytes[header];
		header += 8;
	}
	return header <= length ? header : 0;
}

static bool parse_upper(const uint8_t *at, size_t left, struct watcher_packet *out)
{
	switch (out->protocol) {
	case IPPROTO_TCP:
		if (left < 14 || !(at[13] & 0x02))
			return false;
		out->is_answer = at[13] & 0x10;
		out->sequence = get32(at + 4);
		break;
	case IPPROTO_SCTP:
		if (left < 20 || (at[12] != 1 && at[12] != 2))
			return false;
		out->is_answer = at[12] == 2;
		out->sequence = get32(at + 16);
		break;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		if (left < 8)
			return false;
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (left < 8 || at[0] != (out->ipv6 ? 128 : 8))
			return false;
		out->ident = get16(at + 4);
		return true;
	default:
		return out->protocol != 59; /* IPv6: nothing follows */
	}
	out->source.port = get16(at);
	out->destination.port = get16(at + 2);
	return true;
}

bool watcher_tap_parse(const uint8_t *bytes, size_t length, const struct sockaddr_ll *from,
		       struct watcher_packet *out)
{
	struct watcher_packet packet = {.outgoing = from->sll_pkttype == PACKET_OUTGOING,
					.loopback = from->sll_hatype == ARPHRD_LOOPBACK,
					.ifindex = (uint32_t)from->sll_ifindex};
	size_t header = parse_network(bytes, length, &packet);

	if (!header || !parse_upper(bytes + header, length - header, &packet))
		return false;
	*out = packet;
	return true;
}
