/*
 * tcpdiag.h - all TCP sockets of a network namespace by one netlink dump.
 *
 * The rows of /proc/net/tcp and tcp6 at a fraction of their price: those two
 * walk the kernel's whole hash table (sized by memory, not by sockets) twice
 * each, lock by lock, and print what is parsed again here.
 */
#ifndef SNAPSHOT_TCPDIAG_H
#define SNAPSHOT_TCPDIAG_H

#include <stdint.h>

#include "snapshot/format/procnet_text.h"
#include "snapshot/procfs.h"

/* Appends the sockets of both families of the calling thread's namespace to
 * *rows, in no order, as the two tables have them but for two things: the uid of
 * a handshake that is not over yet is not known, and those with an inode have their cookie. scratch
 * is room to work in. 0 or an errno (the kernel has no such dump, or no memory), then nothing was
 * appended. */
int tcpdiag_read(uint64_t netns, struct procfs_text *scratch, struct procnet_rows *rows);

#endif
