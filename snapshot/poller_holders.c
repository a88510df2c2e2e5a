/* Who holds the sockets that the tables have. */
#include "snapshot/poller_internal.h"

#include <stdlib.h>

/* An inode that no thread held is not looked for again before this many polls:
 * the kernel's own sockets never have a holder. */
#define VAIN_POLLS 64

static int compare_inodes(const void *left, const void *right)
{
	const uint32_t *a = left, *b = right;

	return (*a > *b) - (*a < *b);
}

static int compare_holders(const void *a, const void *b)
{
	return procfs_holder_compare(a, b);
}

static int inodes_reserve(struct poller_inodes *inodes, size_t need)
{
	uint32_t *grown = procfs_grow(inodes->items, &inodes->capacity, need, sizeof(*grown));

	if (!grown)
		return ERROR_MEMORY;
	inodes->items = grown;
	return 0;
}

static bool has_inode(const struct poller_inodes *inodes, uint32_t inode)
{
	return inodes->count && bsearch(&inode, inodes->items, inodes->count,
					sizeof(*inodes->items), compare_inodes);
}

/* Inodes of all rows that have one. */
static int collect_inodes(struct poller *poller)
{
	struct poller_inodes *inodes = &poller->inodes;
	size_t kept = 0;

	inodes->count = 0;
	if (inodes_reserve(inodes, poller->rows.count + 1))
		return ERROR_MEMORY;
	for (size_t i = 0; i < poller->rows.count; i++) {
		if (poller->rows.rows[i].inode)
			inodes->items[inodes->count++] = poller->rows.rows[i].inode;
	}
	qsort(inodes->items, inodes->count, sizeof(*inodes->items), compare_inodes);
	for (size_t i = 0; i < inodes->count; i++) {
		if (!kept || inodes->items[kept - 1] != inodes->items[i])
			inodes->items[kept++] = inodes->items[i];
	}
	inodes->count = kept;
	return 0;
}

/* Only holders of sockets in the tables: most sockets of a host are local
 * (unix) ones. Sorts what remains. */
static void keep_table_holders(struct poller *poller)
{
	struct procfs_walk *walk = &poller->next->walk;
	size_t kept = 0;

	for (size_t i = 0; i < walk->holder_count; i++) {
		if (has_inode(&poller->inodes, walk->holders[i].inode))
			walk->holders[kept++] = walk->holders[i];
	}
	walk->holder_count = kept;
	if (kept > 1)
		qsort(walk->holders, kept, sizeof(*walk->holders), compare_holders);
}

/* Into out: the inodes that no sorted holder has, without those in except. */
static int find_ownerless(const struct poller *poller, const struct poller_inodes *except,
			  struct poller_inodes *out)
{
	const struct procfs_walk *walk = &poller->next->walk;
	size_t holder = 0;

	out->count = 0;
	if (inodes_reserve(out, poller->inodes.count + 1))
		return ERROR_MEMORY;
	for (size_t i = 0; i < poller->inodes.count; i++) {
		uint32_t inode = poller->inodes.items[i];

		while (holder < walk->holder_count && walk->holders[holder].inode < inode)
			holder++;
		if (holder < walk->holder_count && walk->holders[holder].inode == inode)
			continue;
		if (!except || !has_inode(except, inode))
			out->items[out->count++] = inode;
	}
	return 0;
}

/* Sockets that no process's descriptor table has may be in one that a thread
 * has for itself. Those that are not found there are remembered, so that the
 * search costs something only when there is a new one. */
int poller_read_holders(struct poller *poller, struct error *error)
{
	struct procfs_walk *walk = &poller->next->walk;
	struct poller_inodes swap;
	int result;

	if (collect_inodes(poller))
		return poller_no_memory(error);
	keep_table_holders(poller);
	if (++poller->vain_age >= VAIN_POLLS) {
		poller->vain_age = 0;
		poller->vain.count = 0;
	}
	if (find_ownerless(poller, &poller->vain, &poller->ownerless))
		return poller_no_memory(error);
	if (poller->ownerless.count) {
		result = procfs_walk_threads(poller->proc_fd, walk, poller->ownerless.items,
					     poller->ownerless.count, error);
		if (result)
			return result;
		if (walk->holder_count > 1)
			qsort(walk->holders, walk->holder_count, sizeof(*walk->holders),
			      compare_holders);
	}
	if (find_ownerless(poller, NULL, &poller->still_vain))
		return poller_no_memory(error);
	swap = poller->vain;
	poller->vain = poller->still_vain;
	poller->still_vain = swap;
	return 0;
}
