/*
 * ethertype.h - what a link or a tunnel says that it carries, by the numbers of IEEE 802.
 * Internal to decode*.c.
 */
#ifndef ANALYZE_ETHERTYPE_H
#define ANALYZE_ETHERTYPE_H

enum ethertype {
	ETHERTYPE_SLL_LLC = 0x0004,    /* LINUX_SLL_P_802_2 */
	ETHERTYPE_LENGTH_END = 0x0600, /* below: an 802.3 length, or nothing (IEEE 802.3 3.2.6) */
	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_ARP = 0x0806,
	ETHERTYPE_VLAN = 0x8100,
	ETHERTYPE_IPV6 = 0x86dd,
	ETHERTYPE_MPLS = 0x8847,
	ETHERTYPE_MPLS_MULTICAST = 0x8848,
	ETHERTYPE_PPPOE = 0x8864,
	ETHERTYPE_QINQ = 0x88a8,
	ETHERTYPE_QINQ_OLD = 0x9100,
};

#endif
