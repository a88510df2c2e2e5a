/* judge.c - what the analyzer says, held against the truth. */
#include <inttypes.h>
#include <netinet/in.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analyze/flow.h"
#include "analyze/load.h"
#include "tests/model/model.h"

/* Of one packet at one end. */
struct verdict {
	bool is_there;
	int process; /* MODEL_NOBODY */
	const char *why;
	int shared_by;
	int64_t connection;
};

struct judge {
	const struct model_world *world;
	const struct model_evidence *evidence;
	struct model_score *score;
	uint64_t part_packets;
	bool complain, is_bad;
	sqlite3 *db;
	struct verdict (*verdicts)[2]; /* by packet: sender, receiver */
};

void model_note(struct model_score *score, uint64_t seed, const char *format, ...)
{
	char text[sizeof(score->reasons[0].text)];
	va_list arguments;
	size_t i = 0;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	while (i < score->reason_count && strcmp(score->reasons[i].text, text) != 0)
		i++;
	if (i == sizeof(score->reasons) / sizeof(*score->reasons))
		return;
	if (i == score->reason_count) {
		score->reason_count++;
		memcpy(score->reasons[i].text, text, sizeof(text));
		score->reasons[i].seed = seed;
		score->reasons[i].count = 0;
	}
	score->reasons[i].count++;
}

static void blame(struct judge *judge, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void blame(struct judge *judge, const char *format, ...)
{
	va_list arguments;

	judge->is_bad = true;
	if (!judge->complain)
		return;
	printf("# seed %" PRIu64 ": ", judge->world->seed);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

/* ------------------------------------------------------------- database -- */

static sqlite3_stmt *prepare(struct judge *judge, const char *sql)
{
	sqlite3_stmt *statement;

	if (sqlite3_prepare_v2(judge->db, sql, -1, &statement, NULL) != SQLITE_OK) {
		fprintf(stderr, "model: %s: %s\n", sql, sqlite3_errmsg(judge->db));
		exit(1);
	}
	return statement;
}

static int find_process(const struct model_world *world, uint32_t pid, uint64_t start_ticks)
{
	for (size_t i = 0; i < world->processes.count; i++) {
		const struct model_process *p = &world->processes.items[i];

		/* A start that is known from the fork alone may be one too high. */
		if (p->pid == pid &&
		    (p->start_ticks == start_ticks || p->start_ticks + 1 == start_ticks))
			return (int)i;
	}
	return MODEL_NOBODY;
}

static int find_packet(const struct model_world *world, uint64_t segment, uint64_t number)
{
	for (size_t i = 0; i < world->packets.count; i++) {
		if (world->packets.items[i].segment == segment &&
		    world->packets.items[i].number == number)
			return (int)i;
	}
	return MODEL_NOBODY;
}

static const char *known_word(const unsigned char *text)
{
	static const char *const words[] = {"exact",	 "ahead",     "behind",	     "bound",
					    "wildcard",	 "listener",  "quoted",	     "forwarded",
					    "multicast", "no-socket", "no-holder",   "unreadable",
					    "gap",	 "ambiguous", "before-start"};

	for (size_t i = 0; text != NULL && i < sizeof(words) / sizeof(*words); i++) {
		if (strcmp((const char *)text, words[i]) == 0)
			return words[i];
	}
	return "?";
}

static void read_verdicts(struct judge *judge)
{
	sqlite3_stmt *s = prepare(
		judge,
		"SELECT g.number, k.number, (c.\"end\" = 'orig') = (k.direction = 0), p.pid, "
		"p.start_ticks, coalesce(c.reason, u.rule, c.rule), c.shared_by, "
		"c.connection_id FROM packet k JOIN segment g USING (segment_id) "
		"JOIN connection c USING (connection_id) LEFT JOIN process p "
		"ON p.process_id = c.process_id LEFT JOIN rule u USING (rule_code)");

	while (sqlite3_step(s) == SQLITE_ROW) {
		int place = find_packet(judge->world, (uint64_t)sqlite3_column_int64(s, 0),
					(uint64_t)sqlite3_column_int64(s, 1));
		struct verdict *v;

		if (place < 0) {
			blame(judge, "a packet that was not recorded");
			continue;
		}
		v = &judge->verdicts[place][sqlite3_column_int(s, 2) == 0];
		*v = (struct verdict){true, MODEL_NOBODY, known_word(sqlite3_column_text(s, 5)),
				      sqlite3_column_int(s, 6), sqlite3_column_int64(s, 7)};
		if (sqlite3_column_type(s, 3) == SQLITE_NULL)
			continue;
		v->process = find_process(judge->world, (uint32_t)sqlite3_column_int64(s, 3),
					  (uint64_t)sqlite3_column_int64(s, 4));
		if (v->process == MODEL_NOBODY)
			blame(judge, "a process that never was: %" PRId64,
			      (int64_t)sqlite3_column_int64(s, 3));
	}
	sqlite3_finalize(s);
}

/* ----------------------------------------------------------- accounting -- */

static void want_nothing(struct judge *judge, const char *what, const char *sql)
{
	sqlite3_stmt *s = prepare(judge, sql);

	if (sqlite3_step(s) == SQLITE_ROW) {
		blame(judge, "%s: %" PRId64, what, (int64_t)sqlite3_column_int64(s, 0));
		judge->score->uncounted++;
	}
	sqlite3_finalize(s);
}

static void check_counts(struct judge *judge)
{
	uint64_t written = 0, arp = 0;
	sqlite3_stmt *s;

	for (size_t i = 0; i < judge->world->packets.count; i++) {
		const struct model_packet *p = &judge->world->packets.items[i];

		written += p->segment != 0;
		arp += p->segment != 0 && p->protocol == 0;
		if (p->segment != 0 && p->protocol != 0 && !judge->verdicts[i][0].is_there &&
		    !judge->verdicts[i][1].is_there) {
			blame(judge, "packet %" PRIu64 " of segment %" PRIu64 " has no row",
			      p->number, p->segment);
			judge->score->uncounted++;
		}
	}
	s = prepare(judge, "SELECT coalesce(sum(packets), 0), coalesce(sum(flow_packets), 0) "
			   "FROM segment");
	sqlite3_step(s);
	if ((uint64_t)sqlite3_column_int64(s, 0) != written ||
	    (uint64_t)sqlite3_column_int64(s, 1) != written - arp) {
		blame(judge, "%" PRIu64 " packets written, other numbers found", written);
		judge->score->uncounted++;
	}
	sqlite3_finalize(s);
	judge->score->packets += written;
	want_nothing(judge, "accounting",
		     "SELECT difference FROM accounting WHERE difference <> 0");
	/* What each end sent and received is all that its flow has. */
	want_nothing(judge, "an end's packets",
		     "SELECT c.flow_id FROM connection c JOIN flow f USING (flow_id) "
		     "GROUP BY c.flow_id, c.\"end\" HAVING sum(c.sent_packets) <> "
		     "CASE c.\"end\" WHEN 'orig' THEN f.orig_packets ELSE f.resp_packets END "
		     "OR sum(c.received_packets) <> "
		     "CASE c.\"end\" WHEN 'orig' THEN f.resp_packets ELSE f.orig_packets END");
	/* A packet is somebody's where its connection is, and else nobody's for the same reason. */
	want_nothing(judge, "a packet and its connection",
		     "SELECT k.number FROM packet k JOIN connection c USING (connection_id) "
		     "LEFT JOIN reason q USING (reason_code) "
		     "WHERE (k.rule_code IS NULL) <> (c.process_id IS NULL) "
		     "OR q.reason IS NOT c.reason");
	want_nothing(judge, "traffic without a connection",
		     "SELECT connection_id FROM traffic WHERE connection_id NOT IN "
		     "(SELECT connection_id FROM connection)");
	want_nothing(judge, "packets by rule",
		     "SELECT connection_id FROM connection WHERE process_id IS NOT NULL AND "
		     "exact_packets + ahead_packets + behind_packets + bound_packets + "
		     "wildcard_packets + listener_packets + quoted_packets <> "
		     "sent_packets + received_packets");
}

/* --------------------------------------------------------------- owners -- */

/* Whether a process may be named: who sent or read it; of what has no payload,
 * and so no sender but the kernel, whoever had the connection; of a socket that
 * is said to be shared, whoever had it then. */
static bool may_be_named(const struct model_world *world, const struct model_packet *packet,
			 int side, int process, int shared_by)
{
	const struct model_end *end = &packet->end[side];

	if (end->socket == MODEL_NOBODY)
		return false;
	if (process == end->owner || (world->mode != MODEL_TOLD && process == end->holder))
		return true;
	if (packet->protocol == IPPROTO_TCP && packet->payload_bytes == 0)
		return model_ever_held(world, process, end->socket);
	return shared_by > 1 && model_ever_held(world, process, end->socket);
}

static void describe(const struct judge *judge, const struct model_packet *p, char *text,
		     size_t size)
{
	char from[ENDPOINT_TEXT_SIZE], to[ENDPOINT_TEXT_SIZE];

	snprintf(text, size,
		 "%s %s %" PRIu64 "/%" PRIu64 " at %.6f %s:%u > %s:%u flags %x payload %u",
		 model_mode_names[judge->world->mode], p->protocol == IPPROTO_TCP ? "tcp" : "udp",
		 p->segment, p->number, (double)p->at / 1e9,
		 endpoint_format(&p->from.address, from), p->from.port,
		 endpoint_format(&p->to.address, to), p->to.port, p->flags, p->payload_bytes);
}

static const char *kind_of(const struct model_packet *p, int side)
{
	if (p->protocol != IPPROTO_TCP)
		return side == 0 ? "udp sent" : "udp received";
	return p->payload_bytes == 0 ? "tcp control" : side == 0 ? "tcp sent" : "tcp received";
}

static void judge_end(struct judge *judge, const struct model_packet *p, int side,
		      const struct verdict *v)
{
	const struct model_world *world = judge->world;
	const struct model_end *end = &p->end[side];
	struct model_opinion opinion;
	const char *excuse;
	char text[256];

	if (!end->is_local || !v->is_there)
		return;
	judge->score->ends++;
	opinion = model_ask(world, judge->evidence, p, side);
	if (opinion.process != MODEL_NOBODY)
		judge->score->exact_ends++;
	describe(judge, p, text, sizeof(text));
	if (opinion.process != MODEL_NOBODY && !may_be_named(world, p, side, opinion.process, 2)) {
		model_note(judge->score, world->seed, "the oracle is wrong: %s, %s, %s",
			   model_mode_names[world->mode], kind_of(p, side), opinion.why);
		opinion.process = MODEL_NOBODY;
	}
	if (v->process == MODEL_NOBODY) {
		if (opinion.process == MODEL_NOBODY)
			return;
		judge->score->short_of++;
		if (judge->complain)
			printf("# unknown: %s: %s (%s %d)\n", text, v->why, opinion.why,
			       opinion.process);
		model_note(judge->score, world->seed,
			   "unknown, though the oracle knows: %s, %s, %s: %s",
			   model_mode_names[world->mode], kind_of(p, side), v->why, opinion.why);
		return;
	}
	judge->score->owned++;
	if (opinion.process == MODEL_NOBODY)
		judge->score->beyond++;
	if (may_be_named(world, p, side, v->process, v->shared_by))
		return;
	excuse = model_excuse(world, judge->evidence, p, side, v->process);
	if (excuse != NULL) {
		judge->score->exempt++;
		if (judge->complain)
			printf("# excused: %s: %s end is %s's (process %d), not of %d (socket %d): "
			       "%s\n",
			       text, side == 0 ? "sending" : "receiving", v->why, v->process,
			       end->owner, end->socket, excuse);
		model_note(judge->score, world->seed, "wrong, excused: %s, %s, %s: %s",
			   model_mode_names[world->mode], kind_of(p, side), v->why, excuse);
		return;
	}
	judge->score->wrong++;
	model_note(judge->score, world->seed, "WRONG: %s, %s, %s", model_mode_names[world->mode],
		   kind_of(p, side), v->why);
	blame(judge, "%s: %s end is %s's (process %d), not of %d (socket %d)", text,
	      side == 0 ? "sending" : "receiving", v->why, v->process, end->owner, end->socket);
}

/* Of a conversation of two ends of this host, a packet's row names its sender's:
 * what the other end received is held against the truth by numbers. */
static void judge_receivers(struct judge *judge)
{
	sqlite3_stmt *s = prepare(
		judge,
		"SELECT c.connection_id, c.flow_id, c.received_packets, p.pid, p.start_ticks, "
		"c.shared_by FROM connection c JOIN process p USING (process_id) "
		"WHERE c.received_packets > 0");
	sqlite3_stmt *k = prepare(
		judge, "SELECT g.number, k.number FROM packet k JOIN segment g USING (segment_id) "
		       "JOIN connection c USING (connection_id) WHERE k.flow_id = ?1 AND "
		       "(c.\"end\" <> (SELECT \"end\" FROM connection WHERE connection_id = ?2) "
		       "OR (c.\"end\" = 'orig') <> (k.direction = 0))");

	while (sqlite3_step(s) == SQLITE_ROW) {
		int64_t right = 0;
		bool is_excused = false;
		const struct model_packet *any = NULL;
		int process = find_process(judge->world, (uint32_t)sqlite3_column_int64(s, 3),
					   (uint64_t)sqlite3_column_int64(s, 4));

		sqlite3_reset(k);
		sqlite3_bind_int64(k, 1, sqlite3_column_int64(s, 1));
		sqlite3_bind_int64(k, 2, sqlite3_column_int64(s, 0));
		while (sqlite3_step(k) == SQLITE_ROW) {
			int place = find_packet(judge->world, (uint64_t)sqlite3_column_int64(k, 0),
						(uint64_t)sqlite3_column_int64(k, 1));
			const struct model_packet *p = &judge->world->packets.items[place];

			if (may_be_named(judge->world, p, 1, process, sqlite3_column_int(s, 5))) {
				right++;
				continue;
			}
			any = p;
			is_excused = is_excused || model_excuse(judge->world, judge->evidence, p, 1,
								process) != NULL;
		}
		if (sqlite3_column_int64(s, 2) <= right)
			continue;
		if (is_excused) {
			judge->score->exempt++;
			continue;
		}
		judge->score->wrong++;
		model_note(judge->score, judge->world->seed, "WRONG: %s, %s, by numbers",
			   model_mode_names[judge->world->mode],
			   any != NULL ? kind_of(any, 1) : "nothing");
		blame(judge,
		      "connection %" PRId64 ": %" PRId64 " received by process %d, %" PRId64
		      " truly",
		      (int64_t)sqlite3_column_int64(s, 0), (int64_t)sqlite3_column_int64(s, 2),
		      process, right);
	}
	sqlite3_finalize(k);
	sqlite3_finalize(s);
}

/* Where several qualify, the true one is among them, if any reading or use shows it. */
static void judge_candidates(struct judge *judge)
{
	sqlite3_stmt *s =
		prepare(judge, "SELECT p.pid, p.start_ticks FROM candidate d JOIN process p "
			       "USING (process_id) WHERE d.connection_id = ?1");

	for (size_t i = 0; i < judge->world->packets.count; i++) {
		for (int side = 0; side < 2; side++) {
			const struct model_packet *p = &judge->world->packets.items[i];
			const struct verdict *v = &judge->verdicts[i][side];
			bool is_there = false;

			if (!v->is_there || strcmp(v->why, "ambiguous") != 0 ||
			    p->end[side].owner == MODEL_NOBODY)
				continue;
			sqlite3_reset(s);
			sqlite3_bind_int64(s, 1, v->connection);
			while (sqlite3_step(s) == SQLITE_ROW)
				is_there =
					is_there ||
					may_be_named(
						judge->world, p, side,
						find_process(judge->world,
							     (uint32_t)sqlite3_column_int64(s, 0),
							     (uint64_t)sqlite3_column_int64(s, 1)),
						2);
			if (is_there)
				continue;
			judge->score->left_out++;
			model_note(judge->score, judge->world->seed,
				   "the true one is no candidate: %s, %s%s",
				   model_mode_names[judge->world->mode], kind_of(p, side),
				   model_was_seen(judge->world, judge->evidence, p->end[side].owner,
						  p->end[side].socket)
					   ? ", though it was seen"
					   : "");
		}
	}
	sqlite3_finalize(s);
}

static bool analyze(struct judge *judge, const char *directory)
{
	char database[512], *paths[] = {(char *)directory};
	struct load_options options = {
		.database = database,
		.with_packets = true,
		.workers = 1,
		.part_packets = judge->part_packets,
		.limits = flow_default_limits,
	};
	struct load_result result;
	struct error error = ERROR_NONE;

	snprintf(database, sizeof(database), "%s.db", directory);
	unlink(database);
	if (load_run(paths, 1, &options, &result, &error) != 0 || result.damaged > 0) {
		blame(judge, "analyze: %s", error.message);
		return false;
	}
	if (sqlite3_open_v2(database, &judge->db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK) {
		blame(judge, "no database");
		return false;
	}
	judge->verdicts = calloc(judge->world->packets.count + 1, sizeof(*judge->verdicts));
	read_verdicts(judge);
	return true;
}

static void release(struct judge *judge)
{
	free(judge->verdicts);
	sqlite3_close(judge->db);
}

/* ------------------------------------------------------------ rotations -- */

static void compare_end(const struct judge *judge, const struct model_packet *p, int side,
			const struct verdict *cut, const struct verdict *uncut)
{
	const char *mode = model_mode_names[judge->world->mode];
	uint64_t *count = cut->process == MODEL_NOBODY	   ? &judge->score->cut_unknown
			  : uncut->process == MODEL_NOBODY ? &judge->score->uncut_unknown
							   : &judge->score->cut_otherwise;
	char text[256];

	if (!cut->is_there || !uncut->is_there)
		return;
	judge->score->compared++;
	if (cut->process == uncut->process)
		return;
	(*count)++;
	model_note(judge->score, judge->world->seed, "by rotations: %s, %s: %s; without: %s", mode,
		   kind_of(p, side), cut->why, uncut->why);
	if (!judge->complain)
		return;
	describe(judge, p, text, sizeof(text));
	printf("# by rotations: %s: %s end is %s (process %d), without them %s (%d), truly %d\n",
	       text, side == 0 ? "sending" : "receiving", cut->why, cut->process, uncut->why,
	       uncut->process, p->end[side].owner);
}

/* The same once more, as if the recorder had never rotated: who is named does not hang on that. */
static void judge_uncut(struct judge *judge, const char *directory)
{
	struct model_world world = *judge->world;
	struct judge uncut = *judge;
	char path[512];

	snprintf(path, sizeof(path), "%s.uncut", directory);
	uncut.world = &world;
	model_write_uncut(&world, judge->evidence, path);
	if (analyze(&uncut, path)) {
		for (size_t i = 0; i < world.packets.count; i++) {
			for (int side = 0; side < 2; side++)
				compare_end(judge, &judge->world->packets.items[i], side,
					    &judge->verdicts[i][side], &uncut.verdicts[i][side]);
		}
		release(&uncut);
	}
	judge->is_bad = judge->is_bad || uncut.is_bad;
	free(world.packets.items);
}

bool model_judge(const struct model_world *world, const struct model_evidence *evidence,
		 const char *directory, uint64_t part_packets, bool complain,
		 struct model_score *score)
{
	struct judge judge = {.world = world,
			      .evidence = evidence,
			      .score = score,
			      .part_packets = part_packets,
			      .complain = complain};

	if (!analyze(&judge, directory))
		return false;
	score->histories++;
	check_counts(&judge);
	for (size_t i = 0; i < world->packets.count; i++) {
		for (int side = 0; side < 2; side++)
			judge_end(&judge, &world->packets.items[i], side, &judge.verdicts[i][side]);
	}
	judge_receivers(&judge);
	judge_candidates(&judge);
	/* Where the clock was set, which file a packet is in tells when it was. */
	if (evidence->rotations.count > 1 && world->jumps.count == 0)
		judge_uncut(&judge, directory);
	release(&judge);
	return !judge.is_bad;
}
