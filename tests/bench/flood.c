/*
 * flood ADDRESS PORT RATE SECONDS BYTES: sends UDP datagrams of BYTES of
 * payload, RATE a second, evenly by the millisecond. The kernel cuts them out of
 * larger buffers (UDP_SEGMENT), so that the sender is no bottleneck; the device
 * must not take them uncut. Prints how many it sent; exit 1 when it could not
 * keep up.
 */
#include <arpa/inet.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"

#define BATCH	    50 /* datagrams that go down the stack together */
#define TICK_NS	    1000000
#define MAX_PAYLOAD 1300
#define MAX_LATE_NS 200000000 /* behind by more: the rate is not what was asked for */

static char payload[BATCH * MAX_PAYLOAD];

static void wait_until(int64_t ns)
{
	struct timespec until = {ns / 1000000000, ns % 1000000000};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static int connect_to(const char *address, const char *port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atol(port))};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1)
		return -1;
	return fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) ? -1 : fd;
}

int main(int argc, char **argv)
{
	int64_t rate, duration_ns, begin_ns;
	uint64_t sent = 0, total;
	int fd, bytes;

	if (argc != 6 || (bytes = (int)atol(argv[5])) <= 0 || bytes > MAX_PAYLOAD) {
		fputs("Usage: flood ADDRESS PORT RATE SECONDS BYTES\n", stderr);
		return 64;
	}
	fd = connect_to(argv[1], argv[2]);
	if (fd < 0 || setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &bytes, sizeof bytes)) {
		perror(argv[1]);
		return 1;
	}
	rate = atoll(argv[3]);
	duration_ns = atoll(argv[4]) * 1000000000;
	total = (uint64_t)rate * (uint64_t)atoll(argv[4]);
	begin_ns = quantity_now_ns(CLOCK_MONOTONIC);
	for (int64_t tick_ns = TICK_NS; sent < total; tick_ns += TICK_NS) {
		uint64_t due = (uint64_t)(tick_ns / 1000 * rate / 1000000);

		due = due < total ? due : total;
		while (sent < due) {
			size_t count = due - sent < BATCH ? due - sent : BATCH;

			if (send(fd, payload, count * (size_t)bytes, 0) < 0) {
				perror("send");
				return 1;
			}
			sent += count;
		}
		wait_until(begin_ns + tick_ns);
	}
	printf("%llu\n", (unsigned long long)sent);
	if (quantity_now_ns(CLOCK_MONOTONIC) - begin_ns - duration_ns > MAX_LATE_NS) {
		fprintf(stderr, "flood: this machine does not send %s packets a second\n", argv[3]);
		return 1;
	}
	return 0;
}
