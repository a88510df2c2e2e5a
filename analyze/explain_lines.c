/* The records of the evidence that an answer rests on, read again. */
#include "analyze/explain_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"

/* ---------------------------------------------------------------- wanting -- */

static struct explain_line *add_line(struct explain_lines *lines, const char *file,
				     const struct witness *witness)
{
	struct explain_line *line;

	if (grow_one(&lines->items, lines->count, &lines->capacity, sizeof(*lines->items)) != 0)
		return NULL;
	line = &lines->items[lines->count++];
	*line = (struct explain_line){.file = file, .witness = *witness};
	return line;
}

/* Whether a line says what the row says that it stands for. */
static void judge_line(struct explain_line *line)
{
	const struct witness *w = &line->witness;
	const struct chain_row *row = line->row;
	int64_t uid = row == NULL ? CHAIN_NULL : chain_number(row, "uid");

	line->state = EXPLAIN_DIFFERS;
	if (w->line == 0 && w->sequence != 0)
		explain_remark(&line->remark, "there is no such record in frame %" PRIu64,
			       w->sequence);
	else if (w->line == 0)
		explain_remark(&line->remark, "there is no record of pid %u with this program",
			       w->pid);
	else if (row != NULL && w->type == SNAP_TYPE_SOCKET && w->inode != 0 &&
		 chain_number(row, "inode") != (int64_t)w->inode)
		explain_remark(&line->remark, "the database has inode %" PRId64,
			       chain_number(row, "inode"));
	else if (row != NULL && w->type == SNAP_TYPE_PROCESS &&
		 chain_number(row, "pid") != (int64_t)w->pid)
		explain_remark(&line->remark, "the database has pid %" PRId64,
			       chain_number(row, "pid"));
	else if (w->type == SNAP_TYPE_PROCESS && !w->same_program)
		explain_remark(&line->remark, "the database has another program");
	else if (w->type == SNAP_TYPE_PROCESS && uid != CHAIN_NULL && uid != (int64_t)w->uid)
		explain_remark(&line->remark, "the database has uid %" PRId64, uid);
	else
		line->state = EXPLAIN_SAME;
}

static const struct chain_row *row_of(const struct explain_links *links)
{
	return links->count > 0 && links->items[0].database.count > 0 ? &links->items[0].database
								      : NULL;
}

static void expect_program(struct witness *w, const struct chain_row *row)
{
	if (row == NULL || w->type != SNAP_TYPE_PROCESS)
		return;
	w->comm = chain_text(row, "comm");
	w->exe = chain_text(row, "exe");
	w->cmdline = chain_text(row, "cmdline");
}

/* The line of a parent or a candidate, in the segment that saw it first. */
static int want_person(const struct explain_report *report, struct explain_connection *c,
		       struct explain_link *link, struct error *error)
{
	const struct chain_row *row = &link->database;
	int64_t pid = chain_number(row, "pid"), start = chain_number(row, "start_ticks");
	struct witness person = {.type = SNAP_TYPE_PROCESS,
				 .pid = (uint32_t)pid,
				 .start_ticks = (uint64_t)start,
				 .only_program = true};
	const struct explain_segment *s =
		explain_segment_of(report, chain_number(row, "_segment_id"));
	struct explain_line *line;

	if (pid == CHAIN_NULL || start == CHAIN_NULL || s == NULL || s->snap == NULL)
		return 0;
	expect_program(&person, row);
	line = add_line(&c->lines, s->snap, &person);
	if (line == NULL)
		return explain_no_memory(error);
	line->row = row;
	link->line = c->lines.count;
	return 0;
}

static int want_witness(struct explain_connection *c, const struct witness *witness,
			struct error *error)
{
	struct explain_line *line = add_line(&c->lines, c->snap, witness);

	if (line == NULL)
		return explain_no_memory(error);
	line->row = witness->type == SNAP_TYPE_SOCKET	 ? row_of(&c->socket)
		    : witness->type == SNAP_TYPE_PROCESS ? row_of(&c->process)
							 : NULL;
	expect_program(&line->witness, line->row);
	if (witness->type == SNAP_TYPE_PROCESS && c->process.count > 0)
		c->process.items[0].line = c->lines.count;
	return 0;
}

int explain_want_lines(const struct explain_report *report, struct explain_connection *c,
		       struct error *error)
{
	struct witness frame = {.type = SNAP_TYPE_FRAME};
	const struct trace_end *end;
	int status = 0;

	if (c->judged == NULL || c->snap == NULL)
		return 0;
	end = &c->judged->end[c->side];
	frame.sequence = end->frame.sequence;
	if (frame.sequence != 0)
		status = want_witness(c, &frame, error);
	for (size_t i = 0; i < end->witness_count && status == 0; i++)
		status = want_witness(c, &end->witness[i], error);
	for (size_t i = 0; i < c->parents.count && status == 0; i++)
		status = want_person(report, c, &c->parents.items[i], error);
	for (size_t i = 0; i < c->candidates.count && status == 0; i++)
		status = want_person(report, c, &c->candidates.items[i], error);
	return status;
}

/* --------------------------------------------------------------- reading -- */

static int compare_files(const void *a, const void *b)
{
	const struct explain_line *const *p = a, *const *q = b;

	return strcmp((*p)->file, (*q)->file);
}

/* Reads the lines of one file. */
static int read_lines_of(struct explain_report *report, struct explain_line **lines, size_t count,
			 struct error *error)
{
	struct witness *wanted = calloc(count, sizeof(*wanted));
	struct error why = ERROR_NONE;
	int status;

	if (wanted == NULL)
		return explain_no_memory(error);
	for (size_t i = 0; i < count; i++)
		wanted[i] = lines[i]->witness;
	status = witness_read(report->directory, lines[0]->file, wanted, count, &why);
	for (size_t i = 0; i < count; i++)
		lines[i]->witness = wanted[i];
	free(wanted);
	if (status != 0 && status != ERROR_DAMAGED) {
		*error = why;
		return status;
	}
	return 0;
}

int explain_read_lines(struct explain_report *report, struct error *error)
{
	struct explain_line **all;
	size_t count = 0, total = 0, run;
	int status = 0;

	for (size_t i = 0; i < report->connection_count; i++)
		total += report->connections[i].lines.count;
	all = calloc(total + 1, sizeof(struct explain_line *));
	if (all == NULL)
		return explain_no_memory(error);
	for (size_t i = 0; i < report->connection_count; i++) {
		struct explain_lines *lines = &report->connections[i].lines;

		for (size_t n = 0; n < lines->count; n++)
			all[count++] = &lines->items[n];
	}
	qsort(all, count, sizeof(struct explain_line *), compare_files);
	for (size_t i = 0; i < count && status == 0; i += run) {
		for (run = 1; i + run < count && compare_files(&all[i], &all[i + run]) == 0; run++)
			;
		status = read_lines_of(report, &all[i], run, error);
	}
	for (size_t i = 0; i < count && status == 0; i++)
		judge_line(all[i]);
	free(all);
	return status;
}
