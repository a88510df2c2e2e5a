/*
 * fdlist.h - parses listings of /proc/PID/fd as people keep them.
 *
 * What it reads: "ls -l /proc/PID/fd" in any locale, with or without colours,
 * quotes, inode and block columns; several listings in one text under headings
 * ("/proc/2143/fd:"), as "ls -l" of several directories and "ls -lR" print them;
 * rows that carry the whole path, as "find /proc/PID/fd -ls" prints them; rows of
 * a thread (/proc/PID/task/TID/fd). The columns before the name (mode, owner,
 * size, date) are not interpreted.
 *
 * Works on bytes in memory; opens nothing, keeps nothing, never guesses a pid.
 */
#ifndef ANALYZE_FDLIST_H
#define ANALYZE_FDLIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/error.h"

/* A link target is at most PATH_MAX (4096) bytes, escaped by ls at worst
 * fourfold; the rest is room for owner, group, date and colours. */
#define FDLIST_MAX_LINE 32768

/* PID_MAX_LIMIT of include/linux/threads.h: no Linux pid is larger. */
#define FDLIST_MAX_PID 4194304

enum fdlist_kind {
	FDLIST_PROCESS = 1, /* a heading: the process was listed, perhaps with nothing below */
	FDLIST_SOCKET,	    /* a descriptor of a socket */
	FDLIST_OTHER,	    /* a descriptor of something else; inode is 0 */
	FDLIST_UNREADABLE,  /* a descriptor or listing that could not be read */
};

struct fdlist_row {
	enum fdlist_kind kind;
	uint32_t pid;	/* 0 only for UNREADABLE: a message that names no process */
	uint32_t tid;	/* pid, or the thread whose descriptor table was listed */
	uint32_t fd;	/* SOCKET and OTHER */
	uint32_t inode; /* SOCKET: from socket:[INODE] */
	uint64_t line;	/* from 1 */
};

struct fdlist {
	const char *path; /* for messages; borrowed */
	const char *bytes;
	size_t length_bytes, offset_bytes;
	uint32_t hint; /* pid of rows under no heading; 0: not known */
	uint64_t line;
	uint64_t recognised;	    /* lines that only a listing of descriptors has */
	uint32_t pid, tid;	    /* of the heading in force; 0: none, the hint counts */
	bool ignoring;		    /* under a heading of something else */
	bool fresh;		    /* nothing since the start or a heading: "total 0" may follow */
	bool terminated;	    /* the line at hand ended with LF */
	char text[FDLIST_MAX_LINE]; /* the line at hand, without colours */
};

/* Prepares to read <bytes, length>, borrowed like path until the last call.
 * hint: the pid of rows that stand under no heading and carry no path, 0 if
 * it is not known. */
void fdlist_init(struct fdlist *list, const char *path, const void *bytes, size_t length,
		 uint32_t hint);

/* Next row: 1, or 0 at the end. ERROR_DAMAGED: the line is none of a listing;
 * it is skipped and the next call goes on behind it. ERROR_USAGE: a row whose
 * pid is not known, the message says how to give it; stays there. */
int fdlist_next(struct fdlist *list, struct fdlist_row *row, struct error *error);

/* The pid in a file's name: "proc-2143-fd.txt", "2143.fd", "fd_2143", "pid2143.txt",
 * or ".../2143/fd.txt". 0 and *pid, or -1 when there is none or more than one
 * number it could be. */
int fdlist_pid_from_name(const char *path, uint32_t *pid);

#endif
