/*
 * fetch.h - what will be needed soon, on its way from memory into the processor's cache.
 * Changes nothing but how long it takes.
 */
#ifndef ANALYZE_FETCH_H
#define ANALYZE_FETCH_H

#include <stddef.h>

/* Of most processors; where it is another, some of what is fetched comes when it is needed. */
#define FETCH_LINE_BYTES 64

static inline void fetch(const void *at, size_t bytes)
{
	for (size_t offset = 0; offset < bytes; offset += FETCH_LINE_BYTES)
		__builtin_prefetch((const char *)at + offset, 1);
}

#endif
