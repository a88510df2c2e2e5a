/*
 * timeline_internal.h - what timeline.c (chains, reading, questions),
 * timeline_take.c (one record after the other), timeline_place.c
 * (addresses and interfaces of them), timeline_life.c (when something was in the
 * state), timeline_uses.c (what the kernel told), timeline_closes.c (which
 * socket closed), timeline_images.c (since when a program ran) and
 * timeline_order.c (what is asked by time) share.
 */
#ifndef ANALYZE_TIMELINE_INTERNAL_H
#define ANALYZE_TIMELINE_INTERNAL_H

#include "analyze/timeline.h"

struct timeline_block {
	struct timeline_block *next;
	size_t used, size;
	char bytes[];
};

/* What an event showed is no part of the state; the next full reading that
 * began after it tells whether it is still there. */
struct timeline_sighting {
	int64_t end_ns;
	enum timeline_kind kind;
	uint32_t place;
};

/* timeline.c: keys of the indexes. */
uint64_t timeline_hash_tuple(uint8_t protocol, const struct endpoint *local,
			     const struct endpoint *remote);
uint64_t timeline_hash_of_tuple(const void *context, uint32_t i);
uint64_t timeline_hash_identity(const struct timeline_socket *s);
uint64_t timeline_hash_of_identity(const void *context, uint32_t i);
uint64_t timeline_hash_port(uint8_t protocol, const struct endpoint *local);
uint64_t timeline_hash_of_port(const void *context, uint32_t i);
uint64_t timeline_hash_process(uint32_t pid, uint64_t start_ticks);
uint64_t timeline_hash_of_process(const void *context, uint32_t i);
uint64_t timeline_hash_inode(uint32_t inode);
uint64_t timeline_hash_of_inode(const void *context, uint32_t i);
uint64_t timeline_hash_home(const struct endpoint_address *address, uint64_t netns);
uint64_t timeline_hash_of_address(const void *context, uint32_t i);
bool timeline_endpoints_equal(const struct endpoint *a, const struct endpoint *b);

/* timeline_take.c. Takes one record in. 0, or -1 without memory. */
int timeline_take(struct timeline *tl, const struct snap_record *record);
/* The process of that identity, found or made; NONE without memory. */
uint32_t timeline_need_process(struct timeline *tl, uint32_t pid, uint64_t start_ticks);
uint32_t timeline_find_process(const struct timeline *tl, uint32_t pid, uint64_t start_ticks);

/* timeline_place.c. 0, or -1 without memory. */
int timeline_take_address(struct timeline *tl, enum snap_op op, const struct snap_address *address);
int timeline_take_interface(struct timeline *tl, enum snap_op op,
			    const struct snap_interface *interface);

/* timeline_life.c: texts that live as long as the timeline; NULL for NULL, or without
 * memory, when *failed is set. */
const char *timeline_keep(struct timeline *tl, const char *text, size_t length, bool *failed);
const char *timeline_keep_string(struct timeline *tl, const char *text, bool *failed);
bool timeline_same_text(const char *a, const char *b); /* both may be NULL */
struct timeline_life timeline_life_begin(const struct timeline *tl, enum snap_op op);
void timeline_life_confirm(const struct timeline *tl, struct timeline_life *life, enum snap_op op);
/* Ends a life at the frame in hand, or, without has_gone, at the end of the file. */
void timeline_life_end(const struct timeline *tl, struct timeline_life *life, bool has_gone);
bool timeline_life_open(const struct timeline_life *life);
bool timeline_life_resumes(const struct timeline *tl, const struct timeline_life *life,
			   bool has_identity);
/* After a life began or was confirmed: whatever an event showed is to be settled, and a key frame
 * that does not have it ends it. 0, or -1 without memory. */
int timeline_note_life(struct timeline *tl, enum snap_op op, enum timeline_kind kind,
		       uint32_t place);
void timeline_end_unseen(struct timeline *tl);	     /* after a key frame */
int timeline_note_full(struct timeline *tl);	     /* the frame in hand read everything */
void timeline_settle_sightings(struct timeline *tl); /* after a full reading */
/* The place of the latest one of its key, before or NONE, now leads to a new one. 0, or -1 without
 * memory. */
int timeline_index_latest(struct timeline *tl, struct hashindex *index, uint32_t before,
			  uint32_t place, uint64_t (*hash_of)(const void *, uint32_t));

/* timeline_uses.c. 0, or -1 without memory. */
int timeline_take_use(struct timeline *tl, const struct snap_use *use);
int timeline_take_born(struct timeline *tl, const struct snap_born *born);
int timeline_take_untold(struct timeline *tl, bool streams); /* in the frame in hand */
/* What a process did, or its end, at a time before its fork was another one's of that pid and clock
 * tick, whose fork was not told. */
void timeline_note_before(struct timeline_process *process, int64_t at_ns);
/* At the end of the file: which told lifetime is which read one, which sockets
 * the close events speak of, and the ways of datagrams. */
int timeline_pair(struct timeline *tl);

/* timeline_images.c. 0, or -1 without memory. */
int timeline_take_exec(struct timeline *tl, const struct snap_exec *exec);
int timeline_settle_images(struct timeline *tl); /* once processes are joined */

/* timeline_closes.c: which sockets the close events speak of. The told ones first, by which
 * readings are paired with them, then those that were read; and the closes of datagram sockets.
 * 0, or -1 without memory. */
int timeline_close_told(struct timeline *tl);
int timeline_close_read(struct timeline *tl);
int timeline_order_closes(struct timeline *tl);

/* timeline_order.c, at the end of the file. 0, or -1 without memory. */
int timeline_order_lifetimes(struct timeline *tl);
int timeline_order_turns(struct timeline *tl);
int timeline_order_calls(struct timeline *tl); /* once datagrams are in order */
int timeline_order_images(struct timeline *tl);
int timeline_order_pids(struct timeline *tl);
/* From one time to the other, both included, whichever is the first: where the clock was set, a
 * frame may end before it begins. */
struct timeline_stretch timeline_stretch_between(int64_t a_ns, int64_t b_ns);
/* By time, none touching another. */
void timeline_order_stretches(struct timeline_stretch *stretches, size_t *count);
/* Of stretches in order: how many begin by t; and whether t is in one, with the stretch around it
 * for which that is so. */
size_t timeline_stretches_begun(const struct timeline_stretch *stretches, size_t count,
				int64_t t_ns);
bool timeline_stretch_at(const struct timeline_stretch *stretches, size_t count, int64_t t_ns,
			 struct timeline_stretch *around);

#endif
