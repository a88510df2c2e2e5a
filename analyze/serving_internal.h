/*
 * serving_internal.h - what serving.c, of a segment, asks of serving_book.c, the book.
 */
#ifndef ANALYZE_SERVING_INTERNAL_H
#define ANALYZE_SERVING_INTERNAL_H

#include "analyze/serving.h"

/* The first row of a process, whose next ones are by next; NULL: none. Until a row is added. */
struct serving_row *serving_book_first(const struct serving_book *book, uint32_t recording,
				       uint32_t pid, uint64_t start_ticks);
/* As serving_book_add. *changed: the row as it is then, until another one is added; NULL: it was
 * so already. */
int serving_book_put(struct serving_book *book, const struct serving_row *row,
		     const struct serving_row **changed);
/* The row of that recording, process and port; NULL: none. */
struct serving_row *serving_book_find(const struct serving_book *book,
				      const struct serving_row *like);

#endif
