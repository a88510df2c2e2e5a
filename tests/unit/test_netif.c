/* Interfaces and addresses of a namespace, and what the mount table says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/mounts.h"
#include "snapshot/netif.h"
#include "tests/unit/proctree.h"

static struct proctree tree;

static int set_up(void **state)
{
	(void)state;
	proctree_new(&tree);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	proctree_free(&tree);
	return 0;
}

static void test_mounts_of_namespaces_and_hidepid(void **state)
{
	static const char text[] =
		"22 27 0:21 / /proc rw,relatime - proc proc rw,hidepid=invisible\n"
		"23 27 0:22 / /elsewhere rw shared:5 master:1 - proc proc rw\n"
		"130 25 0:4 net:[4026532281] /run/netns/a\\040b rw shared:9 - nsfs nsfs rw\n"
		"131 25 0:4 mnt:[4026532282] /run/mnt/x rw - nsfs nsfs rw\n"
		"garbage\n\n"
		"132 25 0:4 net:[4026532283] /run/netns/c rw - nsfs nsfs rw\n"
		"133 25 0:4 net:[4026532284] /run/netns/cu";
	struct mounts mounts = {0};

	(void)state;
	assert_int_equal(mounts_parse(text, sizeof(text) - 1, 21, &mounts), 0);
	assert_true(mounts.hidepid);
	assert_int_equal(mounts.count, 2);
	assert_int_equal(mounts.items[0].netns, 4026532281u);
	assert_string_equal(mounts.items[0].path, "/run/netns/a b");
	assert_int_equal(mounts.items[1].netns, 4026532283u);
	assert_int_equal(mounts_parse(text, sizeof(text) - 1, 22, &mounts), 0);
	assert_false(mounts.hidepid);
	mounts_release(&mounts);
}

static void test_addresses_of_another_namespace(void **state)
{
	uint8_t probe[4] = {10, 5, 1, 9}, mask_bytes[4] = {255, 255, 255, 0};
	struct procfs_text scratch = {0};
	struct netif_list list = {0};
	char route[400], text[ENDPOINT_TEXT_SIZE];
	uint32_t network, mask, wide;
	int net;

	(void)state;
	memcpy(&mask, mask_bytes, 4);
	mask_bytes[1] = mask_bytes[2] = 0; /* 10.0.0.0/8 is there too, by another interface */
	memcpy(&wide, mask_bytes, 4);
	probe[3] = 0;
	memcpy(&network, probe, 4);
	snprintf(route, sizeof(route),
		 "Iface\tDestination\tGateway "
		 "\tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
		 "eth0\t00000000\t%08X\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
		 "dummy0\t%08X\t00000000\t0001\t0\t0\t0\t%08X\t0\t0\t0\n"
		 "eth0\t%08X\t00000000\t0001\t0\t0\t0\t%08X\t0\t0\t0\n",
		 network | 1, wide & network, wide, network, mask);
	proctree_file(&tree, "net/route", route);
	proctree_file(&tree, "net/fib_trie",
		      "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.5.1.0\n        /24 link UNICAST\n"
		      "Local:\n     |-- 10.5.1.9\n        /32 host LOCAL\n"
		      "     |-- 10.5.1.255\n        /32 link BROADCAST\n"
		      "     |-- 127.0.0.0\n        /8 host LOCAL\n"
		      "     |-- 127.0.0.1\n        /32 host LOCAL\n"
		      "     |-- 192.0.2.7\n        /32 host LOCAL\n");
	proctree_file(&tree, "net/igmp",
		      "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"
		      "1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n"
		      "4\teth0      :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n");
	proctree_file(&tree, "net/dev_mcast",
		      "4    eth0            1     0     333300000001\n"
		      "6    dummy0          1     0     333300000001\n");
	proctree_file(&tree, "net/if_inet6",
		      "00000000000000000000000000000001 01 80 10 80       lo\n"
		      "fe8000000000000000fc00fffe000001 1f 40 20 80   wlan0\n");
	net = openat(tree.fd, "net", O_PATH | O_DIRECTORY);
	assert_int_equal(netif_read_proc(net, 99, &scratch, &list), 0);
	close(net);
	procfs_text_release(&scratch);
	netif_list_sort(&list);

	assert_int_equal(list.interface_count, 4);
	assert_string_equal(list.interfaces[0].name, "lo");
	assert_int_equal(list.interfaces[0].hardware_type, 772);
	assert_int_equal(list.interfaces[1].ifindex, 4);
	assert_string_equal(list.interfaces[2].name, "dummy0");
	assert_int_equal(list.interfaces[3].ifindex, 31);
	assert_int_equal(list.interfaces[3].hardware_type, NETIF_UNKNOWN_TYPE);

	/* By interface: 0 (no route tells), lo twice, eth0, wlan0. */
	assert_int_equal(list.address_count, 5);
	assert_string_equal(endpoint_format(&list.addresses[0].address, text), "192.0.2.7");
	assert_int_equal(list.addresses[0].prefix_length, 32);
	assert_string_equal(endpoint_format(&list.addresses[1].address, text), "::1");
	assert_int_equal(list.addresses[1].prefix_length, 128);
	assert_string_equal(endpoint_format(&list.addresses[2].address, text), "127.0.0.1");
	assert_int_equal(list.addresses[2].prefix_length, 8);
	assert_string_equal(endpoint_format(&list.addresses[3].address, text), "10.5.1.9");
	assert_int_equal(list.addresses[3].ifindex, 4);
	assert_int_equal(list.addresses[3].prefix_length, 24);
	assert_int_equal(list.addresses[4].ifindex, 31);
	netif_list_release(&list);
}

/* Cut anywhere, with bytes of any kind: no more than that it ends. */
static void test_damaged_files_are_survived(void **state)
{
	static const char inet6[] = "fe8000000000000000fc00fffe000001 04 40 20 80 eth0\n";
	struct procfs_text scratch = {0};
	struct netif_list list = {0};
	int net;

	(void)state;
	proctree_file(&tree, "net/fib_trie",
		      "|-- \n/32 host LOCAL\n|-- 999.1.1.1.1.1.1.1.1.1\n"
		      "/32 host LOCAL\n/32\n|--");
	proctree_file(&tree, "net/igmp", "4294967296 x\n0 y\n7\n8 a-name-that-is-far-too-long\n");
	net = openat(tree.fd, "net", O_PATH | O_DIRECTORY);
	for (size_t cut = 0; cut < sizeof(inet6); cut++) {
		proctree_bytes(&tree, "net/if_inet6", inet6, cut);
		list.interface_count = list.address_count = 0;
		assert_int_equal(netif_read_proc(net, 99, &scratch, &list), 0);
		assert_true(list.address_count <= 1);
	}
	close(net);
	assert_int_equal(list.address_count, 1);
	assert_int_equal(strlen(list.interfaces[0].name), IF_NAMESIZE - 1);
	procfs_text_release(&scratch);
	netif_list_release(&list);
}

static void test_loopback_of_this_namespace(void **state)
{
	struct netif_list list = {0};
	bool found = false;

	(void)state;
	assert_int_equal(netif_read_live(99, &list), 0);
	netif_list_sort(&list);
	assert_true(list.interface_count >= 1);
	assert_int_equal(list.interfaces[0].ifindex, 1);
	assert_string_equal(list.interfaces[0].name, "lo");
	assert_int_equal(list.interfaces[0].hardware_type, 772);
	for (size_t i = 0; i < list.address_count; i++) {
		if (list.addresses[i].ifindex != 1 || !endpoint_is_ipv4(&list.addresses[i].address))
			continue;
		assert_true(endpoint_is_loopback(&list.addresses[i].address));
		assert_int_equal(list.addresses[i].prefix_length, 8);
		found = true;
	}
	netif_list_release(&list);
	if (!found)
		skip(); /* lo is down here */
}

int main(void)
{
#define FACT(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		FACT(test_mounts_of_namespaces_and_hidepid),
		FACT(test_addresses_of_another_namespace),
		FACT(test_damaged_files_are_survived),
		FACT(test_loopback_of_this_namespace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
