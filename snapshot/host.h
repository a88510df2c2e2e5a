/*
 * host.h - the facts of host and run that stand in a snap file's header.
 *
 * FORMAT.md, "Header", has the keys. What cannot be read is NULL there.
 */
#ifndef SNAPSHOT_HOST_H
#define SNAPSHOT_HOST_H

#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/error.h"
#include "snapshot/options.h"
#include "snapshot/segment.h"

#define HOST_META_MAX 24

struct host_meta {
	struct segment_meta entries[HOST_META_MAX]; /* keys are constants, values owned */
	size_t count;
};

/* Reads them all; link_type is that of the open capture,
 * watcher the value of that key. 0 or ERROR_MEMORY. */
int host_meta_read(const struct options *options, int argc, char *const *argv, uint32_t link_type,
		   const char *watcher, struct host_meta *meta, struct error *error);
const char *host_meta_get(const struct host_meta *meta, const char *key); /* NULL if not known */
void host_meta_release(struct host_meta *meta);

#endif
