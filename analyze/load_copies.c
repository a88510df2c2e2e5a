#include "analyze/load_copies.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"
#include "analyze/hashindex.h"
#include "analyze/load_begins.h"
#include "analyze/merge.h"
#include "analyze/pcapin.h"
#include "analyze/walk.h"
#include "snapshot/format/snapfile.h"

/* Captures of fewer are looked into: they may have none. A file's header alone has 24 bytes, and
 * gzip makes some more of it. */
#define LEAST_BYTES_WITH_PACKETS 128

enum file { FILE_PCAP, FILE_SNAP, FILES };

struct copy {
	struct input *input; /* NULL: in the database */
	enum load_fate fate;
	const struct copy *there;	      /* what has all of it; of LOAD_THERE */
	char stem[EVIDENCE_NAME_SIZE];	      /* "": no segment's name */
	char recording[INPUT_RECORDING_SIZE]; /* "": not known */
	/* "": there is no such file; content: not known, or not yet. */
	char pcap[CUSTODY_HEX_SIZE], snap[CUSTODY_HEX_SIZE], content[CUSTODY_HEX_SIZE];
	bool snap_tells; /* of which segment it is */
	bool has_packets;
	uint64_t packets;    /* of an input, up to its damage, once it was read */
	bool says_nothing;   /* its capture has no packets, as those of other segments may have none
			      */
	bool in_doubt;	     /* an input: its capture is to be hashed */
	bool looked;	     /* an input: has_packets is known */
	bool read, is_sound; /* an input: is_sound and content are known once it was read */
	struct error damage[FILES]; /* an input's that was read; code 0: none, or no such file */
};

/* What copies have in common, each under a hash of its own. */
enum key { KEY_SNAP, KEY_PCAP, KEY_CONTENT, KEY_STEM, KEYS };

struct copies {
	struct copy *items; /* the inputs, then what the database has of them */
	size_t count, capacity, inputs;
	struct hashindex index; /* of copy * KEYS + key */
	const char *database;
	const volatile sig_atomic_t *stop;
	void (*report)(const struct error *error, void *context);
	void *context;
};

static int no_memory(struct error *error)
{
	return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
}

static bool same(const char *a, const char *b)
{
	return a[0] != '\0' && strcmp(a, b) == 0;
}

/* ----------------------------------------------------------------- keys -- */

/* 0: the copy has none. */
static uint64_t hash_of_key(const struct copy *copy, enum key key)
{
	const char *text = key == KEY_SNAP   ? copy->snap
			   : key == KEY_PCAP ? copy->pcap
			   : key == KEY_STEM ? copy->stem
					     : copy->content;

	if (text[0] == '\0' || (copy->says_nothing && (key == KEY_PCAP || key == KEY_CONTENT)))
		return 0;
	/* A capture was compressed before or since. */
	if (key == KEY_CONTENT)
		key = KEY_PCAP;
	return hashindex_mix(hashindex_keyed(text, strlen(text)) + key) | 1;
}

static uint64_t hash_at(const void *context, uint32_t place)
{
	const struct copies *all = context;

	return hash_of_key(&all->items[place / KEYS], (enum key)(place % KEYS));
}

static int add_keys(struct copies *all, size_t at, struct error *error)
{
	for (int key = 0; key < KEYS; key++) {
		uint64_t hash = hash_of_key(&all->items[at], (enum key)key);

		if (hash != 0 && hashindex_add(&all->index, hash, (uint32_t)(at * KEYS + key),
					       hash_at, all) != 0)
			return no_memory(error);
	}
	return 0;
}

static void take_hash(char out[CUSTODY_HEX_SIZE], const char *hash)
{
	snprintf(out, CUSTODY_HEX_SIZE, "%s", hash != NULL ? hash : "");
}

static void take_hashes(struct copy *copy)
{
	const struct input *input = copy->input;

	take_hash(copy->pcap, input->pcap != NULL ? input->pcap_sha256 : NULL);
	take_hash(copy->content, input->content_sha256);
	take_hash(copy->snap, input->snap != NULL ? input->snap_sha256 : NULL);
}

/* --------------------------------------------------------------- reading -- */

/* What went away since it was listed is as good as damaged: it stands for no other. */
static int say_gone(const struct input *input, struct error *error)
{
	return error_set(error, ERROR_DAMAGED, input->missing, -1, "it is not here any more");
}

static int open_pcap(struct input *input, struct pcapin **in, struct error *error)
{
	int status = 0, followed = 1;

	while (followed == 1) {
		if (input->pcap == NULL)
			return say_gone(input, error);
		status = input_open_pcap(input, true, in, error);
		followed = status == ERROR_NO_INPUT ? input_follow(input, error) : 0;
	}
	return followed < 0 ? followed : status;
}

static int open_snap(struct input *input, struct snapfile_reader **reader, struct error *error)
{
	int status = 0, followed = 1;

	while (followed == 1) {
		if (input->snap == NULL)
			return say_gone(input, error);
		status = input_open_snap(input, reader, error);
		followed = status == ERROR_NO_INPUT ? input_follow(input, error) : 0;
	}
	return followed < 0 ? followed : status;
}

static int read_pcap(struct copies *all, struct copy *copy, bool whole, struct error *error)
{
	const struct input *input = copy->input;
	struct pcapin_packet packet;
	struct pcapin *in = NULL;
	const char *content = NULL;
	int status = open_pcap(copy->input, &in, error);

	while (status == 0 && (status = pcapin_next(in, &packet, error)) == 1) {
		copy->has_packets = true;
		copy->packets += whole;
		status = 0;
		if (!whole)
			break;
		if (all->stop != NULL && *all->stop != 0) {
			status = error_set(error, ERROR_INTERRUPTED, NULL, -1, "interrupted");
			break;
		}
	}
	if (status == 0 && whole)
		content = pcapin_is_gzip(in) ? pcapin_content_sha256(in) : input->pcap_sha256;
	if (content != NULL)
		memcpy(copy->content, content, sizeof(copy->content));
	if (content != NULL && pcapin_is_gzip(in))
		input_check_content(copy->input, content);
	pcapin_close(in);
	return status;
}

static int has_packets(struct copies *all, struct copy *copy, struct error *error)
{
	struct error why = ERROR_NONE;
	int status;

	if (copy->looked || copy->input == NULL)
		return copy->has_packets;
	status = read_pcap(all, copy, false, &why);
	input_note_unreadable(copy->input, &why);
	if (status != 0 && (status != ERROR_DAMAGED || input_is_unreadable(&why))) {
		if (error != NULL)
			*error = why;
		return status == ERROR_DAMAGED ? ERROR_SYSTEM : status;
	}
	copy->looked = true;
	return copy->has_packets;
}

static int read_snap(struct copies *all, struct input *input, struct error *error)
{
	struct snapfile_reader *reader = NULL;
	struct snap_record record;
	int status = open_snap(input, &reader, error);

	while (status == 0 && (status = snapfile_next(reader, &record, error)) == 1) {
		status = 0;
		if (all->stop != NULL && *all->stop != 0)
			status = error_set(error, ERROR_INTERRUPTED, NULL, -1, "interrupted");
		if (status != 0)
			break;
	}
	snapfile_close(reader);
	return status;
}

/* Whether it is as it was recorded, as far as that can be told, and what its capture holds. */
static int read_copy(struct copies *all, struct copy *copy, struct error *error)
{
	const struct input *input = copy->input;
	struct error found[FILES] = {ERROR_NONE, ERROR_NONE};
	int status = 0;

	if (input == NULL || copy->read)
		return 0;
	copy->read = copy->looked = true;
	copy->packets = 0;
	copy->content[0] = '\0'; /* what its log says counts no more */
	if (copy->pcap[0] != '\0')
		status = read_pcap(all, copy, true, &found[FILE_PCAP]);
	if (copy->snap[0] != '\0' && (status == 0 || status == ERROR_DAMAGED))
		read_snap(all, copy->input, &found[FILE_SNAP]);
	copy->damage[FILE_PCAP] = input->pcap_altered;
	copy->damage[FILE_SNAP] = input->snap_altered;
	for (int i = 0; i < FILES; i++) {
		input_note_unreadable(copy->input, &found[i]);
		if ((found[i].code != 0 && found[i].code != ERROR_DAMAGED) ||
		    input_is_unreadable(&found[i])) {
			if (error != NULL)
				*error = found[i];
			return found[i].code == ERROR_DAMAGED ? ERROR_SYSTEM : (int)found[i].code;
		}
		if (copy->damage[i].code == 0)
			copy->damage[i] = found[i];
	}
	copy->is_sound = copy->damage[FILE_PCAP].code == 0 && copy->damage[FILE_SNAP].code == 0;
	return 0;
}

/* ------------------------------------------------------------- comparing -- */

/* 1, 0, negative. */
static int are_copies(struct copies *all, struct copy *a, struct copy *b, struct error *error)
{
	bool captured =
		same(a->pcap, b->pcap) || same(a->content, b->pcap) || same(a->pcap, b->content);
	bool known = a->recording[0] != '\0' && b->recording[0] != '\0';
	int found;

	if (same(a->snap, b->snap) && (a->snap_tells || b->snap_tells))
		return 1;
	/* Captures without packets are all the same. */
	found = captured ? has_packets(all, a, error) : 0;
	if (found != 0)
		return found;
	if (same(a->stem, b->stem))
		return !known || same(a->recording, b->recording);
	return captured && a->stem[0] == '\0' && b->stem[0] == '\0';
}

static int same_packets(struct copies *all, struct copy *a, struct copy *b, struct error *error)
{
	int status;

	if (same(a->pcap, b->pcap) || same(a->content, b->content))
		return 1;
	status = read_copy(all, a, error);
	if (status == 0)
		status = read_copy(all, b, error);
	return status != 0 ? status : same(a->content, b->content);
}

/* Whether all that one has is in the other. */
static int has_all(struct copies *all, struct copy *of, struct copy *in, struct error *error)
{
	if (of->snap[0] != '\0' && !same(of->snap, in->snap))
		return 0;
	return of->pcap[0] == '\0' ? 1 : in->pcap[0] == '\0' ? 0 : same_packets(all, of, in, error);
}

/* A capture that ends where some record does is whole to look at. A log knows better; else
 * what can be read of the damaged one has to be how the whole one begins. */
static int stands_for_pcap(struct copies *all, const struct copy *whole, const struct copy *damaged,
			   struct error *error)
{
	const char *recorded = damaged->input->recorded_sha256;

	if (recorded[0] != '\0' && whole->content[0] != '\0')
		return same(recorded, whole->content);
	if (whole->input == NULL)
		return damaged->packets <= whole->packets;
	if (same(whole->input->recorded_sha256, whole->content))
		return 1;
	return load_begins_pcap(damaged->input, whole->input, all->stop, error);
}

/* What the database has of snapshots is not what a file has. */
static int stands_for_snap(struct copies *all, const struct copy *whole, const struct copy *damaged,
			   struct error *error)
{
	if (whole->input == NULL || same(damaged->input->snap_logged.sha256, whole->snap) ||
	    same(whole->input->snap_logged.sha256, whole->snap))
		return 1;
	return load_begins_snap(damaged->input, whole->input, all->stop, error);
}

/* A whole copy stands for a damaged one, unless that has a file more, or one that is not
 * damaged and differs, or more in one that is. */
static int stands_for(struct copies *all, struct copy *whole, struct copy *damaged,
		      struct error *error)
{
	int status = read_copy(all, whole, error);

	assert(damaged->input != NULL);
	if (status == 0)
		status = read_copy(all, damaged, error);
	if (status != 0)
		return status;
	if (!whole->is_sound || damaged->is_sound ||
	    (whole->pcap[0] == '\0' && damaged->pcap[0] != '\0') ||
	    (whole->snap[0] == '\0' && damaged->snap[0] != '\0'))
		return 0;
	if (damaged->snap[0] != '\0' && !same(damaged->snap, whole->snap))
		status = damaged->damage[FILE_SNAP].code == 0
				 ? 0
				 : stands_for_snap(all, whole, damaged, error);
	else
		status = 1;
	if (status != 1 || damaged->pcap[0] == '\0')
		return status;
	return damaged->damage[FILE_PCAP].code == 0 ? same_packets(all, damaged, whole, error)
						    : stands_for_pcap(all, whole, damaged, error);
}

/* ---------------------------------------------------------------- passes -- */

/* For each other copy of an input's segment that counts so far: 0 to go on, 1 to stop. */
typedef int visit(struct copies *all, struct copy *mine, struct copy *other, struct error *error);

static int each_copy(struct copies *all, struct copy *mine, visit *do_visit, struct error *error)
{
	int status = 0;

	for (int key = 0; key < KEYS && mine->fate == LOAD_IT; key++) {
		uint64_t hash = hash_of_key(mine, (enum key)key);
		uint32_t probe = (uint32_t)hash, place;

		while (hash != 0 && mine->fate == LOAD_IT &&
		       (place = hashindex_next(&all->index, hash, &probe)) != HASHINDEX_NONE) {
			struct copy *other = &all->items[place / KEYS];

			walk_step();
			if (other == mine || other->fate != LOAD_IT)
				continue;
			status = are_copies(all, mine, other, error);
			if (status == 1)
				status = do_visit(all, mine, other, error);
			if (status < 0)
				return status;
		}
	}
	return 0;
}

static int drop_what_is_there(struct copies *all, struct copy *mine, struct copy *other,
			      struct error *error)
{
	int status = has_all(all, mine, other, error);

	/* Of two that are the same the first counts. */
	if (status == 1 && other->input != NULL && other > mine &&
	    has_all(all, other, mine, error) == 1)
		status = 0;
	if (status == 1) {
		mine->fate = LOAD_THERE;
		mine->there = other;
	}
	return status < 0 ? status : 0;
}

/* What the database has whole is lost by no belief. */
static int drop_what_is_stored(struct copies *all, struct copy *mine, struct copy *other,
			       struct error *error)
{
	return other->input == NULL && other->is_sound ? drop_what_is_there(all, mine, other, error)
						       : 0;
}

static int doubt(struct copies *all, struct copy *mine, struct copy *other, struct error *error)
{
	(void)all;
	(void)error;
	if (mine->pcap[0] == '\0' || other->pcap[0] == '\0' ||
	    (other->input == NULL ? other->is_sound : input_same_pcap(mine->input, other->input)))
		return 0;
	mine->in_doubt = true;
	other->in_doubt = other->input != NULL;
	return 0;
}

/* Not while the index is walked: it may grow. */
static int hash_doubted(struct copies *all, struct error *error)
{
	for (size_t i = 0; i < all->inputs; i++) {
		struct copy *copy = &all->items[i];
		int status;

		if (!copy->in_doubt || !copy->input->pcap_is_believed)
			continue;
		status = input_hash_believed(copy->input, true, error);
		if (status != 0)
			return status;
		take_hashes(copy);
		copy->read = false; /* what was found rested on what its log says */
		status = add_keys(all, i, error);
		if (status != 0)
			return status;
	}
	return 0;
}

static const char *name_of(const struct input *input)
{
	return input->pcap != NULL   ? input->pcap
	       : input->snap != NULL ? input->snap
				     : input->missing;
}

static void place_of(const struct copies *all, const struct copy *copy, char out[PATH_MAX])
{
	if (copy->input == NULL)
		snprintf(out, PATH_MAX, "%s", all->database);
	else
		input_path(copy->input, name_of(copy->input), out);
}

static int leave_out(struct copies *all, struct copy *mine, struct copy *other, struct error *error)
{
	int status = stands_for(all, other, mine, error);
	const struct error *damage = &mine->damage[FILE_PCAP];
	char path[PATH_MAX], place[PATH_MAX];
	struct error remark = ERROR_NONE;

	if (status != 1)
		return status;
	mine->fate = LOAD_LEFT_OUT;
	if (damage->code == 0)
		damage = &mine->damage[FILE_SNAP];
	input_path(mine->input, damage->path, path);
	place_of(all, other, place);
	error_set(&remark, ERROR_DAMAGED, path, damage->offset_bytes,
		  "left out, a whole copy of this segment is in %.240s: %s", place,
		  damage->message);
	if (all->report != NULL && !mine->input->told_left_out)
		all->report(&remark, all->context);
	mine->input->told_left_out = true;
	return 0;
}

static int refuse(struct copies *all, struct copy *mine, struct copy *other, struct error *error)
{
	bool snap_differs = mine->snap[0] != '\0' && !same(mine->snap, other->snap) &&
			    mine->damage[FILE_SNAP].code == 0;
	const char *what = snap_differs ? "snapshots" : "packets";
	char path[PATH_MAX], place[PATH_MAX];

	place_of(all, mine, path);
	place_of(all, other, place);
	if (other->input == NULL)
		return error_damage(error, path, -1, "what the database has of this segment",
				    "other %s than in %.200s%s: nothing was loaded; load this copy "
				    "into a new database (-o)",
				    what, place, other->is_sound ? "" : ", which was damaged");
	return error_damage(
		error, path, -1, "one copy of each segment",
		"other %s than in %.200s, and nothing says which are right: nothing was "
		"loaded; give one of the two",
		what, place);
}

/* What was there in a copy that is left out itself counts again. Whether there was such. */
static bool revive(struct copies *all)
{
	bool revived = false;

	for (size_t i = 0; i < all->inputs; i++) {
		struct copy *copy = &all->items[i];

		if (copy->fate != LOAD_THERE || copy->there->fate != LOAD_LEFT_OUT)
			continue;
		copy->fate = LOAD_IT;
		revived = true;
	}
	return revived;
}

static int pass(struct copies *all, visit *do_visit, struct error *error)
{
	int status = 0;

	for (size_t i = 0; i < all->inputs && status == 0; i++)
		status = each_copy(all, &all->items[i], do_visit, error);
	return status;
}

/* What the logs say of those that are passed over. */
static void join(struct copies *all)
{
	for (size_t i = 0; i < all->inputs; i++) {
		const struct copy *copy = &all->items[i], *there = copy;

		while (there->fate == LOAD_THERE)
			there = there->there;
		if (there != copy && there->input != NULL)
			input_join(there->input, copy->input);
	}
}

static int decide(struct copies *all, struct error *error)
{
	int status = pass(all, drop_what_is_stored, error);

	if (status == 0)
		status = pass(all, doubt, error);
	if (status == 0)
		status = hash_doubted(all, error);
	do {
		if (status == 0)
			status = pass(all, drop_what_is_there, error);
		if (status == 0)
			status = pass(all, leave_out, error);
	} while (status == 0 && revive(all));
	if (status == 0)
		status = pass(all, refuse, error);
	if (status == 0)
		join(all);
	return status;
}

/* ------------------------------------------------------------ collecting -- */

static void take_stem(struct copy *copy, const char *name)
{
	struct evidence_stem stem;
	const char *suffix;

	if (name != NULL && evidence_parse_name(name, &stem, &suffix) == 0)
		evidence_name(&stem, "", copy->stem);
}

static int add_input(struct copies *all, struct input *input, struct error *error)
{
	struct copy *copy;

	if (grow_one(&all->items, all->count, &all->capacity, sizeof(*all->items)) != 0)
		return no_memory(error);
	copy = &all->items[all->count++];
	*copy = (struct copy){.input = input, .snap_tells = input->snap_tells};
	if (!input->bare)
		take_stem(copy, name_of(input));
	memcpy(copy->recording, input->recording, sizeof(copy->recording));
	take_hashes(copy);
	if (copy->stem[0] != '\0' && input->pcap != NULL &&
	    input->pcap_bytes < LEAST_BYTES_WITH_PACKETS) {
		int found = has_packets(all, copy, error);

		if (found < 0)
			return found;
		copy->says_nothing = found == 0;
	}
	return add_keys(all, all->count - 1, error);
}

static bool has_key(const struct copies *all, const struct copy *copy)
{
	for (int key = 0; key < KEYS; key++) {
		uint64_t hash = hash_of_key(copy, (enum key)key);
		uint32_t probe = (uint32_t)hash;

		if (hash != 0 && hashindex_next(&all->index, hash, &probe) != HASHINDEX_NONE)
			return true;
	}
	return false;
}

/* What has nothing in common with any input is not kept. */
static int add_stored(const struct store_loaded *row, void *context, struct error *error)
{
	struct copies *all = context;
	struct copy copy = {
		.has_packets = row->packets > 0,
		.packets = (uint64_t)row->packets,
		.is_sound = row->is_sound,
	};

	if (!row->is_bare)
		take_stem(&copy, row->pcap_name != NULL ? row->pcap_name : row->snap_name);
	copy.says_nothing = copy.stem[0] != '\0' && !copy.has_packets;
	take_hash(copy.pcap, row->pcap_sha256);
	take_hash(copy.snap, row->snap_sha256);
	take_hash(copy.content, row->content_sha256);
	if (row->recording_uuid != NULL && !merge_uuid_is_made_up(row->recording_uuid))
		snprintf(copy.recording, sizeof(copy.recording), "%s", row->recording_uuid);
	if (!has_key(all, &copy))
		return 0;
	if (grow_one(&all->items, all->count, &all->capacity, sizeof(*all->items)) != 0)
		return no_memory(error);
	all->items[all->count++] = copy;
	return add_keys(all, all->count - 1, error);
}

int load_copies(struct inputs *inputs, struct store *store, const char *database,
		const volatile sig_atomic_t *stop,
		void (*report)(const struct error *error, void *context), void *context,
		enum load_fate *fates, struct error *error)
{
	struct copies all = {
		.database = database, .stop = stop, .report = report, .context = context};
	int status = 0;

	for (size_t i = 0; i < inputs->count && status == 0; i++)
		status = add_input(&all, &inputs->items[i], error);
	all.inputs = all.count;
	if (status == 0)
		status = store_loaded_each(store, add_stored, &all, error);
	if (status == 0)
		status = decide(&all, error);
	for (size_t i = 0; i < all.inputs && status == 0; i++)
		fates[i] = all.items[i].fate;
	hashindex_release(&all.index);
	free(all.items);
	return status;
}
