/* storedir.h - for tests of the recorder's files: an evidence directory of its own, open. */
#ifndef TESTS_UNIT_STOREDIR_H
#define TESTS_UNIT_STOREDIR_H

#include "snapshot/segment.h"

/* Makes a new empty directory. path ends in six characters that are replaced. 0, or -1. */
int storedir_open(char *path, struct segment_store *store, struct error *error);
/* Closes it and removes it with all that is in it. 0, or not. */
int storedir_remove(const char *path, struct segment_store *store);

#endif
