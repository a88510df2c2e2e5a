/*
 * load_copies.h - which inputs are copies of one segment, and which of them counts.
 *
 * Evidence is copied, compressed, cut short and altered on its way. What is in
 * the database twice would be counted twice, and what is taken for loaded when it is
 * not is lost: so only a copy of the same content is passed over without a word.
 */
#ifndef ANALYZE_LOAD_COPIES_H
#define ANALYZE_LOAD_COPIES_H

#include <signal.h>

#include "analyze/inputs.h"
#include "analyze/store.h"
#include "snapshot/format/error.h"

enum load_fate {
	LOAD_IT,
	LOAD_THERE,    /* the database, or another input, has all that it has */
	LOAD_LEFT_OUT, /* told: it is damaged, and the database or another input is whole */
};

/* fates: one for each input, which are sorted and identified. What could be the same as
 * another input, or as what the database has damaged, by a hash that is believed is hashed. Two are
 * copies if they have the same snapshots, or the same packets (any at all), or one number and time
 * and are not known to be of two recordings. Those that differ are read to their ends.
 * ERROR_DAMAGED where two differ and not just one of them is damaged, or it has a sound file that
 * differs, or more than the other: it says which, and what to do; nothing is loaded then. report
 * (may be NULL) is told what is left out. database: for messages. */
int load_copies(struct inputs *inputs, struct store *store, const char *database,
		const volatile sig_atomic_t *stop,
		void (*report)(const struct error *error, void *context), void *context,
		enum load_fate *fates, struct error *error);

#endif
