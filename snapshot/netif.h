/*
 * netif.h - interfaces and addresses of a network namespace.
 *
 * Two ways, because neither serves all namespaces:
 *
 * netif_read_live asks the kernel for the namespace of the calling thread
 * (getifaddrs): index, name, ARPHRD type and prefix of everything are exact.
 * It is used for the recorder's own namespace, whose interface numbers stand
 * in the captured packets, and for those that a thread has entered.
 *
 * netif_read_proc parses /proc/PID/net, which needs no privilege to enter the
 * namespace. IPv6 is exact there (if_inet6). IPv4 addresses are the hosts that
 * fib_trie calls LOCAL; interface and prefix come from the connected route
 * (route) that covers them, else they are 0 and 32. Names and indexes come from
 * igmp, dev_mcast and if_inet6; an interface in none of these carries no address and
 * is left out. The type is not in these files: loopback is known, others are
 * NETIF_UNKNOWN_TYPE.
 */
#ifndef SNAPSHOT_NETIF_H
#define SNAPSHOT_NETIF_H

#include <net/if.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/error.h"
#include "snapshot/format/snapfile.h"
#include "snapshot/procfs.h"

#define NETIF_UNKNOWN_TYPE 0xFFFFu /* ARPHRD_VOID */

struct netif_interface {
	uint64_t netns;
	uint32_t ifindex;
	uint32_t hardware_type; /* ARPHRD_* */
	char name[IF_NAMESIZE];
};

/* Owned; {0} is an empty one. */
struct netif_list {
	struct netif_interface *interfaces;
	size_t interface_count, interface_capacity;
	struct snap_address *addresses;
	size_t address_count, address_capacity;
};

void netif_list_release(struct netif_list *list);

/* Both append to *list. 0 or an errno; ENOMEM may leave a part in the list. */
int netif_read_live(uint64_t netns, struct netif_list *list);
/* net_fd: a /proc/PID/net. Files that are not there (IPv6 disabled) count as
 * empty, but for fib_trie. */
int netif_read_proc(int net_fd, uint64_t netns, struct procfs_text *scratch,
		    struct netif_list *list);

/* Sorts by identity and removes repetitions. */
void netif_list_sort(struct netif_list *list);
int netif_interface_compare(const struct netif_interface *a, const struct netif_interface *b);
int netif_address_compare(const struct snap_address *a, const struct snap_address *b);

#endif
