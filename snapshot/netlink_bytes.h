/*
 * netlink_bytes.h - the bounded cursor of the netlink files, and what their
 * messages share. The bytes are the kernel's, and still nothing is read past
 * their end.
 */
#ifndef SNAPSHOT_NETLINK_BYTES_H
#define SNAPSHOT_NETLINK_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "snapshot/format/error.h"

struct bytes {
	const uint8_t *at; /* borrowed */
	size_t left;
};

/* False, and nothing taken, if fewer than size are left. */
static inline bool take(struct bytes *bytes, void *out, size_t size)
{
	if (bytes->left < size)
		return false;
	memcpy(out, bytes->at, size);
	bytes->at += size;
	bytes->left -= size;
	return true;
}

/* To the end if fewer than size are left. */
static inline void skip(struct bytes *bytes, size_t size)
{
	size = size < bytes->left ? size : bytes->left;
	bytes->at += size;
	bytes->left -= size;
}

static inline int damage(const char *wanted, size_t found)
{
	return error_damage(NULL, "netlink", -1, wanted, "%zu bytes", found);
}

/* As SO_COOKIE has it, from idiag_cookie. */
static inline uint64_t cookie_of(const uint32_t words[2])
{
	return (uint64_t)words[1] << 32 | words[0];
}

#endif
