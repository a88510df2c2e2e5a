/* test_community.c - Community ID v1 against published values, both directions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyze/community.h"
#include "snapshot/format/endpoint.h"

static const char *id_of(uint8_t protocol, const char *from, uint16_t from_port, const char *to,
			 uint16_t to_port)
{
	static char id[COMMUNITY_ID_SIZE];
	struct endpoint source = {.port = from_port}, destination = {.port = to_port};
	struct flow_key key;
	uint8_t side;

	assert_int_equal(endpoint_parse(from, &source.address), 0);
	assert_int_equal(endpoint_parse(to, &destination.address), 0);
	side = flow_key_make(protocol, endpoint_is_ipv4(&source.address) ? 4 : 6, &source,
			     &destination, &key);
	return community_id(&key, side, id);
}

static void both_ways(uint8_t protocol, const char *from, uint16_t from_port, const char *to,
		      uint16_t to_port, const char *id)
{
	assert_string_equal(id_of(protocol, from, from_port, to, to_port), id);
	assert_string_equal(id_of(protocol, to, to_port, from, from_port), id);
}

static void with_ports(void **state)
{
	(void)state;
	both_ways(6, "1.2.3.4", 1122, "5.6.7.8", 3344, "1:wCb3OG7yAFWelaUydu0D+125CLM=");
	both_ways(17, "1.2.3.4", 1122, "5.6.7.8", 3344, "1:0Mu9InQx6z4ZiCZM/7HXi2WMhOg=");
	both_ways(132, "1.2.3.4", 1122, "5.6.7.8", 3344, "1:EKt4MsxuyaE6mL+hmrEkQ9csDD8=");
	both_ways(6, "2001:470:e5bf:dead:4957:2174:e82c:4887", 63943, "2607:f8b0:400c:c03::1a", 25,
		  "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=");
}

static void equal_addresses_compare_ports_as_numbers(void **state)
{
	(void)state;
	both_ways(6, "127.0.0.1", 33494, "127.0.0.1", 38583, "1:yEg8pn3jKo8DZ+bMAPfpLWsfOZg=");
}

static void icmp_with_an_answer_has_one_id(void **state)
{
	(void)state;
	both_ways(1, "1.2.3.4", 8, "5.6.7.8", 0, "1:crodRHL2FEsHjbv3UkRrfbs4bZ0=");
}

static void icmp_of_one_way_is_never_swapped(void **state)
{
	(void)state;
	assert_string_equal(id_of(1, "1.2.3.4", 11, "5.6.7.8", 0),
			    "1:f/YiSyWqczrTgfUCZlBUnvHRcPk=");
	assert_string_not_equal(id_of(1, "5.6.7.8", 11, "1.2.3.4", 0),
				"1:f/YiSyWqczrTgfUCZlBUnvHRcPk=");
}

static void protocols_without_ports_hash_none(void **state)
{
	char first[COMMUNITY_ID_SIZE];

	(void)state;
	for (int i = 0; i < COMMUNITY_ID_SIZE; i++)
		first[i] = id_of(47, "1.2.3.4", 0, "5.6.7.8", 0)[i];
	assert_string_equal(id_of(47, "1.2.3.4", 1, "5.6.7.8", 2), first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_ports),
		cmocka_unit_test(equal_addresses_compare_ports_as_numbers),
		cmocka_unit_test(icmp_with_an_answer_has_one_id),
		cmocka_unit_test(icmp_of_one_way_is_never_swapped),
		cmocka_unit_test(protocols_without_ports_hash_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
