/* judged.c - a scene, the question who owns an end of it, and what the answer must be. */
#include "tests/unit/judged.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct timeline tl;
struct bridge bridge;
static struct serving serving;
struct bridge_subject subject;
struct bridge_verdict v;

int judged_begin_empty(void **state)
{
	(void)state;
	scene_begin();
	return 0;
}

int judged_begin(void **state)
{
	judged_begin_empty(state);
	scene_frame("key", 0, 1);
	scene_address('+', 1, "127.0.0.1", 8);
	scene_address('+', 1, HOST, 24);
	return 0;
}

int judged_end(void **state)
{
	(void)state;
	bridge_release(&bridge);
	serving_release(&serving);
	timeline_release(&tl);
	scene_free();
	return 0;
}

void hold(uint32_t inode, uint32_t pid, const char *name)
{
	scene_process('+', pid, OLD, name);
	scene_holder('+', inode, pid, OLD, 5);
}

void look_up(const char *row)
{
	scene_process('+', 10, OLD, "first");
	scene_process('+', 11, OLD, "second");
	scene_frame("event", 500, 510);
	scene_socket('!', row, 501);
	scene_holder('!', 501, 10, OLD, 5);
}

void settle_torn(void)
{
	scene_read_whole(&tl);
	scene_join(&tl, &serving, &bridge);
}

void settle_at(int64_t ms)
{
	scene_frame("poll", ms, ms + 1);
	settle_torn();
}

void settle(void)
{
	settle_at(3600000);
}

void ask(uint8_t protocol, const char *local, uint16_t local_port, const char *remote,
	 uint16_t remote_port)
{
	subject = (struct bridge_subject){.protocol = protocol, .began_ns = UNSEEN};
	assert_int_equal(endpoint_parse(local, &subject.local.address), 0);
	assert_int_equal(endpoint_parse(remote, &subject.remote.address), 0);
	subject.local.port = local_port;
	subject.remote.port = remote_port;
	subject.ip_version = endpoint_is_ipv4(&subject.local.address) ? 4 : 6;
}

void ask_host(uint8_t protocol, uint16_t local_port, uint16_t remote_port)
{
	ask(protocol, HOST, local_port, PEER, remote_port);
}

void ask_client(int64_t began_ms)
{
	ask_host(IPPROTO_TCP, 40000, 80);
	if (began_ms != UNSEEN)
		subject.began_ns = T(began_ms);
}

void ask_server(int64_t began_ms)
{
	ask_host(IPPROTO_TCP, 80, 40000);
	if (began_ms != UNSEEN)
		subject.began_ns = T(began_ms);
	subject.responder = true;
}

void ask_udp(uint16_t local_port)
{
	ask_host(IPPROTO_UDP, local_port, 9999);
}

void judge(int64_t t_ns)
{
	asked_judge(&bridge, &subject, t_ns, &v);
	assert_false(bridge.failed);
	assert_true(v.from_ns <= t_ns && t_ns < v.until_ns);
	assert_true(v.reason == BRIDGE_OWNED
			    ? v.process != TIMELINE_NONE && v.rule < BRIDGE_RULES
			    : (v.lapsed || v.process == TIMELINE_NONE) && v.rule == BRIDGE_NO_RULE);
}

void assert_owner(int64_t ms, enum bridge_rule rule, uint32_t pid)
{
	judge(T(ms));
	if (v.reason != BRIDGE_OWNED)
		fail_msg("at %lld ms: %s", (long long)ms, bridge_reason_name(v.reason));
	assert_string_equal(bridge_rule_name(v.rule), bridge_rule_name(rule));
	assert_int_equal(tl.processes[v.process].pid, pid);
	assert_int_equal(v.candidate_count, 0);
}

void assert_sender(int64_t ms, enum bridge_rule rule, uint32_t pid)
{
	subject.sent = true;
	assert_owner(ms, rule, pid);
}

void assert_receiver(int64_t ms, enum bridge_rule rule, uint32_t pid)
{
	subject.sent = false;
	assert_owner(ms, rule, pid);
}

static void judge_unowned(int64_t ms)
{
	judge(T(ms));
	if (v.reason == BRIDGE_OWNED)
		fail_msg("at %lld ms: pid %u by %s", (long long)ms, tl.processes[v.process].pid,
			 bridge_rule_name(v.rule));
}

void assert_nobody(int64_t ms, enum bridge_reason reason)
{
	judge_unowned(ms);
	assert_string_equal(bridge_reason_name(v.reason), bridge_reason_name(reason));
}

void assert_nobody_sends(int64_t ms)
{
	subject.sent = true;
	judge_unowned(ms);
}

void assert_nobody_receives(int64_t ms)
{
	subject.sent = false;
	judge_unowned(ms);
}

void assert_candidates(uint32_t a, uint32_t b)
{
	assert_int_equal(v.candidate_count, 2);
	assert_int_equal(v.shared_by, 2);
	assert_int_equal(tl.processes[v.candidates[0].process].pid, a);
	assert_int_equal(tl.processes[v.candidates[1].process].pid, b);
}
