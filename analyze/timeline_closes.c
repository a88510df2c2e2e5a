/* Which socket the kernel's word on a close speaks of. It has the tuple and the kernel's cookie,
 * and comes late: by then the tuple may be another socket's. */
#include "analyze/timeline_internal.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/walk.h"

/* Closes by tuple, namespace and time, and by cookie; the told sockets of the tuple in hand. */
struct closing {
	struct timeline *tl;
	uint32_t *closes, *by_cookie;
	bool *is_taken; /* by place in by_cookie: some socket's own */
	uint32_t *told;
	/* By place in told: when one that was opened after it closed, as its cookie says. */
	int64_t *limits;
	size_t told_count;
};

static int compare_numbers(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static bool is_stream(const struct snap_closed *closed)
{
	uint8_t protocol = snap_table_protocol(closed->table);

	return protocol == IPPROTO_TCP || protocol == IPPROTO_SCTP;
}

static int compare_ends(const struct endpoint *a, const struct endpoint *b)
{
	return a->port != b->port ? compare_numbers(a->port, b->port)
				  : memcmp(a->address.bytes, b->address.bytes, 16);
}

static int compare_tuples(const struct snap_closed *a, const struct snap_closed *b)
{
	uint8_t protocol = snap_table_protocol(a->table), other = snap_table_protocol(b->table);
	int result;

	if (protocol != other)
		return compare_numbers(protocol, other);
	result = compare_ends(&a->local, &b->local);
	return result != 0 ? result : compare_ends(&a->remote, &b->remote);
}

static int compare_places(const struct snap_closed *a, const struct snap_closed *b)
{
	int result = compare_tuples(a, b);

	return result != 0 ? result : compare_numbers(a->netns, b->netns);
}

static int compare_closes(const void *left, const void *right, void *context)
{
	const struct timeline *tl = context;
	uint32_t i = *(const uint32_t *)left, j = *(const uint32_t *)right;
	const struct snap_closed *a = &tl->closes[i], *b = &tl->closes[j];
	int result = compare_places(a, b);

	if (result == 0)
		result = (a->closed_ns > b->closed_ns) - (a->closed_ns < b->closed_ns);
	return result != 0 ? result : compare_numbers(i, j);
}

static int compare_openings(const void *left, const void *right, void *context)
{
	const struct timeline *tl = context;
	uint32_t i = *(const uint32_t *)left, j = *(const uint32_t *)right;
	const struct timeline_socket *a = &tl->sockets[i], *b = &tl->sockets[j];

	if (a->netns != b->netns)
		return compare_numbers(a->netns, b->netns);
	return a->opened_ns != b->opened_ns ? (a->opened_ns > b->opened_ns ? 1 : -1)
					    : compare_numbers(i, j);
}

static int compare_cookies(const void *left, const void *right, void *context)
{
	const struct timeline *tl = context;
	uint32_t i = *(const uint32_t *)left, j = *(const uint32_t *)right;
	int result = compare_numbers(tl->closes[i].cookie, tl->closes[j].cookie);

	return result != 0 ? result : compare_numbers(i, j);
}

/* By the order. NULL without memory. */
static uint32_t *sort_closes(struct timeline *tl, int (*order)(const void *, const void *, void *))
{
	uint32_t *closes = malloc((tl->count.closes + 1) * sizeof(*closes));

	for (uint32_t i = 0; closes != NULL && i < tl->count.closes; i++)
		closes[i] = i;
	if (closes != NULL)
		qsort_r(closes, tl->count.closes, sizeof(*closes), order, tl);
	return closes;
}

/* Those of a tuple, in order of their openings; of all namespaces, or of one and of no known one.
 * Whether there are any of no known one. */
static bool find_told(struct closing *c, const struct snap_closed *closed, bool all)
{
	const struct timeline *tl = c->tl;
	struct timeline_places places =
		timeline_lifetimes(tl, timeline_told(tl, snap_table_protocol(closed->table),
						     &closed->local, &closed->remote));
	bool any = false;

	c->told_count = 0;
	for (size_t i = 0; i < places.count; i++) {
		uint64_t netns = tl->sockets[places.places[i]].netns;

		walk_step();
		any = any || netns == 0;
		if (all || netns == 0 || netns == closed->netns)
			c->told[c->told_count++] = places.places[i];
	}
	return any;
}

/* A told socket's, which is told, or was read; 0: not known. */
static uint64_t own_cookie(const struct timeline *tl, const struct timeline_socket *s)
{
	return s->cookie != 0 || s->other == TIMELINE_NONE ? s->cookie
							   : tl->sockets[s->other].cookie;
}

/* Whether the cookie of a close is known not to be that of a told socket. */
static bool is_others(const struct timeline *tl, const struct timeline_socket *s,
		      const struct snap_closed *closed)
{
	uint64_t own = own_cookie(tl, s);

	return own != 0 && closed->cookie != 0 && own != closed->cookie;
}

static void set_closed(const struct timeline *tl, struct timeline_socket *s,
		       const struct snap_closed *closed)
{
	s->closed = *closed;
	s->close = (uint32_t)(closed - tl->closes);
}

/* The close of that cookie, a place in by_cookie; count: none. */
static size_t find_cookie(const struct timeline *tl, const uint32_t *by_cookie, uint64_t cookie)
{
	size_t low = 0, high = tl->count.closes;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (tl->closes[by_cookie[middle]].cookie < cookie)
			low = middle + 1;
		else
			high = middle;
	}
	return cookie != 0 && low < tl->count.closes && tl->closes[by_cookie[low]].cookie == cookie
		       ? low
		       : tl->count.closes;
}

/* The close that has the socket's own cookie, a place in by_cookie, if it is of this tuple and
 * namespace and no other's; count: none. */
static size_t find_own(const struct closing *c, uint32_t socket, const struct snap_closed *of)
{
	const struct timeline *tl = c->tl;
	size_t place = find_cookie(tl, c->by_cookie, own_cookie(tl, &tl->sockets[socket]));

	return place < tl->count.closes && !c->is_taken[place] &&
			       compare_places(&tl->closes[c->by_cookie[place]], of) == 0
		       ? place
		       : tl->count.closes;
}

/* Those whose cookie tells are in no order: the recorder hears of two that closed at about one time
 * as they come. Leaves the told, from c->told[at] on, and the closes [from, *until) of one
 * namespace that the order is for. */
static size_t close_known(struct closing *c, size_t from, size_t *until, size_t at, size_t count)
{
	struct timeline *tl = c->tl;
	const struct snap_closed *first = &tl->closes[c->closes[from]];
	size_t sockets = at, closes = from;
	int64_t limit_ns = INT64_MAX;

	for (size_t i = at + count; i-- > at;) {
		struct timeline_socket *s = &tl->sockets[c->told[i]];
		size_t place = find_own(c, c->told[i], first);

		c->limits[i] = limit_ns;
		if (place == tl->count.closes)
			continue;
		set_closed(tl, s, &tl->closes[c->by_cookie[place]]);
		c->is_taken[place] = true;
		if (s->closed.closed_ns < limit_ns)
			limit_ns = s->closed.closed_ns;
	}
	for (size_t i = at; i < at + count; i++) {
		if (tl->sockets[c->told[i]].closed.closed_ns != 0)
			continue;
		c->limits[sockets] = c->limits[i];
		c->told[sockets++] = c->told[i];
	}
	for (size_t i = from; i < *until; i++) {
		uint32_t close = c->closes[i];
		size_t place = find_cookie(tl, c->by_cookie, tl->closes[close].cookie);

		if (place == tl->count.closes || !c->is_taken[place])
			c->closes[closes++] = close;
	}
	*until = closes;
	return sockets - at;
}

/* A tuple's sockets open one after the other, and close in that order. As many closes as sockets
 * that had been opened by then: each has its own. As long as there are fewer, one is late or was
 * lost. One too many is of a socket that was not told, and the one before it may be that one's
 * too. The closes [from, until) are of one namespace, and so are the told. */
static void close_run(struct closing *c, size_t from, size_t until, size_t at, size_t count)
{
	struct timeline *tl = c->tl;
	const uint32_t *told = c->told + at;
	size_t told_count = close_known(c, from, &until, at, count);
	size_t next = 0; /* of told: the first without a close */
	size_t opened = 0, waiting = 0;

	for (size_t i = from; i < until; i++) {
		const struct snap_closed *closed = &tl->closes[c->closes[i]];

		if (opened < next)
			opened = next;
		while (opened < told_count &&
		       tl->sockets[told[opened]].opened_ns <= closed->closed_ns)
			opened++;
		if (opened == next && waiting == 0) {
			if (next > 0)
				tl->sockets[told[next - 1]].closed.closed_ns = 0;
			continue;
		}
		if (++waiting < opened - next)
			continue;
		for (; waiting > 0; waiting--, next++) {
			closed = &tl->closes[c->closes[i + 1 - waiting]];
			if (!is_others(tl, &tl->sockets[told[next]], closed) &&
			    closed->closed_ns <= c->limits[at + next])
				set_closed(tl, &tl->sockets[told[next]], closed);
		}
	}
}

/* The end of the run of closes like the first that a comparison finds. */
static size_t run_end(const struct closing *c, size_t from, size_t count,
		      int (*compare)(const struct snap_closed *, const struct snap_closed *))
{
	const struct snap_closed *closes = c->tl->closes;
	size_t until = from + 1;

	while (until < count && compare(&closes[c->closes[from]], &closes[c->closes[until]]) == 0)
		until++;
	return until;
}

/* A socket that was told in no known namespace is of the one that the tuple's closes are of. Where
 * they are of several, the order tells nothing about any of them. */
static void close_tuple(struct closing *c, size_t from, size_t until)
{
	const struct timeline *tl = c->tl;
	bool is_one = run_end(c, from, until, compare_places) == until;
	bool is_unplaced = find_told(c, &tl->closes[c->closes[from]], !is_one);
	size_t told = 0, told_end;

	if (is_one)
		close_run(c, from, until, 0, c->told_count);
	if (is_one || is_unplaced)
		return;
	qsort_r(c->told, c->told_count, sizeof(*c->told), compare_openings, c->tl);
	for (size_t end; from < until; from = end, told = told_end) {
		uint64_t netns = tl->closes[c->closes[from]].netns;

		end = run_end(c, from, until, compare_places);
		while (told < c->told_count && tl->sockets[c->told[told]].netns < netns)
			told++;
		told_end = told;
		while (told_end < c->told_count && tl->sockets[c->told[told_end]].netns == netns)
			told_end++;
		close_run(c, from, end, told, told_end - told);
	}
}

/* What is said twice is one: a rotation repeats what was told just before it. */
static size_t drop_repeats(const struct closing *c)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->tl->count.closes; i++) {
		const struct snap_closed *closed = &c->tl->closes[c->closes[i]], *before;

		before = kept > 0 ? &c->tl->closes[c->closes[kept - 1]] : NULL;
		if (before == NULL || closed->cookie == 0 || closed->cookie != before->cookie ||
		    compare_places(closed, before) != 0)
			c->closes[kept++] = c->closes[i];
	}
	return kept;
}

int timeline_close_told(struct timeline *tl)
{
	struct closing c = {.tl = tl};
	size_t count;
	int status = -1;

	if (tl->count.closes == 0)
		return 0;
	c.closes = sort_closes(tl, compare_closes);
	c.by_cookie = sort_closes(tl, compare_cookies);
	c.is_taken = calloc(tl->count.closes, sizeof(*c.is_taken));
	c.told = malloc((tl->count.sockets + 1) * sizeof(*c.told));
	c.limits = malloc((tl->count.sockets + 1) * sizeof(*c.limits));
	if (c.limits == NULL || c.closes == NULL || c.by_cookie == NULL || c.is_taken == NULL ||
	    c.told == NULL)
		goto out;
	for (size_t i = 0; i < tl->count.sockets; i++) {
		if (tl->sockets[i].opened_ns != 0)
			tl->sockets[i].closed.closed_ns = 0;
	}
	count = drop_repeats(&c);
	for (size_t from = 0, until; from < count; from = until) {
		until = run_end(&c, from, count, compare_tuples);
		close_tuple(&c, from, until);
	}
	status = 0;
out:
	free(c.limits);
	free(c.told);
	free(c.is_taken);
	free(c.by_cookie);
	free(c.closes);
	return status;
}

/* How many of those by tuple and time come before the place and time of one that is wanted. */
static size_t closes_before(const struct timeline *tl, const uint32_t *by_tuple, size_t count,
			    const struct snap_closed *wanted)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct snap_closed *closed = &tl->closes[by_tuple[middle]];
		int result = compare_places(closed, wanted);

		walk_step();
		if (result < 0 || (result == 0 && closed->closed_ns < wanted->closed_ns))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Without a cookie: the first close of the tuple after the socket was last seen. NULL: none. */
#define OTHER_CLOSES 64 /* of sockets that are none of these; so many are looked past */

static const struct snap_closed *close_after(const struct timeline *tl, const uint32_t *by_tuple,
					     const struct timeline_socket *s)
{
	const struct snap_closed wanted = {.netns = s->netns,
					   .table = s->table,
					   .local = s->local,
					   .remote = s->remote,
					   .closed_ns = tl->frames[s->life.last].begin_ns};
	size_t low = closes_before(tl, by_tuple, tl->count.closes, &wanted), high;

	for (high = low + OTHER_CLOSES; low < tl->count.closes && low < high; low++) {
		const struct snap_closed *closed = &tl->closes[by_tuple[low]];

		if (compare_places(closed, &wanted) != 0)
			return NULL;
		if (closed->inode == 0 || closed->inode == s->inode)
			return closed;
	}
	return NULL;
}

/* What a reading knows of its close is what the same socket's uses know. */
static void close_one(struct timeline *tl, struct timeline_socket *s, const uint32_t *by_tuple,
		      const uint32_t *by_cookie)
{
	size_t place = find_cookie(tl, by_cookie, s->cookie);
	const struct snap_closed *closed = NULL;

	if (place < tl->count.closes)
		closed = &tl->closes[by_cookie[place]];
	else if (s->other != TIMELINE_NONE && tl->sockets[s->other].closed.closed_ns != 0)
		closed = &tl->closes[tl->sockets[s->other].close];
	else if (s->cookie == 0 &&
		 timeline_told(tl, s->protocol, &s->local, &s->remote) == TIMELINE_NONE)
		closed = close_after(tl, by_tuple, s);
	if (closed == NULL)
		return;
	set_closed(tl, s, closed);
	if (s->other != TIMELINE_NONE)
		set_closed(tl, &tl->sockets[s->other], closed);
}

/* A told socket has no close whose cookie is another one's: it is the socket that was read with
 * that cookie, or not the one that closed. */
static void check_told(struct timeline *tl, const uint32_t *by_cookie, const uint32_t *owners)
{
	for (uint32_t i = 0; i < tl->count.sockets; i++) {
		struct timeline_socket *s = &tl->sockets[i], *read;
		size_t place;

		if (s->opened_ns == 0 || s->closed.closed_ns == 0)
			continue;
		/* Of one that was not told: the next of the tuple took its place in the order. */
		if (is_others(tl, s, &s->closed)) {
			s->closed.closed_ns = 0;
			continue;
		}
		place = find_cookie(tl, by_cookie, s->closed.cookie);
		if (place == tl->count.closes || owners[place] == TIMELINE_NONE ||
		    owners[place] == s->other)
			continue;
		read = &tl->sockets[owners[place]];
		if (s->other == TIMELINE_NONE && read->other == TIMELINE_NONE) {
			s->other = owners[place];
			read->other = i;
		} else {
			s->closed.closed_ns = 0;
		}
	}
}

/* What was said twice is a told socket's if it is once. */
static int note_untold(struct timeline *tl, const uint32_t *by_tuple)
{
	bool *is_told = calloc(tl->count.closes, sizeof(*is_told));

	tl->untold_closes = malloc(tl->count.closes * sizeof(*tl->untold_closes));
	if (is_told == NULL || tl->untold_closes == NULL) {
		free(is_told);
		return -1;
	}
	for (size_t i = 0; i < tl->count.sockets; i++) {
		const struct timeline_socket *s = &tl->sockets[i];

		if (s->opened_ns != 0 && s->closed.closed_ns != 0)
			is_told[s->close] = true;
	}
	for (size_t i = 0, until; i < tl->count.closes; i = until) {
		const struct snap_closed *first = &tl->closes[by_tuple[i]];
		bool any = is_told[by_tuple[i]];

		for (until = i + 1; until < tl->count.closes; until++) {
			const struct snap_closed *next = &tl->closes[by_tuple[until]];

			if (first->cookie == 0 || first->cookie != next->cookie ||
			    compare_places(first, next) != 0)
				break;
			any = any || is_told[by_tuple[until]];
		}
		if (!any && is_stream(first))
			tl->untold_closes[tl->untold_close_count++] = by_tuple[i];
	}
	free(is_told);
	return 0;
}

bool timeline_closed_untold(const struct timeline *tl, uint32_t socket, int64_t from_ns,
			    int64_t until_ns)
{
	const struct timeline_socket *s = &tl->sockets[socket];
	struct snap_closed wanted = {.netns = s->netns != 0 ? s->netns : tl->capture_netns,
				     .table = s->table,
				     .local = s->local,
				     .remote = s->remote};
	size_t before;

	if (until_ns <= from_ns)
		return false;
	wanted.closed_ns = from_ns + 1;
	before = closes_before(tl, tl->untold_closes, tl->untold_close_count, &wanted);
	wanted.closed_ns = until_ns + 1;
	return closes_before(tl, tl->untold_closes, tl->untold_close_count, &wanted) > before;
}

int timeline_close_read(struct timeline *tl)
{
	uint32_t *by_tuple, *by_cookie, *owners;
	int status = -1;

	if (tl->count.closes == 0)
		return 0;
	by_tuple = sort_closes(tl, compare_closes);
	by_cookie = sort_closes(tl, compare_cookies);
	owners = malloc(tl->count.closes * sizeof(*owners));
	if (by_tuple == NULL || by_cookie == NULL || owners == NULL)
		goto out;
	for (size_t i = 0; i < tl->count.closes; i++)
		owners[i] = TIMELINE_NONE;
	for (uint32_t i = 0; i < tl->count.sockets; i++) {
		const struct timeline_socket *s = &tl->sockets[i];
		size_t place = find_cookie(tl, by_cookie, s->cookie);

		if (s->opened_ns == 0 && s->inode != 0 && place < tl->count.closes)
			owners[place] = i;
	}
	check_told(tl, by_cookie, owners);
	for (uint32_t i = 0; i < tl->count.sockets; i++) {
		struct timeline_socket *s = &tl->sockets[i];

		if (s->opened_ns == 0 && s->inode != 0 && s->connected)
			close_one(tl, s, by_tuple, by_cookie);
	}
	status = note_untold(tl, by_tuple);
out:
	free(by_tuple);
	free(by_cookie);
	free(owners);
	return status;
}

/* ----------------------------------------------------------- datagrams -- */

/* Those of a local end or, where its address is any, of none in particular, with one peer or, where
 * its port is 0, with none, until some time. */
struct port_closes {
	uint8_t protocol;
	struct endpoint local, remote;
	int64_t until_ns;
};

static struct port_closes closes_like(const struct snap_closed *closed)
{
	struct port_closes like = {.protocol = snap_table_protocol(closed->table),
				   .local = {.port = closed->local.port},
				   .until_ns = closed->closed_ns};

	if (!endpoint_is_any(&closed->local.address))
		like.local = closed->local;
	if (closed->remote.port != 0)
		like.remote = closed->remote;
	return like;
}

static int compare_ports(const struct port_closes *a, const struct port_closes *b)
{
	int result;

	if (a->protocol != b->protocol)
		return compare_numbers(a->protocol, b->protocol);
	result = compare_ends(&a->local, &b->local);
	if (result == 0)
		result = compare_ends(&a->remote, &b->remote);
	return result != 0 ? result : (a->until_ns > b->until_ns) - (a->until_ns < b->until_ns);
}

static int compare_in_order(const void *left, const void *right, void *context)
{
	const struct timeline *tl = context;
	uint32_t i = *(const uint32_t *)left, j = *(const uint32_t *)right;
	struct port_closes a = closes_like(&tl->closes[i]), b = closes_like(&tl->closes[j]);
	int result = compare_ports(&a, &b);

	return result != 0 ? result : compare_numbers(i, j);
}

int timeline_order_closes(struct timeline *tl)
{
	tl->closes_in_order = malloc((tl->count.closes + 1) * sizeof(*tl->closes_in_order));
	if (tl->closes_in_order == NULL)
		return -1;
	for (uint32_t i = 0; i < tl->count.closes; i++) {
		if (!is_stream(&tl->closes[i]))
			tl->closes_in_order[tl->closes_in_order_count++] = i;
	}
	qsort_r(tl->closes_in_order, tl->closes_in_order_count, sizeof(*tl->closes_in_order),
		compare_in_order, tl);
	return 0;
}

/* How many there are in the order up to those wanted, themselves included. */
static size_t count_until(const struct timeline *tl, struct port_closes wanted, int64_t until_ns)
{
	size_t low = 0, high = tl->closes_in_order_count;

	wanted.until_ns = until_ns;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct port_closes have = closes_like(&tl->closes[tl->closes_in_order[middle]]);

		walk_step();
		if (compare_ports(&have, &wanted) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

size_t timeline_closed(const struct timeline *tl, uint8_t protocol, const struct endpoint *local,
		       const struct endpoint *remote, int64_t from_ns, int64_t until_ns)
{
	const struct endpoint any = {.port = local->port}, nobody = {.port = 0};
	const struct endpoint *locals[] = {&any, local}, *remotes[] = {&nobody, remote};
	size_t count = 0;

	if (until_ns <= from_ns)
		return 0;
	for (size_t i = 0; i < (endpoint_is_any(&local->address) ? 1u : 2u); i++) {
		for (size_t j = 0; j < (remote->port == 0 ? 1u : 2u); j++) {
			struct port_closes wanted = {
				.protocol = protocol, .local = *locals[i], .remote = *remotes[j]};

			count += count_until(tl, wanted, until_ns) -
				 count_until(tl, wanted, from_ns);
		}
	}
	return count;
}
