/*
 * arguments.h - argument vectors and control groups as people read them.
 */
#ifndef ANALYZE_ARGUMENTS_H
#define ANALYZE_ARGUMENTS_H

#include <stddef.h>

/* NUL-separated arguments as one line: joined by spaces, an argument that a
 * shell would not take as it stands in single quotes. Bytes are kept as they
 * are, control characters included: display is the reader's business. Heap;
 * NULL for NULL, or without memory. */
char *arguments_join(const char *bytes, size_t length);

#define ARGUMENTS_CONTAINER_SIZE 65

/* The container's id in a control group path (Docker, containerd, CRI-O,
 * Podman: 64 hex digits at a component's start, end or after a dash). Writes "" and returns
 * NULL if there is none, else returns container. */
const char *arguments_container(const char *cgroup, char container[ARGUMENTS_CONTAINER_SIZE]);

#endif
