#include "snapshot/netif.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if_arp.h>
#include <netpacket/packet.h>
#include <stdlib.h>
#include <string.h>

void netif_list_release(struct netif_list *list)
{
	free(list->interfaces);
	free(list->addresses);
	*list = (struct netif_list){0};
}

static int add_interface(struct netif_list *list, uint64_t netns, uint32_t ifindex,
			 const char *name, size_t length, uint32_t hardware_type)
{
	struct netif_interface *grown = procfs_grow(list->interfaces, &list->interface_capacity,
						    list->interface_count + 1, sizeof(*grown));
	struct netif_interface *item;

	if (!grown)
		return ENOMEM;
	list->interfaces = grown;
	item = &list->interfaces[list->interface_count++];
	memset(item, 0, sizeof(*item));
	item->netns = netns;
	item->ifindex = ifindex;
	item->hardware_type = hardware_type;
	memcpy(item->name, name, length < IF_NAMESIZE ? length : IF_NAMESIZE - 1);
	return 0;
}

static int add_address(struct netif_list *list, uint64_t netns, uint32_t ifindex,
		       const struct endpoint_address *address, unsigned prefix_length)
{
	struct snap_address *grown = procfs_grow(list->addresses, &list->address_capacity,
						 list->address_count + 1, sizeof(*grown));
	struct snap_address *item;

	if (!grown)
		return ENOMEM;
	list->addresses = grown;
	item = &list->addresses[list->address_count++];
	memset(item, 0, sizeof(*item));
	item->netns = netns;
	item->ifindex = ifindex;
	item->address = *address;
	item->prefix_length = (uint8_t)prefix_length;
	return 0;
}

/* Of the interfaces from first on; 0 if there is none of that name. An IPv4
 * address may carry a label, "eth0:1". */
static uint32_t find_ifindex(const struct netif_list *list, size_t first, const char *name,
			     size_t length)
{
	const char *colon = memchr(name, ':', length);

	if (colon)
		length = (size_t)(colon - name);
	for (size_t i = first; i < list->interface_count; i++) {
		const char *other = list->interfaces[i].name;

		if (strlen(other) == length && !memcmp(other, name, length))
			return list->interfaces[i].ifindex;
	}
	return 0;
}

/* ---------------------------------------------------------- getifaddrs -- */

static unsigned count_bits(const uint8_t *bytes, size_t length)
{
	unsigned bits = 0;

	for (size_t i = 0; i < length * 8 && bytes[i / 8] & 0x80 >> i % 8; i++)
		bits++;
	return bits;
}

static int add_live_address(const struct ifaddrs *entry, uint64_t netns, size_t first,
			    struct netif_list *list)
{
	uint32_t ifindex = find_ifindex(list, first, entry->ifa_name, strlen(entry->ifa_name));
	struct endpoint_address address;
	struct sockaddr_in6 ip6;
	struct sockaddr_in ip4;
	unsigned prefix_length;

	if (entry->ifa_addr->sa_family == AF_INET) {
		memcpy(&ip4, entry->ifa_addr, sizeof(ip4));
		address = endpoint_from_ipv4((const uint8_t *)&ip4.sin_addr);
		prefix_length = 32;
		if (entry->ifa_netmask) {
			memcpy(&ip4, entry->ifa_netmask, sizeof(ip4));
			prefix_length = count_bits((const uint8_t *)&ip4.sin_addr, 4);
		}
	} else {
		memcpy(&ip6, entry->ifa_addr, sizeof(ip6));
		address = endpoint_from_ipv6(ip6.sin6_addr.s6_addr);
		prefix_length = 128;
		if (entry->ifa_netmask) {
			memcpy(&ip6, entry->ifa_netmask, sizeof(ip6));
			prefix_length = count_bits(ip6.sin6_addr.s6_addr, 16);
		}
	}
	return add_address(list, netns, ifindex, &address, prefix_length);
}

int netif_read_live(uint64_t netns, struct netif_list *list)
{
	size_t first = list->interface_count;
	struct ifaddrs *entries;
	int result = 0;

	if (getifaddrs(&entries))
		return errno;
	for (struct ifaddrs *at = entries; at && !result; at = at->ifa_next) {
		struct sockaddr_ll link;

		if (!at->ifa_addr || at->ifa_addr->sa_family != AF_PACKET)
			continue;
		memcpy(&link, at->ifa_addr, sizeof(link));
		result = add_interface(list, netns, (uint32_t)link.sll_ifindex, at->ifa_name,
				       strlen(at->ifa_name), link.sll_hatype);
	}
	for (struct ifaddrs *at = entries; at && !result; at = at->ifa_next) {
		if (at->ifa_addr &&
		    (at->ifa_addr->sa_family == AF_INET || at->ifa_addr->sa_family == AF_INET6))
			result = add_live_address(at, netns, first, list);
	}
	freeifaddrs(entries);
	return result;
}

/* --------------------------------------------------------- /proc/PID/net -- */

struct fields {
	const char *at, *end;
};

static const char *next_field(struct fields *fields, size_t *length)
{
	const char *start;

	while (fields->at < fields->end && (*fields->at == ' ' || *fields->at == '\t'))
		fields->at++;
	start = fields->at;
	while (fields->at < fields->end && *fields->at != ' ' && *fields->at != '\t')
		fields->at++;
	*length = (size_t)(fields->at - start);
	return start;
}

/* The next line of text into *line; false at the end. */
static bool next_line(const char **at, const char *end, struct fields *line)
{
	const char *newline;

	if (*at >= end)
		return false;
	newline = memchr(*at, '\n', (size_t)(end - *at));
	line->at = *at;
	line->end = newline ? newline : end;
	*at = newline ? newline + 1 : end;
	return true;
}

static bool parse_hex(const char *at, size_t length, uint64_t *out)
{
	uint64_t value = 0;

	if (length == 0 || length > 8)
		return false;
	for (size_t i = 0; i < length; i++) {
		static const char digits[] = "0123456789abcdef";
		const char *digit = at[i] ? strchr(digits, at[i] | 0x20) : NULL;

		if (!digit)
			return false;
		value = value << 4 | (uint64_t)(digit - digits);
	}
	*out = value;
	return true;
}

static uint32_t type_of(const char *name, size_t length)
{
	return length == 2 && !memcmp(name, "lo", 2) ? ARPHRD_LOOPBACK : NETIF_UNKNOWN_TYPE;
}

/* igmp: "INDEX\tNAME : …" (groups below it begin with a TAB);
 * dev_mcast: "INDEX NAME …". Both begin with the two that are wanted. */
static int parse_names(const struct procfs_text *text, uint64_t netns, struct netif_list *list)
{
	const char *at = text->text, *end = text->text + text->length, *stop;
	struct fields line;

	while (next_line(&at, end, &line)) {
		const char *number, *name;
		size_t number_length, name_length;
		uint64_t ifindex;

		if (line.at < line.end && *line.at == '\t')
			continue;
		number = next_field(&line, &number_length);
		name = next_field(&line, &name_length);
		if (!number_length || !name_length ||
		    !procfs_parse_number(number, UINT32_MAX, &ifindex, &stop) ||
		    stop != number + number_length || !ifindex)
			continue;
		if (add_interface(list, netns, (uint32_t)ifindex, name, name_length,
				  type_of(name, name_length)))
			return ENOMEM;
	}
	return 0;
}

/* ADDRESS(32 hex digits) INDEX(hex) PREFIX(hex) SCOPE FLAGS NAME */
static int parse_if_inet6(const struct procfs_text *text, uint64_t netns, struct netif_list *list)
{
	const char *at = text->text, *end = text->text + text->length;
	struct fields line;

	while (next_line(&at, end, &line)) {
		const char *digits, *field;
		size_t length, field_length;
		uint64_t word, ifindex, prefix_length;
		struct endpoint_address address;
		uint8_t bytes[16];

		digits = next_field(&line, &length);
		if (length != 32)
			continue;
		for (size_t i = 0; i < 16; i++) {
			if (!parse_hex(digits + i * 2, 2, &word))
				break;
			bytes[i] = (uint8_t)word;
			length -= 2;
		}
		field = next_field(&line, &field_length);
		if (length || !parse_hex(field, field_length, &ifindex))
			continue;
		field = next_field(&line, &field_length);
		if (!parse_hex(field, field_length, &prefix_length) || prefix_length > 128)
			continue;
		next_field(&line, &field_length);
		next_field(&line, &field_length);
		field = next_field(&line, &field_length);
		address = endpoint_from_ipv6(bytes);
		if (add_address(list, netns, (uint32_t)ifindex, &address,
				(unsigned)prefix_length) ||
		    (field_length && add_interface(list, netns, (uint32_t)ifindex, field,
						   field_length, type_of(field, field_length))))
			return ENOMEM;
	}
	return 0;
}

/* "|-- ADDRESS" and below it, one for each route, "/PREFIX SCOPE TYPE". */
static int parse_fib_trie(const struct procfs_text *text, uint64_t netns, struct netif_list *list)
{
	const char *at = text->text, *end = text->text + text->length;
	char address_text[INET_ADDRSTRLEN] = "";
	struct fields line;

	while (next_line(&at, end, &line)) {
		struct endpoint_address address;
		const char *field;
		size_t length;

		field = next_field(&line, &length);
		if (length == 3 && !memcmp(field, "|--", 3)) {
			field = next_field(&line, &length);
			address_text[0] = '\0';
			if (length < sizeof(address_text)) {
				memcpy(address_text, field, length);
				address_text[length] = '\0';
			}
			continue;
		}
		if (length != 3 || memcmp(field, "/32", 3))
			continue;
		next_field(&line, &length);
		field = next_field(&line, &length);
		if (length != 5 || memcmp(field, "LOCAL", 5) ||
		    endpoint_parse(address_text, &address))
			continue;
		if (add_address(list, netns, 0, &address, 32))
			return ENOMEM;
	}
	return 0;
}

/* Iface Destination Gateway Flags RefCnt Use Metric Mask …: gives the addresses
 * from first on that a route without gateway covers its interface and prefix,
 * the longest prefix counting. Words as they lie in memory. */
static void apply_routes(const struct procfs_text *text, struct netif_list *list,
			 size_t first_interface, size_t first_address)
{
	const char *at = text->text, *end = text->text + text->length;
	struct fields line;

	while (next_line(&at, end, &line)) {
		uint64_t destination = 0, gateway = 1, mask = 0;
		const char *name, *field;
		size_t name_length, length;
		uint32_t ifindex, mask_word;
		unsigned bits;

		name = next_field(&line, &name_length);
		field = next_field(&line, &length);
		if (!parse_hex(field, length, &destination))
			continue;
		field = next_field(&line, &length);
		if (!parse_hex(field, length, &gateway) || gateway)
			continue;
		for (unsigned i = 0; i < 5; i++)
			field = next_field(&line, &length);
		if (!parse_hex(field, length, &mask) || !mask)
			continue;
		ifindex = find_ifindex(list, first_interface, name, name_length);
		mask_word = (uint32_t)mask;
		bits = count_bits((const uint8_t *)&mask_word, 4);
		for (size_t i = first_address; i < list->address_count && ifindex; i++) {
			struct snap_address *item = &list->addresses[i];
			uint32_t word;

			memcpy(&word, item->address.bytes + 12, sizeof(word));
			if ((word & mask_word) == destination &&
			    (item->ifindex == 0 || bits > item->prefix_length)) {
				item->ifindex = ifindex;
				item->prefix_length = (uint8_t)bits;
			}
		}
	}
}

/* 127.0.0.0/8 stands in no route that /proc/net/route prints. */
static void apply_loopback(struct netif_list *list, size_t first_interface, size_t first_address)
{
	uint32_t ifindex = find_ifindex(list, first_interface, "lo", 2);

	for (size_t i = first_address; i < list->address_count; i++) {
		struct snap_address *item = &list->addresses[i];

		if (item->ifindex == 0 && endpoint_is_loopback(&item->address)) {
			item->ifindex = ifindex;
			item->prefix_length = 8;
		}
	}
}

int netif_read_proc(int net_fd, uint64_t netns, struct procfs_text *scratch,
		    struct netif_list *list)
{
	size_t first_interface = list->interface_count, first_address;
	int result = 0;

	if (!procfs_read_file(net_fd, "igmp", 0, scratch))
		result = parse_names(scratch, netns, list);
	if (!result && !procfs_read_file(net_fd, "dev_mcast", 0, scratch))
		result = parse_names(scratch, netns, list);
	if (!result && !procfs_read_file(net_fd, "if_inet6", 0, scratch))
		result = parse_if_inet6(scratch, netns, list);
	first_address = list->address_count;
	if (!result)
		result = procfs_read_file(net_fd, "fib_trie", 0, scratch);
	if (!result)
		result = parse_fib_trie(scratch, netns, list);
	if (!result && !procfs_read_file(net_fd, "route", 0, scratch))
		apply_routes(scratch, list, first_interface, first_address);
	if (!result)
		apply_loopback(list, first_interface, first_address);
	return result;
}

/* --------------------------------------------------------------- order -- */

int netif_interface_compare(const struct netif_interface *a, const struct netif_interface *b)
{
	if (a->netns != b->netns)
		return a->netns < b->netns ? -1 : 1;
	return (a->ifindex > b->ifindex) - (a->ifindex < b->ifindex);
}

int netif_address_compare(const struct snap_address *a, const struct snap_address *b)
{
	int order;

	if (a->netns != b->netns)
		return a->netns < b->netns ? -1 : 1;
	if (a->ifindex != b->ifindex)
		return a->ifindex < b->ifindex ? -1 : 1;
	order = memcmp(a->address.bytes, b->address.bytes, sizeof(a->address.bytes));
	if (order)
		return order;
	return (a->prefix_length > b->prefix_length) - (a->prefix_length < b->prefix_length);
}

static int compare_interfaces(const void *a, const void *b)
{
	return netif_interface_compare(a, b);
}

static int compare_addresses(const void *a, const void *b)
{
	return netif_address_compare(a, b);
}

/* Keeps the first of equal items; the count that remains. */
static size_t sort_unique(void *items, size_t count, size_t size,
			  int (*compare)(const void *, const void *))
{
	char *bytes = items;
	size_t kept = 0;

	if (count < 2)
		return count;
	qsort(items, count, size, compare);
	for (size_t i = 0; i < count; i++) {
		if (kept && !compare(bytes + (kept - 1) * size, bytes + i * size))
			continue;
		if (kept != i)
			memcpy(bytes + kept * size, bytes + i * size, size);
		kept++;
	}
	return kept;
}

void netif_list_sort(struct netif_list *list)
{
	list->interface_count = sort_unique(list->interfaces, list->interface_count,
					    sizeof(*list->interfaces), compare_interfaces);
	list->address_count = sort_unique(list->addresses, list->address_count,
					  sizeof(*list->addresses), compare_addresses);
}
