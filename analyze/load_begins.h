/*
 * load_begins.h - whether a damaged file is how another one begins, as far as it can be read.
 */
#ifndef ANALYZE_LOAD_BEGINS_H
#define ANALYZE_LOAD_BEGINS_H

#include <signal.h>

#include "analyze/inputs.h"
#include "snapshot/format/error.h"

/* By packets, and by frames. 1: it is, also where nothing can be read of it; 0: it is not, or the
 * other one is not there any more; negative: failure, ERROR_INTERRUPTED once *stop (may be NULL)
 * is set. */
int load_begins_pcap(const struct input *damaged, const struct input *whole,
		     const volatile sig_atomic_t *stop, struct error *error);
int load_begins_snap(const struct input *damaged, const struct input *whole,
		     const volatile sig_atomic_t *stop, struct error *error);

#endif
