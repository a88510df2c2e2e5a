/*
 * display.h - what long work shows on standard error: a line that is renewed where that is a
 * terminal, remarks above it; and how a signal ends such work. Of the verbs that make databases.
 */
#ifndef ANALYZE_DISPLAY_H
#define ANALYZE_DISPLAY_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "snapshot/format/error.h"

struct display {
	const char *program; /* before each remark */
	bool terminal, shown;
	int64_t shown_ns;
};

/* Not 0 once SIGINT or SIGTERM came after display_begin. */
extern volatile sig_atomic_t display_stop;

/* For a callback: there is something to undo from here on, so that a signal must not just end
 * the process. The second one does. */
void display_begin(void *display);
/* For a callback: a remark. */
void display_report(const struct error *error, void *display);
/* Whether a line should be printed now, at elapsed_ns: it then is at its beginning, and empty. */
bool display_is_due(struct display *display, int64_t elapsed_ns);
void display_clear(struct display *display);

/* A name that somebody else may have chosen, with what would steer a terminal made visible. */
void display_name(FILE *stream, const char *name);
/* "s" or "": of a word for so many. */
const char *display_plural(uint64_t count);

#endif
