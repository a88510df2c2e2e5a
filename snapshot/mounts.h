/*
 * mounts.h - what the mount table says about /proc and network namespaces.
 * Parses text; never mounts and never opens what it finds.
 */
#ifndef SNAPSHOT_MOUNTS_H
#define SNAPSHOT_MOUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A network namespace that a bind mount keeps alive (ip netns add). */
struct mounts_netns {
	uint64_t netns;
	char *path; /* owned */
};

/* {0} is an empty one. */
struct mounts {
	struct mounts_netns *items; /* in the table's order */
	size_t count, capacity;
	bool hidepid; /* the /proc in question has the option hidepid= with more than 0 */
};

/* Text of /proc/PID/mountinfo (proc(5)): ID PARENT MAJOR:MINOR ROOT POINT
 * OPTIONS [TAG]... - TYPE SOURCE SUPER-OPTIONS. proc_device is st_dev of the
 * /proc in question. Lines of another shape are skipped. *out is filled anew.
 * 0 or ERROR_MEMORY. */
int mounts_parse(const char *text, size_t length, uint64_t proc_device, struct mounts *out);
void mounts_release(struct mounts *mounts);

#endif
