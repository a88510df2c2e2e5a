/* The jobs of a load merged in order, part by part, and what was found wrong with each. */
#include "analyze/load_internal.h"

#include <stdio.h>
#include <string.h>

#include "snapshot/format/pcapindex.h"
#include "snapshot/format/quantity.h"

static void show_progress(struct load *load)
{
	if (load->options->progress == NULL)
		return;
	load->progress.packets = merge_totals(load->merge)->packets;
	load->progress.elapsed_ns = quantity_now_ns(CLOCK_MONOTONIC) - load->begun_ns;
	load->options->progress(&load->progress, load->options->context);
}

static int say_interrupted(struct error *error)
{
	return error_set(error, ERROR_INTERRUPTED, NULL, -1, "interrupted");
}

static const char *content_of(const struct job *job)
{
	if (job->pcap_is_plain)
		return job->input->pcap_sha256;
	if (job->pcap_damaged)
		return NULL;
	if (job->input->content_sha256[0] != '\0')
		return job->input->content_sha256;
	return job->content_sha256[0] != '\0' ? job->content_sha256 : NULL;
}

/* Files are opened by their names in their directories; users are told which one it was. */
static void say_path(const struct input *input, struct error *error)
{
	const struct error said = *error;
	char path[PATH_MAX];

	if (said.path[0] == '\0' || strchr(said.path, '/') != NULL)
		return;
	input_path(input, said.path, path);
	error_set(error, said.code, path, said.offset_bytes, "%s", said.message);
	error->saved_errno = said.saved_errno;
}

/* is_whole: all of the file was read. */
static int note_damage(struct load *load, const struct input *input, const struct error *why,
		       const char *kind, const char *subject, bool is_whole, struct error *error)
{
	struct error said = *why;
	char detail[sizeof(why->message) + 64];
	struct merge_damage damage = {
		.kind = kind, .subject = subject, .detail = detail, .is_whole = is_whole};

	if (why->offset_bytes >= 0)
		snprintf(detail, sizeof(detail), "at byte %lld: %s", (long long)why->offset_bytes,
			 why->message);
	else
		snprintf(detail, sizeof(detail), "%s", why->message);
	say_path(input, &said);
	load_report_of(load, input, &said);
	return merge_damaged(load->merge, &damage, error);
}

/* Where the last part that was merged ended. */
struct border {
	struct pcapin_place place;
	struct replay_border after;
	size_t held; /* so many places of the capture's index are true */
};

static void close_again(struct load *load)
{
	struct load_again *again = &load->again;

	if (again->job == NULL)
		return;
	replay_release(&again->replay);
	pcapin_close(again->in);
	replay_part_release(&again->part);
	*again = (struct load_again){0};
}

/* By the places that are known to be true; else from the beginning, or from where it is. */
static int go_near(struct replay *replay, const struct border *border, struct error *error)
{
	const struct members *members = replay->members;
	size_t until = members_until(members, border->place.number);

	if (until > border->held)
		until = border->held;
	if (until == 0 || members->places[until - 1].number <= pcapin_where(replay->in).number)
		return 0;
	return replay_seek_member(replay, until - 1, error);
}

/* Fills load->again.part with what truly follows a border, or with the next piece of it; as
 * replay_next. */
static int read_again(struct load *load, const struct job *job, uint64_t number,
		      const struct border *border, struct error *error)
{
	struct load_again *again = &load->again;
	const bool begins = again->replay.taken == 0;
	int status = 0;

	if (again->job == NULL) {
		replay_part_init(&again->part, &load->replay);
		again->job = job;
		status = load_open_again(job, &again->in, error);
		if (status == 0)
			status = replay_init(&again->replay, &job->timeline, &job->serving,
					     again->in, &load->replay, error);
		if (status == 0 && job->members.count > 0)
			again->replay.members = &job->members;
	}
	if (status == 0 && begins && again->replay.parts != number && again->replay.members != NULL)
		status = go_near(&again->replay, border, error);
	if (status == 0 && begins && again->replay.parts != number)
		status = replay_resume(&again->replay, number, &border->place, &border->after,
				       error);
	/* Nothing was read, so there is no part to merge. */
	if (status != 0)
		return status == ERROR_DAMAGED ? ERROR_SYSTEM : status;
	return replay_next(&again->replay, &again->part, error);
}

/* Whether a worker began where it should have, and knew what it had to know. */
static bool fits(const struct slot *slot, const struct border *border)
{
	return slot->number == 0 || (pcapin_same_place(&slot->part.place, &border->place) &&
				     replay_border_equal(&slot->part.before, &border->after));
}

static void say_lied(struct load *load, struct job *job, const struct replay_held *held)
{
	const struct pcapin_place *said = &job->members.places[held->until];
	const struct pcapin_place *found = &held->found;
	char name[PCAPINDEX_NAME_SIZE];

	pcapindex_name(job->input->pcap, name);
	error_set(&job->index_error, ERROR_DAMAGED, name, -1,
		  "packet %llu: wanted what the index says, a member at byte %llu with %llu bytes "
		  "of the capture before it, got %s%llu, with %llu before: read without it",
		  (unsigned long long)said->number, (unsigned long long)said->file_offset_bytes,
		  (unsigned long long)said->offset_bytes,
		  found->file_offset_bytes != 0 ? "one at byte "
						: "no beginning of a member, byte ",
		  (unsigned long long)found->file_offset_bytes,
		  (unsigned long long)found->offset_bytes);
	load_end_sharing(load, job);
}

/* What a part that counts for it shows of the index. */
static void take_held(struct load *load, struct job *job, struct border *border,
		      const struct replay_held *held)
{
	if (held->until > border->held)
		border->held = held->until;
	if (held->lied && job->index_error.code == 0)
		say_lied(load, job, held);
}

/* The part that a worker read, if it began where it should have. NULL: it is to be read again. */
static struct slot *right_part(struct load *load, struct job *job, struct slot *slot,
			       struct border *border)
{
	if (slot == NULL)
		return NULL;
	/* What it rests on was not found: it may be anything. */
	if (slot->part.held.rests_on > border->held) {
		load_end_sharing(load, job);
		return NULL;
	}
	take_held(load, job, border, &slot->part.held);
	if (fits(slot, border) || (slot->status < 0 && slot->status != ERROR_DAMAGED)) {
		load->result->parts_apart += slot->part.held.rests_on > 0;
		return slot;
	}
	/* Who begins at a member knows no fragments of long before; nor will the next ones. */
	if (job->members.count > 0 &&
	    !decode_fragments_equal(slot->part.before.fragments, border->after.fragments))
		load_end_sharing(load, job);
	return NULL;
}

/* A piece as it was read, by a worker or again. */
struct piece {
	struct replay_part *part;
	int status; /* as replay_next says it */
	struct error why;
	uint64_t read_bytes;
};

static struct piece piece_of(struct slot *slot)
{
	return (struct piece){&slot->part, slot->status, slot->error, slot->read_bytes};
}

static struct piece piece_again(struct load *load, struct job *job, uint64_t number,
				struct border *border)
{
	struct load_again *again = &load->again;
	struct piece piece = {.part = &again->part, .why = ERROR_NONE};

	piece.status = read_again(load, job, number, border, &piece.why);
	take_held(load, job, border, &again->part.held);
	piece.read_bytes = again->in != NULL ? pcapin_read_bytes(again->in) : 0;
	return piece;
}

static int merge_piece(struct load *load, struct job *job, const struct piece *piece,
		       struct border *border, struct error *error)
{
	const struct replay_border after = border->after;
	int status;

	/* What a later load is to have all of must not be here in part. */
	if (piece->status < 0)
		input_note_unreadable(job->input, &piece->why);
	if (piece->status < 0 &&
	    (job->input->unreadable.code != 0 || piece->status != ERROR_DAMAGED)) {
		*error = piece->why;
		return piece->status != ERROR_DAMAGED ? piece->status : ERROR_SYSTEM;
	}
	if (piece->status == ERROR_DAMAGED) {
		job->pcap_damaged = true;
		job->pcap_error = piece->why;
	}
	status = merge_part(load->merge, piece->part, error);
	border->place = piece->part->next;
	border->after = piece->part->after;
	piece->part->after = after;
	return status;
}

/* The next part of a job is merged. 1: more follow; 0: it was the last one; negative: failure. */
static int merge_next(struct load *load, struct job *job, uint64_t number, struct border *border,
		      uint64_t *read_bytes, struct error *error)
{
	struct slot *slot = load_wait_part(load, job, number), *right;
	struct piece piece;
	int merged;

	if (load_interrupted(load))
		return say_interrupted(error);
	right = right_part(load, job, slot, border);
	load->result->parts_again += right == NULL;
	piece = right != NULL ? piece_of(right) : piece_again(load, job, number, border);
	merged = merge_piece(load, job, &piece, border, error);
	while (merged == 0 && piece.status == REPLAY_GOES_ON) {
		if (right != NULL && !load_wait_piece(load, right))
			return say_interrupted(error);
		if (right != NULL)
			take_held(load, job, border, &right->part.held);
		piece = right != NULL ? piece_of(right) : piece_again(load, job, number, border);
		merged = merge_piece(load, job, &piece, border, error);
	}
	*read_bytes = piece.read_bytes;
	if (merged == 0 && slot != NULL)
		load_free_slot(load, slot);
	return merged != 0 ? merged : piece.status == 1;
}

static int merge_parts(struct load *load, struct job *job, struct error *error)
{
	const uint64_t before_bytes = load->progress.bytes_done;
	struct border border = {0};
	uint64_t read_bytes = 0;
	int status = 1;

	for (uint64_t number = 0; status == 1; number++) {
		status = merge_next(load, job, number, &border, &read_bytes, error);
		if (status < 0)
			break;
		/* A capture may have grown since its size was taken. */
		load->progress.bytes_done =
			before_bytes +
			(read_bytes < job->input->pcap_bytes ? read_bytes : job->input->pcap_bytes);
		show_progress(load);
	}
	replay_border_release(&border.after);
	close_again(load);
	return status;
}

/* Half of a pair: what it would have shown is not there, and the log says that it was. */
static int note_missing(struct load *load, const struct input *input, struct error *error)
{
	struct merge_damage damage = {.kind = input->missing_expired ? "expired" : "missing-file",
				      .subject = input->missing,
				      .detail = "custody.log has it, and it is not here",
				      .is_whole = true};
	struct error said = ERROR_NONE;

	if (input->missing_went)
		damage.detail = "it was here when the directory was listed, and is no more";
	if (input->missing_expired) {
		damage.detail = "it expired, as custody.log says";
	} else {
		error_set(&said, ERROR_DAMAGED, input->missing, -1, "%s", damage.detail);
		say_path(input, &said);
		load_report_of(load, input, &said);
	}
	return merge_damaged(load->merge, &damage, error);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

/* What goes on from a segment to the next is known only in their order. */
static int note_late(struct load *load, const struct input *input, struct error *error)
{
	const char *name = input->pcap != NULL ? input->pcap : input->snap;
	struct merge_damage damage = {.kind = "late",
				      .subject = name,
				      .detail =
					      "loaded after later segments of its recording: what "
					      "goes on from one to another may be two rows, or "
					      "judged without the other, and a row that it is "
					      "missing stays",
				      .is_whole = true};
	struct error said = ERROR_NONE;

	error_set(
		&said, ERROR_DAMAGED, name, -1,
		"later segments of its recording are in the database already, so what goes on from "
		"one to another may be told otherwise than in their order, and what said that it "
		"is missing stays: analyze all of them into a new database");
	say_path(input, &said);
	load_report_of(load, input, &said);
	return merge_damaged(load->merge, &damage, error);
}

static int note_damages(struct load *load, struct job *job, struct error *error)
{
	struct input *input = job->input;
	int status = 0;

	if (input->missing[0] != '\0')
		status = note_missing(load, input, error);
	if (status == 0 && merge_is_late(load->merge))
		status = note_late(load, input, error);
	/* What is damaged is not the file that its log tells of: its row says which it is. What
	 * is gone since it was read cannot be hashed any more. */
	if (status == 0 && job->pcap_damaged)
		status = input_hash_believed(input, false, error);
	if (status == ERROR_NO_INPUT)
		status = 0;
	if (!job->pcap_damaged)
		input_check_content(input, job->content_sha256);
	if (status == 0 && input->snap_altered.code != 0)
		status = note_damage(load, input, &input->snap_altered, "altered",
				     input->snap != NULL ? input->snap
							 : base_name(input->snap_altered.path),
				     true, error);
	if (status == 0 && input->pcap_altered.code != 0)
		status = note_damage(load, input, &input->pcap_altered, "altered", input->pcap,
				     true, error);
	if (status == 0 && job->snap_damaged)
		status = note_damage(load, input, &job->snap_error, "torn", input->snap, false,
				     error);
	if (status == 0 && job->index_error.code != 0) {
		say_path(input, &job->index_error);
		load_report_of(load, input, &job->index_error);
	}
	if (status == 0 && job->pcap_damaged)
		status = note_damage(load, input, &job->pcap_error, "damaged", input->pcap, false,
				     error);
	return status;
}

/* What the database has more than before. */
static void count_merged(struct load *load, const struct merge_totals *before)
{
	const struct merge_totals *now = merge_totals(load->merge);
	struct load_result *result = load->result;

	result->segments += now->segments - before->segments;
	result->packets += now->packets - before->packets;
	result->flow_packets += now->flow_packets - before->flow_packets;
	result->flows += now->flows - before->flows;
}

static int merge_job(struct load *load, struct job *job, bool is_last, struct error *error)
{
	const struct input *input = job->input;
	struct merge_segment segment = {
		.pcap_name = input->pcap,
		.snap_name = input->snap,
		.pcap_sha256 = input->pcap != NULL ? input->pcap_sha256 : NULL,
		.snap_sha256 = input->snap != NULL ? input->snap_sha256 : NULL,
		.pcap_bytes = (int64_t)input->pcap_bytes,
		.snap_bytes = (int64_t)input->snap_bytes,
		.number = input->number,
		.repaired = input->repaired,
		.timeline = &job->timeline,
		.serving = &job->serving,
	};
	const struct merge_totals before = *merge_totals(load->merge);
	bool is_late;
	int status;

	if (job->status != 0) {
		input_note_unreadable(job->input, &job->error);
		*error = job->error;
		say_path(input, error);
		return job->status;
	}
	segment.link_type = job->link_type;
	status = store_begin(load->store, error);
	if (status == 0)
		status = merge_begin(load->merge, &segment, error);
	if (status == 0)
		status = merge_parts(load, job, error);
	is_late = status == 0 && merge_is_late(load->merge);
	if (status == 0)
		status = load_end_hash(load, job->input, error);
	if (status == 0)
		status = note_damages(load, job, error);
	if (status == 0)
		status = merge_end(load->merge, content_of(job), error);
	/* What was loaded in place stands, whatever becomes of the next segment. */
	if (status == 0 && (is_last || !store_is_new(load->store)))
		status = merge_carry(load->merge, error);
	if (status == 0)
		status = store_commit(load->store, error);
	if (status != 0)
		return status;
	job->input->told = true;
	count_merged(load, &before);
	load->result->damaged += job->snap_damaged || job->pcap_damaged ||
				 input->snap_altered.code != 0 || input->pcap_altered.code != 0 ||
				 is_late || (input->missing[0] != '\0' && !input->missing_expired);
	return 0;
}

/* Both of its files went away before they were read. There is nothing to merge, and what tells
 * of whole segments that are not there tells of this one. */
static int pass_over(struct load *load, const struct input *input, bool is_last,
		     struct error *error)
{
	struct error remark = ERROR_NONE;
	int status;

	if (!input->missing_expired) {
		error_set(&remark, ERROR_DAMAGED, input->missing, -1,
			  "this segment was here when the directory was listed, and is no more");
		say_path(input, &remark);
		load_report_of(load, input, &remark);
		load->result->damaged++;
	}
	if (!is_last)
		return 0;
	status = store_begin(load->store, error);
	if (status == 0)
		status = merge_carry(load->merge, error);
	return status == 0 ? store_commit(load->store, error) : status;
}

int load_merge_all(struct load *load, struct error *error)
{
	int status = 0;

	for (size_t i = 0; i < load->inputs.count && status == 0; i++) {
		struct job *job = &load->jobs[i];
		const uint64_t before_bytes = load->progress.bytes_done;
		bool is_last;

		if (job->skip)
			continue;
		load_wait_ready(load, job);
		if (load_interrupted(load))
			return say_interrupted(error); /* a worker may still be reading it */
		is_last = load->progress.segments_done + 1 == load->progress.segments;
		if (job->status == 0 && job->input->pcap == NULL && job->input->snap == NULL)
			status = pass_over(load, job->input, is_last, error);
		else
			status = merge_job(load, job, is_last, error);
		if (status == 0) {
			job->input->told = true;
			job->input->is_done = !store_is_new(load->store);
			load_job_merged(load, job);
		}
		load->progress.segments_done++;
		load->progress.bytes_done = before_bytes + job->input->pcap_bytes;
		show_progress(load);
	}
	return status;
}
