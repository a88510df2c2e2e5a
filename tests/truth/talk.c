/*
 * talk KIND: plays one kind of conversation and writes down the truth. For
 * tests/truth/harness; README.md there says what each kind is.
 */
#include "tests/truth/talk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000

static const struct kind kinds[] = {
	{"tcp4", .run = run_streams, .family = AF_INET},
	{"tcp6", .run = run_streams, .family = AF_INET6},
	{"mapped", .run = run_streams, .family = AF_INET, .dual_stack = true,
	 .client = CLIENT_MAPPED},
	{"exec", .run = run_streams, .family = AF_INET, .client = CLIENT_EXEC},
	{"threads", .run = run_streams, .family = AF_INET, .client = CLIENT_THREADS},
	{"leader", .run = run_streams, .family = AF_INET, .client = CLIENT_LEADER},
	{"leak", .run = run_streams, .family = AF_INET, .client = CLIENT_LEAK},
	{"shared", .run = run_streams, .family = AF_INET6, .client = CLIENT_SHARED},
	{"atonce", .run = run_streams, .family = AF_INET, .client = CLIENT_AT_ONCE},
	{"prefork", .run = run_streams, .family = AF_INET, .server = SERVER_PREFORK},
	{"reuseport", .run = run_streams, .family = AF_INET, .server = SERVER_REUSEPORT},
	{"forking", .run = run_streams, .family = AF_INET6, .server = SERVER_FORKING,
	 .server_speaks_first = true},
	{"inetd", .run = run_streams, .family = AF_INET, .server = SERVER_INETD,
	 .server_speaks_first = true},
	{"pass", .run = run_streams, .family = AF_INET, .server = SERVER_PASS},
	{"tofar4", .run = run_streams, .family = AF_INET, .cable = true, .server_far = true},
	{"tofar6", .run = run_streams, .family = AF_INET6, .cable = true, .server_far = true},
	{"fromfar4", .run = run_streams, .family = AF_INET, .cable = true, .client_far = true},
	{"portreuse", .run = run_port_reuse, .family = AF_INET},
	{"pidreuse", .run = run_pid_reuse, .family = AF_INET},
	{"refused", .run = run_refused, .family = AF_INET},
	{"udp4", .run = run_datagrams, .family = AF_INET, .connected = true},
	{"udp6", .run = run_datagrams, .family = AF_INET6, .connected = true},
	{"udp4loose", .run = run_datagrams, .family = AF_INET},
	{"udp6loose", .run = run_datagrams, .family = AF_INET6},
	{"udpmapped", .run = run_datagrams, .family = AF_INET, .dual_stack = true,
	 .connected = true},
	{"udpfar", .run = run_datagrams, .family = AF_INET, .connected = true, .cable = true,
	 .server_far = true},
	{"udpworkers", .run = run_datagrams, .family = AF_INET, .connected = true,
	 .server = SERVER_PREFORK},
	{"udpgroup", .run = run_datagrams, .family = AF_INET, .connected = true,
	 .server = SERVER_REUSEPORT},
	{"udpreuse", .run = run_datagram_reuse, .family = AF_INET, .connected = true},
	{"udprefused", .run = run_datagram_refused, .family = AF_INET, .connected = true},
	{"udpzero4", .run = run_datagram_zero, .family = AF_INET},
	{"udpzero6", .run = run_datagram_zero, .family = AF_INET6},
	{"udppass", .run = run_datagram_pass, .family = AF_INET, .connected = true},
	{"udphelper", .run = run_datagram_helper, .family = AF_INET, .cable = true},
	{"udpcast", .run = run_datagram_cast, .family = AF_INET},
	{"ping4", .run = run_ping, .family = AF_INET, .cable = true, .client_far = true},
	{"ping6", .run = run_ping, .family = AF_INET6, .cable = true, .client_far = true},
	{"rawping", .run = run_raw_ping, .family = AF_INET, .cable = true, .server_far = true},
};

static const char help[] =
	"Usage: talk KIND --journal FILE [options]\n"
	"Play one kind of conversation and write down what really happened.\n\n"
	"  --journal FILE   lines are appended to it\n"
	"  --count N        clients; default 20\n"
	"  --rate N         clients started a second; default 0, as fast as can be\n"
	"  --life MIX       MS:WEIGHT,... lives of clients; default 0:1\n"
	"  --netns PATH     the other network namespace\n"
	"  --near ADDRESS   this end of the cable to it; once for IPv4, once for IPv6\n"
	"  --far ADDRESS    the other end\n"
	"  --list           name the kinds\n"
	"  --help           print this\n";

int64_t clock_ns(int clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * SECOND_NS + now.tv_nsec;
}

void pause_ms(unsigned ms)
{
	struct timespec span = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	while (nanosleep(&span, &span) != 0 && errno == EINTR)
		;
}

/* ---------------------------------------------------------------- plan -- */

void plan_begin(struct plan *plan)
{
	plan->born_ns = clock_ns(CLOCK_MONOTONIC);
	plan->random = (uint64_t)plan->born_ns ^ ((uint64_t)getpid() << 32);
}

uint32_t plan_random(struct plan *plan, uint32_t below)
{
	uint64_t x;

	/* splitmix64 */
	plan->random += UINT64_C(0x9e3779b97f4a7c15);
	x = plan->random;
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((x ^ (x >> 31)) % below);
}

unsigned plan_life_ms(struct plan *plan)
{
	uint32_t sum = 0, at;

	for (size_t i = 0; i < plan->life_count; i++)
		sum += plan->lives[i].weight;
	at = plan_random(plan, sum);
	for (size_t i = 0; i < plan->life_count; i++) {
		if (at < plan->lives[i].weight)
			return plan->lives[i].life_ms;
		at -= plan->lives[i].weight;
	}
	return 0;
}

int plan_enter(const struct plan *plan, bool far)
{
	int fd, status;

	if (!far)
		return 0;
	fd = open(plan->netns, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	status = setns(fd, CLONE_NEWNET);
	close(fd);
	return status;
}

static void plan_address(const struct plan *plan, bool far, struct sockaddr_storage *out)
{
	bool ipv6 = plan->kind->family == AF_INET6;
	struct sockaddr_in *in = (void *)out;
	struct sockaddr_in6 *in6 = (void *)out;

	memset(out, 0, sizeof(*out));
	if (plan->kind->cable) {
		*out = far ? plan->far[ipv6] : plan->near[ipv6];
	} else if (ipv6) {
		*in6 = (struct sockaddr_in6){.sin6_family = AF_INET6,
					     .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	} else {
		in->sin_family = AF_INET;
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	}
}

void plan_server_address(const struct plan *plan, struct sockaddr_storage *out)
{
	plan_address(plan, plan->kind->server_far, out);
}

void plan_client_address(const struct plan *plan, struct sockaddr_storage *out)
{
	plan_address(plan, plan->kind->client_far, out);
}

void plan_execute(const struct plan *plan, const char *part)
{
	char **argv = calloc((size_t)plan->argc + 3, sizeof(*argv)), option[] = "--part";
	char *copy = strdup(part);

	if (argv != NULL && copy != NULL) {
		memcpy(argv, plan->argv, (size_t)plan->argc * sizeof(*argv));
		argv[plan->argc] = option;
		argv[plan->argc + 1] = copy;
		execv("/proc/self/exe", argv);
	}
	free(copy);
	free(argv);
}

/* As fork(2). The pid is taken from nobody else's numbers, as writing to
 * ns_last_pid would. */
static pid_t fork_as(pid_t pid)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&pid, .set_tid_size = 1};

	return pid == 0 ? fork() : (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

static pid_t fork_client(struct plan *plan, plan_client *client, unsigned number,
			 const void *context)
{
	pid_t pid = fork_as(plan->next_pid);

	if (pid == 0) {
		plan_begin(plan);
		_exit(client(plan, number, context));
	}
	return pid;
}

static unsigned reap(unsigned *alive)
{
	int status = 0;

	if (wait(&status) < 0) {
		*alive = 0;
		return 1;
	}
	--*alive;
	return status != 0;
}

unsigned plan_clients(struct plan *plan, plan_client *client, const void *context)
{
	int64_t begin_ns = clock_ns(CLOCK_MONOTONIC), due_ns, now_ns;
	unsigned alive = 1, failed = 0; /* the server is a child too, and outlives the clients */

	for (unsigned i = 0; i < plan->count; i++) {
		due_ns = plan->rate ? begin_ns + (int64_t)i * SECOND_NS / plan->rate : begin_ns;
		now_ns = clock_ns(CLOCK_MONOTONIC);
		if (due_ns > now_ns)
			pause_ms((unsigned)((due_ns - now_ns) / 1000000));
		while (alive > PLAN_AT_ONCE)
			failed += reap(&alive);
		if (fork_client(plan, client, i, context) > 0)
			alive++;
		else
			failed++;
	}
	while (alive > 1)
		failed += reap(&alive);
	return failed;
}

pid_t plan_client_alone(struct plan *plan, plan_client *client, unsigned number,
			const void *context)
{
	pid_t pid = fork_client(plan, client, number, context);
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		return -1;
	return pid;
}

/* -------------------------------------------------------- command line -- */

static int parse_number(const char *text, unsigned *out)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (end == text || *end != '\0' || value > 1000000000)
		return -1;
	*out = (unsigned)value;
	return 0;
}

static int parse_lives(struct plan *plan, const char *text)
{
	unsigned long life, weight;
	unsigned sum = 0;
	char *end;

	plan->life_count = 0;
	do {
		life = strtoul(text, &end, 10);
		if (end == text || *end != ':' || plan->life_count == PLAN_LIVES_MAX)
			return -1;
		text = end + 1;
		weight = strtoul(text, &end, 10);
		if (end == text || life > 3600000 || weight > 1000000)
			return -1;
		plan->lives[plan->life_count].life_ms = (unsigned)life;
		plan->lives[plan->life_count++].weight = (unsigned)weight;
		sum += (unsigned)weight;
		text = end + 1;
	} while (*end == ',');
	return *end == '\0' && sum > 0 ? 0 : -1;
}

static int parse_address(const char *text, struct sockaddr_storage out[2])
{
	struct sockaddr_in *in = (void *)&out[0];
	struct sockaddr_in6 *in6 = (void *)&out[1];

	if (inet_pton(AF_INET, text, &in->sin_addr) == 1)
		in->sin_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1)
		in6->sin6_family = AF_INET6;
	else
		return -1;
	return 0;
}

static int list_kinds(void)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		puts(kinds[i].name);
	exit(0);
}

static int parse_option(struct plan *plan, int option, const char **part)
{
	switch (option) {
	case 'j':
		plan->journal = open(optarg, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		return plan->journal < 0 ? -1 : 0;
	case 'c':
		return parse_number(optarg, &plan->count);
	case 'r':
		return parse_number(optarg, &plan->rate);
	case 'l':
		return parse_lives(plan, optarg);
	case 'n':
		plan->netns = optarg;
		return 0;
	case 'N':
		return parse_address(optarg, plan->near);
	case 'F':
		return parse_address(optarg, plan->far);
	case 'p':
		*part = optarg;
		return 0;
	case 'L':
		return list_kinds();
	case 'h':
		fputs(help, stdout);
		exit(0);
	default:
		return -1;
	}
}

static int parse(int argc, char **argv, struct plan *plan, const char **part)
{
	static const struct option options[] = {
		{"journal", required_argument, NULL, 'j'},
		{"count", required_argument, NULL, 'c'},
		{"rate", required_argument, NULL, 'r'},
		{"life", required_argument, NULL, 'l'},
		{"netns", required_argument, NULL, 'n'},
		{"near", required_argument, NULL, 'N'},
		{"far", required_argument, NULL, 'F'},
		{"part", required_argument, NULL, 'p'},
		{"list", no_argument, NULL, 'L'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (parse_option(plan, option, part) != 0)
			return -1;
	}
	if (optind != argc - 1 || plan->journal < 0)
		return -1;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (strcmp(kinds[i].name, argv[optind]) == 0)
			plan->kind = &kinds[i];
	}
	return plan->kind == NULL ? -1 : 0;
}

/* Executed anew, the process is in its namespace already. */
static int play_part(struct plan *plan, const char *part)
{
	if (strcmp(part, "inetd") == 0)
		return serve_inetd(plan);
	return client_executed(plan, part);
}

/* Whether there is a cable for a kind that needs one. */
static bool can_play(const struct plan *plan)
{
	bool ipv6 = plan->kind->family == AF_INET6;

	return !plan->kind->cable || (plan->netns != NULL && plan->near[ipv6].ss_family != 0 &&
				      plan->far[ipv6].ss_family != 0);
}

int main(int argc, char **argv)
{
	struct plan plan = {
		.count = 20, .lives = {{0, 1}}, .life_count = 1, .journal = -1, .argc = argc};
	struct rlimit files;
	const char *part = NULL;
	int status = TALK_CANNOT;

	plan_begin(&plan);
	/* getopt_long reorders argv; what is executed anew wants it as it was. */
	plan.argv = calloc((size_t)argc + 1, sizeof(*plan.argv));
	if (plan.argv == NULL)
		return 1;
	memcpy(plan.argv, argv, (size_t)argc * sizeof(*argv));
	if (parse(argc, argv, &plan, &part) != 0) {
		fprintf(stderr, "talk: wrong arguments; see talk --help\n");
		status = 64;
		goto out;
	}
	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	if (part != NULL)
		status = play_part(&plan, part);
	else if (can_play(&plan))
		status = plan.kind->run(&plan);
out:
	free(plan.argv);
	return status;
}
