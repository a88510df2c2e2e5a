#include "analyze/members.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "snapshot/format/evidence.h"

/* That of this very file, as far as can be told. */
static int read_index(int dirfd, const char *pcap, struct pcapindex *out, struct error *error)
{
	char name[PCAPINDEX_NAME_SIZE];
	int fd, status;

	pcapindex_name(pcap, name);
	status = pcapindex_read(dirfd, name, out, error);
	if (status != 0)
		return status;
	fd = evidence_open_file(dirfd, pcap, O_RDONLY, pcap, error);
	status = fd < 0 ? fd : pcapindex_belongs(out, fd, name, error);
	if (fd >= 0)
		close(fd);
	if (status != 0)
		pcapindex_release(out);
	return status;
}

void members_release(struct members *members)
{
	free(members->places);
	free(members->times_ns);
	*members = (struct members){0};
}

int members_places(int dirfd, const char *pcap, struct members *out, struct error *error)
{
	struct members members = {0};
	struct pcapindex index;
	int status = read_index(dirfd, pcap, &index, error);

	if (status != 0)
		return status;
	members.places = calloc(index.count, sizeof(*members.places));
	members.times_ns = calloc(index.count, sizeof(*members.times_ns));
	if (members.places == NULL || members.times_ns == NULL) {
		status = error_set(error, ERROR_MEMORY, pcap, -1, "out of memory");
		members_release(&members);
	} else {
		/* The first begins with the file's header, and is where reading begins anyhow. */
		for (size_t i = 1; i < index.count; i++) {
			members.places[i - 1] = (struct pcapin_place){
				.file_offset_bytes = index.members[i].offset_bytes,
				.offset_bytes = index.members[i].content_bytes,
				.number = index.members[i].packet,
			};
			members.times_ns[i - 1] = index.members[i].time_ns;
		}
		members.count = index.count - 1;
		members.packets = index.packets;
		*out = members;
	}
	pcapindex_release(&index);
	return status;
}

size_t members_until(const struct members *members, uint64_t number)
{
	size_t from = 0, until = members->count;

	while (from < until) {
		size_t middle = from + (until - from) / 2;

		if (members->places[middle].number <= number)
			from = middle + 1;
		else
			until = middle;
	}
	return from;
}

/* ---------------------------------------------------------------- making -- */

static int read_packets(struct pcapin *in, struct pcapindex *index, struct error *error)
{
	struct pcapin_packet packet;
	int status;

	for (;;) {
		const struct pcapin_place place = pcapin_where(in);
		/* The first packet is reached from the beginning of the file, also where another
		 * writer's first members have the header of the capture alone. */
		const bool is_first = place.number == 1;
		const struct pcapindex_member member = {
			.offset_bytes = is_first ? 0 : place.file_offset_bytes,
			.content_bytes = is_first ? 0 : place.offset_bytes,
			.packet = place.number,
		};

		status = pcapin_next(in, &packet, error);
		if (status < 0)
			return status;
		if (is_first || (status == 1 && place.file_offset_bytes > 0)) {
			int added = pcapindex_add(index, &member, error);

			if (added != 0)
				return added;
			if (status == 1)
				index->members[index->count - 1].time_ns = packet.time_ns;
		}
		if (status == 0) {
			index->content_bytes = place.offset_bytes;
			index->packets = place.number - 1;
			return 0;
		}
	}
}

int members_index(int dirfd, const char *pcap, struct pcapindex *out, struct error *error)
{
	struct pcapin *in = NULL;
	int fd = evidence_open_file(dirfd, pcap, O_RDONLY, pcap, error), status;

	*out = (struct pcapindex){0};
	if (fd < 0)
		return fd;
	status = pcapin_open(dirfd, pcap, &in, error);
	if (status == 0 && !pcapin_is_gzip(in))
		status = error_set(error, ERROR_USAGE, pcap, -1,
				   "not compressed: it is read from anywhere without an index");
	else if (status == 0 && pcapin_where(in).offset_bytes == 0)
		status = error_set(error, ERROR_USAGE, pcap, -1,
				   "a pcapng, which is read from its beginning only");
	if (status == 0)
		status = read_packets(in, out, error);
	if (status == 0)
		status = pcapindex_seal(out, fd, pcap, error);
	pcapin_close(in);
	close(fd);
	if (status != 0)
		pcapindex_release(out);
	return status;
}
