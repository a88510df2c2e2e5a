/* The inputs in order, each once, and what the logs of those that are the same say together. */
#include "analyze/inputs.h"

#include <stdlib.h>
#include <string.h>

static int compare_inputs(const void *a, const void *b)
{
	const struct input *p = a, *q = b;
	int order;

	if (p->group_ns != q->group_ns)
		return p->group_ns < q->group_ns ? -1 : 1;
	order = strcmp(p->group_name, q->group_name);
	if (order != 0)
		return order;
	if (p->number != q->number)
		return p->number < q->number ? -1 : 1;
	if (p->opened_ns != q->opened_ns)
		return p->opened_ns < q->opened_ns ? -1 : 1;
	order = strcmp(p->pcap_sha256, q->pcap_sha256);
	return order != 0 ? order : strcmp(p->snap_sha256, q->snap_sha256);
}

static int compare_texts(const char *a, const char *b)
{
	return strcmp(a != NULL ? a : "", b != NULL ? b : "");
}

/* Which of those that are the same counts must not depend on the order of arguments. */
static int compare_places(const void *a, const void *b)
{
	const struct input *p = a, *q = b;
	int order = compare_inputs(a, b);

	if (order == 0)
		order = compare_texts(p->pcap, q->pcap);
	if (order == 0)
		order = compare_texts(p->snap, q->snap);
	return order != 0 ? order : strcmp(p->path, q->path);
}

static void join_missing(struct input *counts, const struct input *copy)
{
	bool is_snap = evidence_has_suffix(copy->missing, EVIDENCE_SNAP);

	if (copy->missing[0] == '\0' || (is_snap ? counts->snap : counts->pcap) != NULL)
		return;
	if (counts->missing[0] == '\0')
		memcpy(counts->missing, copy->missing, sizeof(counts->missing));
	counts->missing_expired |= copy->missing_expired;
	counts->missing_went |= copy->missing_went;
}

static void join_altered(const struct input *copy, const struct error *altered,
			 struct error *counts)
{
	char path[PATH_MAX];

	if (altered->code == 0 || counts->code != 0)
		return;
	*counts = *altered;
	input_path(copy, altered->path, path);
	error_set(counts, altered->code, path, altered->offset_bytes, "%s", altered->message);
}

/* What two logs have of what was compressed: where they do not agree, it has to be read. */
static void join_content(struct input *counts, const struct input *copy)
{
	if (copy->content_sha256[0] == '\0' && copy->content_doubted[0] == '\0')
		return;
	if (counts->content_sha256[0] == '\0' && counts->content_doubted[0] == '\0') {
		memcpy(counts->content_sha256, copy->content_sha256,
		       sizeof(counts->content_sha256));
		memcpy(counts->content_doubted, copy->content_doubted,
		       sizeof(counts->content_doubted));
	} else if (strcmp(counts->content_sha256, copy->content_sha256) != 0) {
		input_doubt_content(counts);
	}
}

void input_join(struct input *counts, const struct input *copy)
{
	join_missing(counts, copy);
	counts->repaired |= copy->repaired;
	if (counts->pcap != NULL && copy->pcap != NULL) {
		counts->has_both |= copy->has_both;
		join_altered(copy, &copy->pcap_altered, &counts->pcap_altered);
		if (strcmp(counts->pcap_sha256, copy->pcap_sha256) == 0)
			join_content(counts, copy);
	}
	if ((counts->snap == NULL) == (copy->snap == NULL))
		join_altered(copy, &copy->snap_altered, &counts->snap_altered);
}

bool input_same_pcap(const struct input *a, const struct input *b)
{
	if (a->pcap == NULL || b->pcap == NULL || strcmp(a->pcap_sha256, b->pcap_sha256) != 0)
		return false;
	if (a->pcap_is_believed && b->pcap_is_believed &&
	    a->pcap_file.device == b->pcap_file.device && a->pcap_file.inode == b->pcap_file.inode)
		return true;
	return !a->pcap_is_believed && !b->pcap_is_believed;
}

/* Two of one order that are perhaps not one file. 1: there were such, 0 none. */
static int hash_doubtful(struct inputs *inputs, struct error *error)
{
	int status = 0, found = 0;

	for (size_t i = 1; i < inputs->count && status == 0; i++) {
		struct input *a = &inputs->items[i - 1], *b = &inputs->items[i];

		if (compare_inputs(a, b) != 0 || a->pcap == NULL || input_same_pcap(a, b))
			continue;
		found = 1;
		status = input_hash_believed(a, true, error);
		if (status == 0)
			status = input_hash_believed(b, true, error);
	}
	return status != 0 ? status : found;
}

int inputs_sort(struct inputs *inputs, struct error *error)
{
	size_t kept = 0;
	int status;

	if (inputs->count < 2)
		return 0;
	do {
		qsort(inputs->items, inputs->count, sizeof(*inputs->items), compare_places);
		status = hash_doubtful(inputs, error);
	} while (status == 1);
	if (status != 0)
		return status;
	for (size_t i = 0; i < inputs->count; i++) {
		struct input *last = kept > 0 ? &inputs->items[kept - 1] : NULL;

		if (last != NULL && compare_inputs(last, &inputs->items[i]) == 0) {
			input_join(last, &inputs->items[i]);
			input_release(&inputs->items[i]);
		} else {
			inputs->items[kept++] = inputs->items[i];
		}
	}
	inputs->count = kept;
	return 0;
}
