/*
 * import_internal.h - what the files of the import's state share: import_state.c takes the inputs
 * in, import_frame.c makes one frame of them.
 */
#ifndef ANALYZE_IMPORT_INTERNAL_H
#define ANALYZE_IMPORT_INTERNAL_H

#include "analyze/import_state.h"

/* 0, or ERROR_MEMORY. */
int import_add_absence(struct import_state *state, enum snap_op op, const char *what, uint32_t pid,
		       const char *subject, const char *reason, struct error *error);
int import_add_address(struct import_state *state, const struct endpoint_address *address,
		       uint8_t prefix_length, struct error *error);

#endif
