#include "tests/truth/talk.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Field 22 of stat: the 20th after the last ")". */
static unsigned long long start_ticks(void)
{
	char text[1024];
	char *at;
	ssize_t length;
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	length = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (length <= 0)
		return 0;
	text[length] = '\0';
	at = strrchr(text, ')');
	for (int i = 0; i < 20 && at != NULL; i++)
		at = strchr(at + 1, ' ');
	return at == NULL ? 0 : strtoull(at, NULL, 10);
}

static const char *address_text(const struct sockaddr_storage *address, char out[INET6_ADDRSTRLEN])
{
	struct sockaddr_storage plain = *address;
	const struct sockaddr_in *in = (const void *)&plain;
	const struct sockaddr_in6 *in6 = (const void *)&plain;

	address_unmap(&plain);
	if (plain.ss_family == AF_INET6)
		return inet_ntop(AF_INET6, &in6->sin6_addr, out, INET6_ADDRSTRLEN);
	return inet_ntop(AF_INET, &in->sin_addr, out, INET6_ADDRSTRLEN);
}

static void write_line(const struct plan *plan, const char *suffix, pid_t pid,
		       unsigned long long ticks, const struct talk *talk)
{
	char local[INET6_ADDRSTRLEN], remote[INET6_ADDRSTRLEN], line[512];
	int64_t life_us = (clock_ns(CLOCK_MONOTONIC) - plan->born_ns) / 1000;
	int length;

	length = snprintf(line, sizeof(line),
			  "%s%s\t%d\t%llu\t%lld\t%s\t%s\t%u\t%s\t%u\t%s\t%s\t%llu\t%llu\t%llu\t%lld"
			  "\t%lld\n",
			  plan->kind->name, suffix, (int)pid, ticks, (long long)life_us,
			  talk->protocol, address_text(&talk->local, local),
			  address_port(&talk->local), address_text(&talk->remote, remote),
			  address_port(&talk->remote), talk->role, talk->sharing,
			  (unsigned long long)talk->sent, (unsigned long long)talk->received,
			  (unsigned long long)talk->disturbed, (long long)talk->first_ns,
			  (long long)talk->last_ns);
	if (write(plan->journal, line, (size_t)length) != length) {
		perror("talk: journal");
		_exit(1);
	}
}

void journal_write(const struct plan *plan, const struct talk *talk)
{
	write_line(plan, "", getpid(), start_ticks(), talk);
}

void journal_write_kernel(const struct plan *plan, const struct talk *other_end)
{
	struct talk talk = *other_end;

	talk.local = other_end->remote;
	talk.remote = other_end->local;
	talk.sent = other_end->received;
	talk.received = other_end->sent;
	talk.role = "none";
	talk.sharing = "kernel";
	write_line(plan, "-kernel", 0, 0, &talk);
}

void talk_close(const struct plan *plan, struct talk *talk)
{
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);

	if (strcmp(talk->protocol, "tcp") == 0 &&
	    getsockopt(talk->fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0)
		talk->disturbed += info.tcpi_total_retrans;
	close(talk->fd);
	talk->fd = -1;
	talk->last_ns = clock_ns(CLOCK_REALTIME);
	journal_write(plan, talk);
}
