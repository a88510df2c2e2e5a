/* test_bridge_kept.c - that a verdict may be kept for as long as it says. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/judged.h"

static void random_frame(uint64_t *seed, int64_t ms)
{
	static const char *const kinds[] = {"poll", "poll", "event", "key"};
	static const char *const wheres[] = {
		"udp 0.0.0.0 53 0.0.0.0 0 7",
		"udp " HOST " 53 0.0.0.0 0 7",
		"udp6 :: 53 :: 0 7",
		"udp " HOST " 53 " PEER " 9999 1",
		"tcp " HOST " 80 " PEER " 40000 1",
		"tcp 0.0.0.0 80 0.0.0.0 0 10",
		"raw 0.0.0.0 1 0.0.0.0 0 7",
	};
	const char ops[] = {'+', '+', '-'};

	scene_frame(ms == 0 ? "key" : kinds[scene_random(seed, 4)], ms,
		    ms + 1 + scene_random(seed, 30));
	for (uint32_t n = scene_random(seed, 5); n > 0; n--)
		scene_socket(ops[scene_random(seed, 3)], wheres[scene_random(seed, 7)],
			     scene_random(seed, 4));
	for (uint32_t n = scene_random(seed, 6); n > 0; n--) {
		uint32_t pid = 10 + scene_random(seed, 4);

		scene_holder(ops[scene_random(seed, 3)], 1 + scene_random(seed, 3), pid,
			     TICKS(pid * 20 - 100), 2 + scene_random(seed, 2));
	}
	for (uint32_t n = scene_random(seed, 3); n > 0; n--) {
		uint32_t pid = 10 + scene_random(seed, 4);

		scene_process(ops[scene_random(seed, 3)], pid, TICKS(pid * 20 - 100),
			      scene_random(seed, 2) ? "one" : "two");
	}
}

static void random_subject(uint64_t *seed)
{
	switch (scene_random(seed, 5)) {
	case 0:
		ask_server(UNSEEN);
		break;
	case 1:
		ask_server(UNSEEN);
		subject.began_ns = T(scene_random(seed, 400));
		break;
	case 2:
		ask_host(IPPROTO_ICMP, 1, 0);
		subject.icmp_query = true;
		break;
	case 3:
		ask_udp(53);
		subject.group = true;
		break;
	default:
		ask_udp(53);
	}
}

#define KEPT 24

struct kept {
	struct bridge_verdict v;
	struct bridge_candidate candidates[8];
};

static bool same_verdict(const struct kept *kept)
{
	const struct bridge_verdict *a = &kept->v;

	if (a->rule != v.rule || a->reason != v.reason || a->socket != v.socket ||
	    a->process != v.process || a->image != v.image || a->shared_by != v.shared_by ||
	    a->by_tuple != v.by_tuple || a->candidate_count != v.candidate_count)
		return false;
	for (size_t i = 0; i < a->candidate_count; i++) {
		if (memcmp(&kept->candidates[i], &v.candidates[i], sizeof(v.candidates[i])) != 0)
			return false;
	}
	return true;
}

static int64_t random_time(uint64_t *seed)
{
	int64_t t = T(-20) + (int64_t)scene_random(seed, 560) * 1000000;
	uint32_t frame = scene_random(seed, (uint32_t)tl.count.frames);

	switch (scene_random(seed, 4)) { /* just at what may be an edge */
	case 0:
		return tl.frames[frame].end_ns - 1 + scene_random(seed, 3);
	case 1:
		return tl.frames[frame].begin_ns - 1 + scene_random(seed, 3);
	default:
		return t;
	}
}

static unsigned within; /* verdicts that hold at the time that was asked for */

static unsigned check_windows(uint64_t *seed)
{
	static struct kept kept[KEPT];
	unsigned hits = 0;

	random_subject(seed);
	for (size_t n = 0; n < KEPT; n++) {
		int64_t t = random_time(seed);

		judge(t);
		for (size_t k = 0; k < n; k++) {
			if (t < kept[k].v.from_ns || t >= kept[k].v.until_ns)
				continue;
			hits++;
			if (!same_verdict(&kept[k]))
				fail_msg("at %lld: %s %s, but kept from %lld: %s %s", (long long)t,
					 bridge_rule_name(v.rule), bridge_reason_name(v.reason),
					 (long long)kept[k].v.from_ns,
					 bridge_rule_name(kept[k].v.rule),
					 bridge_reason_name(kept[k].v.reason));
		}
		within += v.from_ns <= t && t < v.until_ns;
		assert_true(bridge_distance(&bridge, &v, t) >= 0);
		assert_in_range(v.candidate_count, 0, 8);
		kept[n].v = v;
		if (v.candidate_count > 0)
			memcpy(kept[n].candidates, v.candidates,
			       v.candidate_count * sizeof(*v.candidates));
	}
	return hits;
}

static void judge_many(unsigned *judged, unsigned *hits)
{
	uint64_t seed = 20261121;

	*judged = *hits = within = 0;
	for (int round = 0; round < 400; round++) {
		scene_begin();
		for (int64_t ms = 0; ms < 500; ms += 40 + scene_random(&seed, 40))
			random_frame(&seed, ms);
		settle();
		for (int n = 0; n < 6; n++) {
			*hits += check_windows(&seed);
			*judged += KEPT;
		}
		judged_end(NULL);
	}
}

static void a_verdict_holds_as_long_as_it_says(void **state)
{
	unsigned judged, hits;

	(void)state;
	judge_many(&judged, &hits);
	assert_true(judged >= 20000);
	assert_true(hits > judged);
}

/* Else it is never kept, and each packet is judged anew. */
static void a_verdict_holds_when_it_was_asked_for(void **state)
{
	unsigned judged, hits;

	(void)state;
	judge_many(&judged, &hits);
	assert_int_equal(within, judged);
}

#define EMPTY(test) cmocka_unit_test_setup_teardown(test, judged_begin_empty, judged_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EMPTY(a_verdict_holds_as_long_as_it_says),
		EMPTY(a_verdict_holds_when_it_was_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
