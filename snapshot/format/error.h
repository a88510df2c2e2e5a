/*
 * error.h - how library code reports a failure.
 *
 * Library code neither prints nor exits. It returns 0 (or a non-negative
 * count) on success and a negative enum error_code on failure, and fills a
 * struct error owned by the caller. main() prints that struct once.
 */
#ifndef SNAPSHOT_FORMAT_ERROR_H
#define SNAPSHOT_FORMAT_ERROR_H

#include <stdint.h>

/* Exit statuses of both programs. */
enum exit_status {
	EXIT_DONE = 0,	     /* done */
	EXIT_FAILED = 1,     /* failed */
	EXIT_DAMAGED = 2,    /* done, but some input was damaged and skipped */
	EXIT_BAD_USAGE = 64, /* the command line is wrong (EX_USAGE) */
	EXIT_NO_INPUT = 66,  /* an input does not exist (EX_NOINPUT) */
};

enum error_code {
	ERROR_SYSTEM = -1,   /* a system call failed; saved_errno says why */
	ERROR_MEMORY = -2,   /* out of memory */
	ERROR_DAMAGED = -3,  /* content of a file is not what its format says */
	ERROR_USAGE = -4,    /* a value given by the user cannot be used */
	ERROR_NO_INPUT = -5, /* an input does not exist */
	ERROR_LIMIT = -6,    /* a stated limit was exceeded */
	ERROR_INTERRUPTED = -7,
};

struct error {
	enum error_code code;
	int saved_errno;      /* 0 unless code is ERROR_SYSTEM, or damage that is a failed read */
	int64_t offset_bytes; /* where in the file, -1 where it does not apply */
	char path[256];	      /* the file, cut at the left with "..." if longer; "" if none */
	char message[512];    /* what was wanted, what was found, what to do; one line */
};

#define ERROR_NONE                                                                                 \
	{                                                                                          \
		.offset_bytes = -1                                                                 \
	}

/* Both fill *error (which may be NULL) and return code, so that a failure is
 * one statement: return error_set(error, ERROR_USAGE, path, -1, "...", ...).
 * path may be NULL; an empty one becomes "\"\"". The format is printf's; the message gets no
 * newline. */
int error_set(struct error *error, enum error_code code, const char *path, int64_t offset_bytes,
	      const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The same with ": strerror(errno)" appended; reads errno on entry. ENOENT
 * becomes ERROR_NO_INPUT, ENOMEM becomes ERROR_MEMORY, all else ERROR_SYSTEM. */
int error_errno(struct error *error, const char *path, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Damage in untrusted input: every parser reports through here and nowhere
 * else, so one breakpoint catches all of it. Returns ERROR_DAMAGED. */
int error_damage(struct error *error, const char *path, int64_t offset_bytes, const char *wanted,
		 const char *found_format, ...) __attribute__((format(printf, 5, 6)));

/* "PROGRAM: PATH: at byte N: MESSAGE\n" to stderr, control characters of the
 * path and message made visible. Only main and the verbs call it. */
void error_print(const char *program, const struct error *error);

/* At the end of main: writes what waits for standard output. Returns status; where that cannot
 * be written and nothing else failed it says so, and EXIT_FAILED. */
int error_end_output(const char *program, int status);

/* The exit status that belongs to an error. */
enum exit_status error_exit_status(const struct error *error);

#endif
