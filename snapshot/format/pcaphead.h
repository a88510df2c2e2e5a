/*
 * pcaphead.h - what stands at the head of a pcap file and of each of its records
 * (draft-ietf-opsawg-pcap; libpcap's pcap/pcap.h and sf-pcap.c).
 *
 * Numbers are in the byte order of the host that wrote the file; its magic, read in either
 * order, says which that is.
 *
 * | file, at | bytes | |
 * |---|---|---|
 * | 0 | 4 | magic |
 * | 4 | 2 | major version |
 * | 6 | 2 | minor version |
 * | 8 | 8 | not used |
 * | 16 | 4 | snaplen |
 * | 20 | 4 | link type in the lower half |
 *
 * | record, at | bytes | |
 * |---|---|---|
 * | 0 | 4 | seconds since 1970, UTC |
 * | 4 | 4 | micro- or nanoseconds of the second |
 * | 8 | 4 | bytes captured, which follow |
 * | 12 | 4 | bytes of the packet |
 * | 16 | 8 | of Kuznetzov's kind only: not used here |
 */
#ifndef SNAPSHOT_FORMAT_PCAPHEAD_H
#define SNAPSHOT_FORMAT_PCAPHEAD_H

#define PCAPHEAD_MICROSECONDS 0xa1b2c3d4u
#define PCAPHEAD_NANOSECONDS  0xa1b23c4du
#define PCAPHEAD_KUZNETZOV    0xa1b2cd34u /* a patched libpcap's: microseconds, longer records */
#define PCAPHEAD_PCAPNG	      0x0a0d0d0au /* no pcap: a pcapng begins so, in either order */
#define PCAPHEAD_MAGIC_BYTES  4

#define PCAPHEAD_FILE_BYTES		24
#define PCAPHEAD_RECORD_BYTES		16
#define PCAPHEAD_KUZNETZOV_RECORD_BYTES 24

/* What is written today. Before it, captured and original length may be the other way round. */
#define PCAPHEAD_VERSION_MAJOR 2
#define PCAPHEAD_VERSION_MINOR 4

#define PCAPHEAD_SNAPLEN_AT   16
#define PCAPHEAD_LINK_TYPE_AT 20
#define PCAPHEAD_CAPTURED_AT  8 /* of a record */

/* libpcap's MAXIMUM_SNAPLEN: no record of a network holds more. */
#define PCAPHEAD_MAX_SNAPLEN 262144u

#endif
