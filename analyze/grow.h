/*
 * grow.h - arrays that double.
 */
#ifndef ANALYZE_GROW_H
#define ANALYZE_GROW_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Room for one more: *array_pointer (the address of the array's pointer) has
 * count items of size bytes and room for *capacity. 0, or -1 without memory, when
 * all is as it was. */
static inline int grow_one(void *array_pointer, size_t count, size_t *capacity, size_t size)
{
	void *array, *larger;
	size_t wanted;

	if (count < *capacity)
		return 0;
	wanted = *capacity == 0 ? 16 : *capacity * 2;
	memcpy(&array, array_pointer, sizeof(array));
	larger = reallocarray(array, wanted, size);
	if (larger == NULL)
		return -1;
	memcpy(array_pointer, &larger, sizeof(larger));
	*capacity = wanted;
	/* cppcheck-suppress memleak ; it stands in *array_pointer */
	return 0;
}

#endif
