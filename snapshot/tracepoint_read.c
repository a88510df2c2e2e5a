/* The records of all processors' buffers, in the order of their times. */
#include "snapshot/tracepoint_internal.h"

#include <string.h>
#include <time.h>

#include "snapshot/format/quantity.h"

/* No record is larger (PERF_MAX_TRACE_SIZE of the kernel, and the head): with
 * less room than this, the next may have been left out. */
#define RECORD_BYTES_MOST (8192 + 64)

static void release(struct tracepoint_ring *ring)
{
	if (ring->released != ring->at)
		__atomic_store_n(&ring->page->data_tail, ring->at, __ATOMIC_RELEASE);
	ring->released = ring->at;
}

/* Finds the next record and its time. Sizes and places are multiples of 8, so
 * neither header nor time ever lies across the buffer's end. False: there is
 * none in this round. */
static bool find_next(const struct tracepoint_source *source, struct tracepoint_ring *ring)
{
	size_t mask = source->ring_bytes - 1;

	while (ring->at < ring->head) {
		struct perf_event_header header;
		size_t time_at;

		memcpy(&header, ring->data + (ring->at & mask), sizeof(header));
		if (header.size < sizeof(header) || header.size % 8 ||
		    header.size > ring->head - ring->at) {
			/* Nothing says where the next would begin. */
			ring->at = ring->head;
			ring->unsure = true;
			break;
		}
		time_at = header.type == PERF_RECORD_SAMPLE ? 16 : header.size - 8u;
		if (header.size >= sizeof(header) + 16) {
			ring->size = header.size;
			memcpy(&ring->time_ns, ring->data + ((ring->at + time_at) & mask),
			       sizeof(ring->time_ns));
			return true;
		}
		ring->at += header.size;
	}
	ring->size = 0;
	ring->time_ns = source->until_ns;
	return ring->unsure;
}

static void sift_down(struct tracepoint_source *source, size_t i)
{
	struct tracepoint_ring **heap = source->heap, *moved = heap[i];

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= source->heap_count)
			break;
		if (child + 1 < source->heap_count &&
		    heap[child + 1]->time_ns < heap[child]->time_ns)
			child++;
		if (heap[child]->time_ns >= moved->time_ns)
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = moved;
}

/* What the kernel has written by now. Later records wait for the next round, so
 * that the buffers' heads, which other processors write, are read only here. */
static void begin_round(struct tracepoint_source *source, int64_t until_ns)
{
	source->in_round = true;
	source->until_ns = until_ns;
	source->heap_count = 0;
	for (size_t i = 0; i < source->ring_count; i++) {
		struct tracepoint_ring *ring = &source->rings[i];

		ring->head = __atomic_load_n(&ring->page->data_head, __ATOMIC_ACQUIRE);
		if (source->ring_bytes - (ring->head - ring->released) < RECORD_BYTES_MOST)
			ring->unsure = true;
		if (find_next(source, ring))
			source->heap[source->heap_count++] = ring;
	}
	for (size_t i = source->heap_count / 2; i-- > 0;)
		sift_down(source, i);
}

/* The buffer was full or unreadable, and is now read to where that was found. */
static void tell_loss(struct tracepoint_ring *ring, int64_t until_ns, struct tracepoint_event *out)
{
	int64_t now_ns = quantity_now_ns(CLOCK_MONOTONIC);

	ring->unsure = false;
	out->kind = TRACEPOINT_LOST;
	out->time_ns = now_ns < until_ns ? now_ns : until_ns;
	out->pid = out->tid = 0;
	out->in_task = false;
	out->sk = 0;
	out->u.lost = 0;
}

/* Takes the next record: true if it is an event. */
static bool take(struct tracepoint_source *source, struct tracepoint_ring *ring,
		 struct tracepoint_event *out)
{
	size_t offset = ring->at & (source->ring_bytes - 1);
	size_t left = source->ring_bytes - offset;
	const uint8_t *record = ring->data + offset;
	bool got = true;

	if (ring->size == 0) {
		tell_loss(ring, source->until_ns, out);
	} else {
		if (ring->size > left) {
			memcpy(source->scratch, record, left);
			memcpy(source->scratch + left, ring->data, ring->size - left);
			record = source->scratch;
		}
		got = tracepoint_parse(&source->layout, record, ring->size, out) > 0;
		ring->at += ring->size;
		/* Not at each record: the kernel reads the same cache line. */
		if (ring->at - ring->released > source->ring_bytes / 8)
			release(ring);
	}
	if (got)
		out->cpu = ring->cpu;
	return got;
}

int tracepoint_next(struct tracepoint_source *source, int64_t until_ns,
		    struct tracepoint_event *out)
{
	if (!source->in_round || until_ns != source->until_ns)
		begin_round(source, until_ns);
	while (source->heap_count && source->heap[0]->time_ns <= until_ns) {
		struct tracepoint_ring *ring = source->heap[0];
		bool got = take(source, ring, out);

		if (!find_next(source, ring))
			source->heap[0] = source->heap[--source->heap_count];
		if (source->heap_count)
			sift_down(source, 0);
		if (got)
			return 1;
	}
	for (size_t i = 0; i < source->ring_count; i++)
		release(&source->rings[i]);
	source->in_round = false;
	return 0;
}
