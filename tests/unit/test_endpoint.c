#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "snapshot/format/endpoint.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct endpoint_address parsed(const char *text)
{
	struct endpoint_address address;

	if (endpoint_parse(text, &address) != 0)
		fail_msg("no address: \"%s\"", text);
	return address;
}

static void ipv4_is_held_mapped(void **state)
{
	static const uint8_t quad[4] = {192, 0, 2, 1};
	static const uint8_t whole[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1};
	struct endpoint_address a = endpoint_from_ipv4(quad), b = parsed("192.0.2.1"),
				c = parsed("::ffff:192.0.2.1"), d = parsed("::ffff:c000:201"),
				e = endpoint_from_ipv6(whole);

	(void)state;
	assert_memory_equal(a.bytes, whole, 16);
	assert_true(endpoint_equal(&a, &b) && endpoint_equal(&a, &c));
	assert_true(endpoint_equal(&a, &d) && endpoint_equal(&a, &e));
	assert_true(endpoint_is_ipv4(&a));
}

static void text_comes_back_canonical(void **state)
{
	static const char *const cases[][2] = {
		{"0.0.0.0", "0.0.0.0"},
		{"255.255.255.255", "255.255.255.255"},
		{"10.20.130.4", "10.20.130.4"},
		{"::", "::"},
		{"::1", "::1"},
		{"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
		{"fe80::1:0:0:1", "fe80::1:0:0:1"},
		{"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
		{"::ffff:1.2.3.4", "1.2.3.4"},
		{"::ffff:0.0.0.0", "0.0.0.0"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct endpoint_address address = parsed(cases[i][0]);
		char text[ENDPOINT_TEXT_SIZE];
		assert_string_equal(endpoint_format(&address, text), cases[i][1]);
	}
}

static void every_octet_prints_and_parses(void **state)
{
	(void)state;
	for (unsigned int octet = 0; octet < 256; octet++) {
		char wanted[ENDPOINT_TEXT_SIZE], text[ENDPOINT_TEXT_SIZE];

		snprintf(wanted, sizeof(wanted), "%u.0.%u.9", octet, 255 - octet);
		struct endpoint_address address = parsed(wanted);
		assert_int_equal(address.bytes[12], octet);
		assert_string_equal(endpoint_format(&address, text), wanted);
	}
}

static void what_is_no_address_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"1",
		"1.2.3",
		"1.2.3.4.5",
		"1.2.3.256",
		"1.2.3.01",
		"01.2.3.4",
		"1.2.3.",
		".1.2.3.4",
		"1..2.3",
		"1.2.3.4 ",
		" 1.2.3.4",
		"1.2.3.-4",
		"1.2.3.1000",
		":",
		":::",
		"1:2:3:4:5:6:7",
		"1:2:3:4:5:6:7:8:9",
		"::1::",
		"fe80::1%eth0",
		"g::1",
		"::ffff:1.2.3",
		"::ffff:1.2.3.4x",
		"12345::",
		"localhost",
	};
	struct endpoint_address address, before;

	(void)state;
	memset(&address, 0x5a, sizeof(address));
	before = address;
	for (size_t i = 0; i < COUNT(bad); i++) {
		if (endpoint_parse(bad[i], &address) != -1)
			fail_msg("taken as an address: \"%s\"", bad[i]);
		assert_true(endpoint_equal(&address, &before));
	}
}

static void text_without_its_nul_ends_where_it_is_told(void **state)
{
	struct endpoint_address address, wanted = parsed("10.0.0.1");

	(void)state;
	assert_int_equal(endpoint_parse_bytes("10.0.0.12", 8, &address), 0);
	assert_true(endpoint_equal(&address, &wanted));
	assert_int_equal(endpoint_parse_bytes("10.0.0.1\0", 9, &address), -1);
	assert_int_equal(endpoint_parse_bytes("::1\0:", 5, &address), -1);
	assert_int_equal(endpoint_parse_bytes("", 0, &address), -1);
}

static void kinds_of_addresses(void **state)
{
	static const struct {
		const char *text;
		const char *kinds; /* any, loopback, multicast, broadcast, four (IPv4) */
	} cases[] = {
		{"0.0.0.0", "a4"},
		{"::", "a"},
		{"127.0.0.1", "l4"},
		{"127.255.0.9", "l4"},
		{"::1", "l"},
		{"::2", ""},
		{"224.0.0.251", "m4"},
		{"239.255.255.250", "m4"},
		{"240.0.0.1", "4"},
		{"223.255.255.255", "4"},
		{"ff02::fb", "m"},
		{"fe80::1", ""},
		{"255.255.255.255", "b4"},
		{"10.0.0.255", "4"},
		{"2001:db8::1", ""},
		{"126.0.0.1", "4"},
		{"::ffff:127.0.0.1", "l4"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct endpoint_address address = parsed(cases[i].text);
		const char *kinds = cases[i].kinds;
		bool same = endpoint_is_any(&address) == !!strchr(kinds, 'a') &&
			    endpoint_is_loopback(&address) == !!strchr(kinds, 'l') &&
			    endpoint_is_multicast(&address) == !!strchr(kinds, 'm') &&
			    endpoint_is_broadcast(&address) == !!strchr(kinds, 'b') &&
			    endpoint_is_ipv4(&address) == !!strchr(kinds, '4');
		if (!same)
			fail_msg("%s is not of kinds \"%s\"", cases[i].text, kinds);
	}
}

static void protocols_have_names_or_numbers(void **state)
{
	char buffer[ENDPOINT_PROTOCOL_SIZE];

	(void)state;
	assert_string_equal(endpoint_protocol_name(6, buffer), "tcp");
	assert_string_equal(endpoint_protocol_name(17, buffer), "udp");
	assert_string_equal(endpoint_protocol_name(1, buffer), "icmp");
	assert_string_equal(endpoint_protocol_name(58, buffer), "icmp6");
	assert_string_equal(endpoint_protocol_name(132, buffer), "sctp");
	assert_string_equal(endpoint_protocol_name(136, buffer), "udplite");
	assert_string_equal(endpoint_protocol_name(47, buffer), "47");
	assert_string_equal(endpoint_protocol_name(255, buffer), "255");
	assert_string_equal(endpoint_protocol_name(0, buffer), "0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ipv4_is_held_mapped),
		cmocka_unit_test(text_comes_back_canonical),
		cmocka_unit_test(every_octet_prints_and_parses),
		cmocka_unit_test(what_is_no_address_is_refused),
		cmocka_unit_test(text_without_its_nul_ends_where_it_is_told),
		cmocka_unit_test(kinds_of_addresses),
		cmocka_unit_test(protocols_have_names_or_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
