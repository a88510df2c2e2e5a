#include "analyze/display.h"

#include <string.h>

#include "snapshot/format/escape.h"
#include "snapshot/format/quantity.h"

volatile sig_atomic_t display_stop;

static void on_signal(int number)
{
	(void)number;
	display_stop = 1;
}

void display_begin(void *display)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_RESETHAND};

	(void)display;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

void display_clear(struct display *display)
{
	if (display->shown)
		fputs("\r\033[K", stderr);
	display->shown = false;
}

void display_report(const struct error *error, void *context)
{
	struct display *display = context;

	display_clear(display);
	error_print(display->program, error);
}

bool display_is_due(struct display *display, int64_t elapsed_ns)
{
	/* Twice a second is as often as one can read. */
	if (!display->terminal || elapsed_ns - display->shown_ns < NS_PER_SECOND / 2)
		return false;
	display->shown_ns = elapsed_ns;
	display->shown = true;
	fputs("\r\033[K", stderr);
	return true;
}

void display_name(FILE *stream, const char *name)
{
	const uint8_t *at = (const uint8_t *)name, *end = at + strlen(name);
	char shown[ESCAPE_SHOWN_SIZE];
	size_t length;

	while (at < end) {
		at += escape_show(at, (size_t)(end - at), shown, &length);
		fwrite(shown, 1, length, stream);
	}
}

const char *display_plural(uint64_t count)
{
	return count == 1 ? "" : "s";
}
