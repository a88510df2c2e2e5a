/*
 * procnet_text.h - the text of the socket tables below /proc/net, from a buffer.
 *
 * The bytes may be of the running system or a copy from another machine, so
 * the byte order of the machine that printed them is an argument. Never opens
 * a file and never looks at the system it runs on.
 *
 * The columns, by the kernel's own printing functions:
 *
 *   tcp tcp6       net/ipv4/tcp_ipv4.c, net/ipv6/tcp_ipv6.c   sl local remote st tx:rx tr:when
 *   udp* raw* icmp* net/ipv4/{udp,raw,ping}.c, ip6_dgram_     retrnsmt uid timeout inode ...
 *                  sock_seq_show in net/ipv6/datagram.c
 *   packet         net/packet/af_packet.c packet_seq_show     sk RefCnt Type Proto Iface R Rmem
 *                                                             User Inode
 *   sctp/eps       net/sctp/proc.c sctp_eps_seq_show          ENDPT SOCK STY SST HBKT LPORT UID
 *                                                             INODE LADDRS...
 *   sctp/assocs    net/sctp/proc.c sctp_assocs_seq_show       ASSOC SOCK STY SST ST HBKT ASSOC-ID
 *                                                             TX_QUEUE RX_QUEUE UID INODE LPORT
 *                                                             RPORT LADDRS... <-> RADDRS... ...
 *
 * Addresses of the first group are %08X of each 32-bit word as it lies in
 * memory (so network order on a big-endian host); ports are plain numbers, in
 * hexadecimal. sctp prints addresses as text, the primary one after a '*'.
 */
#ifndef SNAPSHOT_FORMAT_PROCNET_TEXT_H
#define SNAPSHOT_FORMAT_PROCNET_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/error.h"
#include "snapshot/format/snapfile.h"

/* Rows, owned; {0} is an empty one. Padding bytes are zero. */
struct procnet_rows {
	struct snap_socket *rows;
	size_t count, capacity;
};

void procnet_rows_release(struct procnet_rows *rows);

/* Appends the sockets in text to *rows. A sctp/eps line gives one row for each
 * of its local addresses, a sctp/assocs line one for each local x remote pair.
 *
 * State: of sctp/eps the socket's (SST, already a TCP number); of sctp/assocs
 * the association's (ST), put into the nearest TCP state; of packet
 * SNAP_UNKNOWN_STATE. The cookie is 0, the ifindex 0 but for packet.
 *
 * Tolerated: any spacing, CR LF, blank lines, header lines anywhere, and
 * missing columns after the last one that is used. A line that is none of
 * these is skipped and added to *bad_rows; the first of them since *bad_rows
 * was 0 is described in *first_bad (offset in text, what was wanted, what was
 * found; path is for that message). A value that ends where the text ends
 * without a newline may have been cut off, so its row is a bad row too.
 *
 * Returns 0, or ERROR_MEMORY (then rows holds what was read so far). */
int procnet_text_parse(enum snap_table table, bool big_endian, uint64_t netns, const char *path,
		       const char *text, size_t length, struct procnet_rows *rows,
		       uint64_t *bad_rows, struct error *first_bad);

/* Order by identity: netns, table, local, remote, inode. <0, 0, >0. */
int procnet_socket_compare(const struct snap_socket *a, const struct snap_socket *b);

/* Sorts rows[from..] by identity and keeps one row of each: the kernel drops
 * its locks between two pages of a table, so rows repeat. Of rows that differ
 * only in state the one with the higher state number stays, which is the later one in
 * a connection's life. */
void procnet_rows_sort(struct procnet_rows *rows, size_t from);

#endif
