/*
 * proctree.h - a tree of files that looks like /proc, for tests.
 * Every function fails the running test when it cannot do its work.
 */
#ifndef TESTS_UNIT_PROCTREE_H
#define TESTS_UNIT_PROCTREE_H

#include <stddef.h>
#include <stdint.h>

struct proctree {
	char path[32];
	int fd; /* of the root */
};

void proctree_new(struct proctree *tree);
void proctree_free(struct proctree *tree);

/* Paths are relative to the root; directories on the way are made. What is
 * there already is replaced. */
void proctree_file(const struct proctree *tree, const char *path, const char *text);
void proctree_bytes(const struct proctree *tree, const char *path, const char *bytes,
		    size_t length);
void proctree_link(const struct proctree *tree, const char *path, const char *target);
void proctree_directory(const struct proctree *tree, const char *path);
/* A file, or a directory with all in it. */
void proctree_remove(const struct proctree *tree, const char *path);

/* The text of a stat file. image: any number that stands for the program, 0: none. */
struct proctree_stat {
	uint32_t pid, ppid;
	const char *comm;
	char state; /* 0: 'S' */
	uint64_t flags;
	uint32_t threads; /* 0: 1 */
	uint64_t start_ticks, image;
};
void proctree_stat(const struct proctree *tree, const char *path, const struct proctree_stat *stat);

/* A whole process of one thread, "prog" as /usr/bin/prog with two arguments,
 * uid 33, in the network namespace, without descriptors. */
void proctree_process(const struct proctree *tree, uint32_t pid, uint64_t start_ticks,
		      uint64_t netns);
/* A descriptor on a socket. */
void proctree_socket(const struct proctree *tree, uint32_t pid, uint32_t fd, uint32_t inode);

#endif
