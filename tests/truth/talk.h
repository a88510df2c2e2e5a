/*
 * talk.h - processes that talk, and that write down what they really did.
 *
 * One run of the program plays one kind of conversation: it starts the servers
 * of the kind, then its clients, each a process of its own, and waits for all
 * of them. Every process appends one line to the journal for each use it made
 * of a socket, after it closed the socket and before it ends, so that writing
 * does not lengthen the life of either. Never looks at how others see it.
 */
#ifndef TESTS_TRUTH_TALK_H
#define TESTS_TRUTH_TALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#define PLAN_LIVES_MAX	  16   /* a mix of more is no mix that anyone reads */
#define PLAN_WORKERS	  4    /* processes of a group of servers */
#define PLAN_THREADS	  4    /* threads of a client of several */
#define PLAN_AT_ONCE	  256  /* clients that live at the same time */
#define TALK_GREETING	  16   /* bytes, where the server speaks first */
#define TALK_PART_MAX	  6000 /* bytes of one request or answer on a stream */
#define TALK_DATAGRAM_MAX 1200
#define TALK_HEADER	  8 /* length of the request, what is wanted: u32 each */

/* Exit status of a kind that this machine cannot play. */
#define TALK_CANNOT 77

enum server_style {
	SERVER_SINGLE,	  /* one process, all connections */
	SERVER_PREFORK,	  /* workers share one listener (or one datagram socket) */
	SERVER_REUSEPORT, /* each worker has its own listener on the same port */
	SERVER_FORKING,	  /* a child for each connection */
	SERVER_INETD,	  /* a child that executes a program, the connection its 0, 1, 2 */
	SERVER_PASS,	  /* accepted, begun, then passed to a worker over a UNIX socket */
};

enum client_style {
	CLIENT_PLAIN,
	CLIENT_EXEC,	/* executes the program anew */
	CLIENT_THREADS, /* a connection for each thread */
	CLIENT_LEADER,	/* the leading thread has ended before the talk begins */
	CLIENT_LEAK,	/* a child of another program holds the connection too */
	CLIENT_SHARED,	/* parent and child use one connection in turn */
	CLIENT_AT_ONCE, /* parent and child use one connection at the same time */
	CLIENT_MAPPED,	/* every second one through an IPv6 socket to ::ffff:a.b.c.d */
};

struct plan;

struct kind {
	const char *name;
	int (*run)(struct plan *plan); /* 0, 1 failed, TALK_CANNOT */
	int family;		       /* of the clients' packets: AF_INET, AF_INET6 */
	enum server_style server;
	enum client_style client;
	bool dual_stack; /* the server's socket is IPv6, bound to the wildcard, for both */
	bool connected;	 /* datagram clients connect */
	bool cable;	 /* over the cable to the other namespace, not over loopback */
	bool server_far, client_far; /* which side lives in the other namespace */
	bool server_speaks_first;
};

struct plan {
	const struct kind *kind;
	unsigned count;
	unsigned rate; /* clients started a second; 0: as fast as can be */
	struct {
		unsigned life_ms, weight;
	} lives[PLAN_LIVES_MAX];
	size_t life_count;
	int journal;	   /* opened with O_APPEND */
	const char *netns; /* path of the other namespace; NULL: there is none */
	struct sockaddr_storage near[2], far[2]; /* ends of the cable: IPv4, IPv6; family 0: none */
	int argc;
	char **argv;	 /* as given, for what executes the program anew */
	int64_t born_ns; /* CLOCK_MONOTONIC at the start of this process */
	uint64_t random; /* state of the generator */
	pid_t next_pid;	 /* of the next client; 0: as it comes */
};

/* One process's use of one socket. */
struct talk {
	int fd;
	const char *protocol; /* tcp udp icmp icmp6 */
	const char *role;     /* client accepted bound */
	const char *sharing;  /* own moved shared kernel, see README.md */
	struct sockaddr_storage local, remote;
	uint64_t sent, received;   /* payload bytes */
	uint64_t disturbed;	   /* retransmitted segments, lost datagrams */
	int64_t first_ns, last_ns; /* CLOCK_REALTIME */
};

/* ---- talk.c ---- */
int64_t clock_ns(int clock);
void pause_ms(unsigned ms);
/* At the begin of a process that was forked: its own start, its own random numbers. */
void plan_begin(struct plan *plan);
/* 0..below-1 */
uint32_t plan_random(struct plan *plan, uint32_t below);
unsigned plan_life_ms(struct plan *plan);
/* Enters the other namespace if far. 0 or -1. */
int plan_enter(const struct plan *plan, bool far);
/* Where the servers of the kind listen, and from where its clients talk; port 0. */
void plan_server_address(const struct plan *plan, struct sockaddr_storage *out);
void plan_client_address(const struct plan *plan, struct sockaddr_storage *out);
/* Executes the program anew in the part named. Returns only on failure. */
void plan_execute(const struct plan *plan, const char *part);
/* Forks plan->count clients in time, each of which runs client(plan, number,
 * context) and exits with what that returns; waits for all. The number that failed. */
typedef int plan_client(struct plan *plan, unsigned number, const void *context);
unsigned plan_clients(struct plan *plan, plan_client *client, const void *context);
/* Forks one such client and waits for it. Its pid, or -1 if it failed. */
pid_t plan_client_alone(struct plan *plan, plan_client *client, unsigned number,
			const void *context);

/* ---- journal.c ---- */
/* One line, by one write. */
void journal_write(const struct plan *plan, const struct talk *talk);
/* The end of the conversation that no process has: who owns it would be wrong. */
void journal_write_kernel(const struct plan *plan, const struct talk *other_end);
/* Closes the socket of a talk that ended, and writes its line. */
void talk_close(const struct plan *plan, struct talk *talk);

/* ---- net.c ---- */
socklen_t address_length(const struct sockaddr_storage *address);
uint16_t address_port(const struct sockaddr_storage *address);
void address_set_port(struct sockaddr_storage *address, uint16_t port);
/* IPv4 as ::ffff:a.b.c.d and back; others stay. */
void address_map(struct sockaddr_storage *address);
void address_unmap(struct sockaddr_storage *address);
/* A socket with close-on-exec. The ports that the kernel chooses for datagrams of IPv4 and of
 * IPv6 are kept apart: of two sockets with one port number, hand-overs are told by port alone.
 * The descriptor or -1. */
int socket_open(int family, int type);
/* A socket bound to address (port 0: any), which is updated; listening if a
 * stream. With SO_REUSEADDR but for datagrams; reuseport adds that. The
 * descriptor or -1. */
int socket_bound(int type, struct sockaddr_storage *address, bool dual_stack, bool reuseport);
/* A port of the address that nobody has now; 0 on failure. */
uint16_t port_free(int type, const struct sockaddr_storage *address);
/* Gives a descriptor to who has the other end of a UNIX socket. 0 or -1. */
int descriptor_pass(int to, int fd);
/* One that was given, or -1. */
int descriptor_take(int from, int flags);
/* Who is at both ends of a connected socket. 0 or -1. */
int talk_names(struct talk *talk);
/* Whole, and counted. 0 or -1. */
int talk_send(struct talk *talk, size_t length);
int talk_receive(struct talk *talk, size_t length);
/* One request of request bytes and its answer. */
#define WANT_CLOSE 0x80000000u /* flags of what is wanted: the server closes first */
#define WANT_SLOW  0x40000000u /* the server closes long after the client did */
#define WANT_MASK  0x00ffffffu
int talk_exchange(struct talk *talk, size_t request, uint32_t wanted);

/* ---- serve.c, datagram.c ---- */
struct server {
	pid_t pid;
	int stop; /* closing it lets the server end once its connections have */
	struct sockaddr_storage address;
};
/* Forks the server or servers of the kind. 0 or -1. */
int server_start(struct plan *plan, struct server *server);
/* 0, or 1 if it failed. */
int server_stop(struct server *server);
/* The part of an executed child that has its connection as 0, 1 and 2. */
int serve_inetd(struct plan *plan);
/* Receives datagrams on fd and answers until stop is closed. */
void serve_datagrams(struct plan *plan, int fd, int stop);

/* ---- the kinds ---- */
int run_streams(struct plan *plan);
int run_datagrams(struct plan *plan);
int run_datagram_reuse(struct plan *plan);
int run_port_reuse(struct plan *plan);
int run_pid_reuse(struct plan *plan);
int run_refused(struct plan *plan);
int run_datagram_refused(struct plan *plan);
int run_datagram_zero(struct plan *plan);
int run_datagram_pass(struct plan *plan);
int run_datagram_helper(struct plan *plan);
int run_datagram_cast(struct plan *plan);
int run_ping(struct plan *plan);
int run_raw_ping(struct plan *plan);

/* A client of a stream server. */
struct client {
	struct sockaddr_storage server;
	uint16_t local_port; /* 0: the kernel's choice */
	bool reset;	     /* ends by RST */
	bool server_closes;
};
int client_stream(struct plan *plan, const struct client *client, unsigned life_ms);
/* The part of a client that executed the program anew. */
int client_executed(struct plan *plan, const char *words);

#endif
