#include "tests/unit/proctree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void proctree_new(struct proctree *tree)
{
	snprintf(tree->path, sizeof(tree->path), "/tmp/proctree.XXXXXX");
	assert_non_null(mkdtemp(tree->path));
	tree->fd = open(tree->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(tree->fd >= 0);
}

static void remove_below(int parent, const char *name)
{
	struct dirent *entry;
	DIR *dir;

	if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
		return;
	dir = fdopendir(openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			remove_below(dirfd(dir), entry->d_name);
	}
	closedir(dir);
	assert_int_equal(unlinkat(parent, name, AT_REMOVEDIR), 0);
}

void proctree_free(struct proctree *tree)
{
	close(tree->fd);
	remove_below(AT_FDCWD, tree->path);
}

void proctree_remove(const struct proctree *tree, const char *path)
{
	remove_below(tree->fd, path);
}

static void make_parents(const struct proctree *tree, const char *path)
{
	char part[200];

	for (const char *slash = path; (slash = strchr(slash, '/')); slash++) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		assert_true(mkdirat(tree->fd, part, 0700) == 0 || errno == EEXIST);
	}
}

void proctree_directory(const struct proctree *tree, const char *path)
{
	make_parents(tree, path);
	assert_true(mkdirat(tree->fd, path, 0700) == 0 || errno == EEXIST);
}

void proctree_bytes(const struct proctree *tree, const char *path, const char *bytes, size_t length)
{
	int fd;

	make_parents(tree, path);
	fd = openat(tree->fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, length), length);
	close(fd);
}

void proctree_file(const struct proctree *tree, const char *path, const char *text)
{
	proctree_bytes(tree, path, text, strlen(text));
}

void proctree_link(const struct proctree *tree, const char *path, const char *target)
{
	make_parents(tree, path);
	unlinkat(tree->fd, path, 0);
	assert_int_equal(symlinkat(target, tree->fd, path), 0);
}

void proctree_stat(const struct proctree *tree, const char *path, const struct proctree_stat *stat)
{
	char text[600];

	snprintf(text, sizeof(text),
		 "%" PRIu32 " (%s) %c %" PRIu32 " 1 1 0 -1 %" PRIu64
		 " 0 0 0 0 0 0 0 0 20 0 %" PRIu32 " 0 %" PRIu64
		 " 3133440 413 18446744073709551615 %" PRIu64 " %" PRIu64 " %" PRIu64
		 " 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 1 2 3 %" PRIu64 " %" PRIu64 " 6 7 0\n",
		 stat->pid, stat->comm, stat->state ? stat->state : 'S', stat->ppid, stat->flags,
		 stat->threads ? stat->threads : 1, stat->start_ticks, stat->image, stat->image,
		 stat->image, stat->image, stat->image);
	proctree_file(tree, path, text);
}

void proctree_process(const struct proctree *tree, uint32_t pid, uint64_t start_ticks,
		      uint64_t netns)
{
	struct proctree_stat stat = {
		.pid = pid, .ppid = 1, .comm = "prog", .start_ticks = start_ticks, .image = 7};
	char path[64], target[64];

	snprintf(path, sizeof(path), "%" PRIu32 "/stat", pid);
	proctree_stat(tree, path, &stat);
	snprintf(path, sizeof(path), "%" PRIu32 "/status", pid);
	proctree_file(tree, path, "Name:\tprog\nUid:\t33\t0\t0\t0\nGid:\t0\t0\t0\t0\n");
	snprintf(path, sizeof(path), "%" PRIu32 "/cmdline", pid);
	proctree_bytes(tree, path, "prog\0-x\0one two\0", 16);
	snprintf(path, sizeof(path), "%" PRIu32 "/cgroup", pid);
	proctree_file(tree, path, "0::/system.slice/prog.service\n");
	snprintf(path, sizeof(path), "%" PRIu32 "/exe", pid);
	proctree_link(tree, path, "/usr/bin/prog");
	snprintf(path, sizeof(path), "%" PRIu32 "/ns/net", pid);
	snprintf(target, sizeof(target), "net:[%" PRIu64 "]", netns);
	proctree_link(tree, path, target);
	snprintf(path, sizeof(path), "%" PRIu32 "/fd", pid);
	proctree_directory(tree, path);
}

void proctree_socket(const struct proctree *tree, uint32_t pid, uint32_t fd, uint32_t inode)
{
	char path[64], target[64];

	snprintf(path, sizeof(path), "%" PRIu32 "/fd/%" PRIu32, pid, fd);
	snprintf(target, sizeof(target), "socket:[%" PRIu32 "]", inode);
	proctree_link(tree, path, target);
}
