/* test_decode_cut.c - frames cut and bent: bounds hold, and nothing is invented. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/frames.h"

/* Cut anywhere, a packet is truncated, or it is what it was: never something else. */
static void truncation_changes_nothing_else(void **state)
{
	struct packet full, p;
	uint32_t i, cut, limit;
	bool found;

	(void)state;
	for (i = 0; i < frame_sample_count; i++) {
		frame_samples[i].make();
		full = frame_decode();
		found = false;
		limit = frame.length < 400 ? frame.length : 400;
		for (cut = 0; cut <= limit; cut++) {
			p = frame_decode_cut(cut, frame.length);
			if (p.outcome == DECODE_TRUNCATED && !found)
				continue;
			found = true;
			assert_int_equal(p.outcome, full.outcome);
			assert_int_equal(p.ip_bytes, full.ip_bytes);
			assert_int_equal(p.payload_bytes, full.payload_bytes);
			assert_int_equal(p.protocol, full.protocol);
			assert_memory_equal(&p.source, &full.source, sizeof(p.source));
			assert_memory_equal(&p.destination, &full.destination, sizeof(p.source));
			assert_int_equal(p.tcp_flags, full.tcp_flags);
			assert_int_equal(p.tcp_seq, full.tcp_seq);
			assert_int_equal(p.icmp_type, full.icmp_type);
			assert_int_equal(p.icmp_id, full.icmp_id);
			assert_int_equal(p.fragment_id, full.fragment_id);
			if (p.quoted.present)
				assert_memory_equal(&p.quoted, &full.quoted, sizeof(p.quoted));
		}
		assert_true(found);
	}
}

static void a_short_frame_is_not_a_snapped_one(void **state)
{
	struct packet p;
	uint32_t i, cut;

	(void)state;
	for (i = 0; i < frame_sample_count; i++) {
		frame_samples[i].make();
		for (cut = 0; cut < frame.length && cut < 400; cut++) {
			p = frame_decode_cut(cut, cut);
			assert_int_not_equal(p.outcome, DECODE_TRUNCATED);
			assert_true(p.ip_bytes <= cut);
		}
	}
	p = frame_decode_cut(0, 0);
	frame_assert_outcome(&p, "malformed");
}

static void flipped_bits_keep_the_bounds(void **state)
{
	struct packet p;
	uint32_t i, bit;

	(void)state;
	for (i = 0; i < frame_sample_count; i++) {
		frame_samples[i].make();
		for (bit = 0; bit < frame.length * 8 && bit < 200 * 8; bit++) {
			frame.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
			p = frame_decode();
			assert_true(p.outcome < DECODE_OUTCOME_END);
			assert_true(p.ip_bytes <= frame.length);
			assert_true(p.payload_bytes <= p.ip_bytes);
			assert_false(p.fragment_first && p.fragment_later);
			frame.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
	}
}

static void every_field_is_set(void **state)
{
	const size_t kept = offsetof(struct packet, outcome);
	struct packet a, b;
	uint32_t i, cut;

	(void)state;
	for (i = 0; i < frame_sample_count; i++) {
		frame_samples[i].make();
		for (cut = 0; cut <= frame.length && cut < 200; cut++) {
			a = frame_decode_poisoned(cut, frame.length, 0x00);
			b = frame_decode_poisoned(cut, frame.length, 0xff);
			/* It points into each one's own bytes. */
			assert_int_equal(a.ip == NULL, b.ip == NULL);
			a.ip = b.ip = NULL;
			assert_memory_equal((char *)&a + kept, (char *)&b + kept, sizeof(a) - kept);
		}
	}
	assert_int_equal(b.number, UINT64_MAX); /* the caller's own */
	assert_int_equal(b.time_ns, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(truncation_changes_nothing_else),
		cmocka_unit_test(a_short_frame_is_not_a_snapped_one),
		cmocka_unit_test(flipped_bits_keep_the_bounds),
		cmocka_unit_test(every_field_is_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
