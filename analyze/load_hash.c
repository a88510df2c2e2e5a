/* A capture hashed while it is read: one that is alone, and new. */
#include "analyze/load_internal.h"

#include <string.h>

#include "snapshot/format/evidence.h"

void load_hash_later(struct load *load)
{
	struct input *input = &load->inputs.items[0];

	/* One that is being recorded grows: its hash is of what it was before it is read. */
	input->hash_later = load->inputs.count == 1 && input->bare && input->pcap != NULL &&
			    !evidence_has_suffix(input->pcap, EVIDENCE_PART);
}

static void hash(struct load *load, const volatile sig_atomic_t *stop)
{
	struct load_hasher *hasher = &load->hasher;
	int status = input_hash_later(hasher->input, stop, hasher->sha256, &hasher->error);

	pthread_mutex_lock(&load->lock);
	hasher->status = status;
	hasher->done = true;
	pthread_cond_broadcast(&load->changed);
	pthread_mutex_unlock(&load->lock);
}

static void *run(void *context)
{
	struct load *load = context;

	hash(load, &load->hasher.stop);
	return NULL;
}

void load_begin_hash(struct load *load)
{
	struct load_hasher *hasher = &load->hasher;

	*hasher = (struct load_hasher){0};
	if (!load->inputs.items[0].hash_later)
		return;
	hasher->input = &load->inputs.items[0];
	hasher->started = pthread_create(&hasher->thread, NULL, run, load) == 0;
}

int load_end_hash(struct load *load, struct input *input, struct error *error)
{
	struct load_hasher *hasher = &load->hasher;
	bool done;
	int status;

	if (!input->hash_later)
		return 0;
	if (!hasher->started) {
		hasher->input = input;
		hash(load, load->options->stop);
	}
	pthread_mutex_lock(&load->lock);
	while (!hasher->done && !load_interrupted(load))
		load_wait_a_little(load);
	done = hasher->done;
	pthread_mutex_unlock(&load->lock);
	if (!done)
		return error_set(error, ERROR_INTERRUPTED, NULL, -1, "interrupted");
	*error = hasher->error;
	status = hasher->status;
	if (status == 0)
		status = input_look_again(input, error);
	if (status != 0) {
		input_note_unreadable(input, error);
		return status;
	}
	memcpy(input->pcap_sha256, hasher->sha256, sizeof(input->pcap_sha256));
	input->hash_later = false;
	return 0;
}

void load_stop_hash(struct load *load)
{
	load->hasher.stop = 1;
	if (load->hasher.started)
		pthread_join(load->hasher.thread, NULL);
	load->hasher.started = false;
}
