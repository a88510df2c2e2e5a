/*
 * options.h - the command line of pcapwho-record.
 *
 * Only turns words into values; touches no file and no interface.
 */
#ifndef SNAPSHOT_OPTIONS_H
#define SNAPSHOT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/error.h"

#ifndef PCAPWHO_VERSION
#define PCAPWHO_VERSION "0.1.0"
#endif

#define OPTIONS_PROGRAM "pcapwho-record" /* as messages name it */

#define OPTIONS_MAX_BUFFER_MIB 2047u /* libpcap takes the ring's bytes as an int */

enum options_action {
	OPTIONS_RECORD,
	OPTIONS_HELP,
	OPTIONS_VERSION,
};

struct options {
	enum options_action action;
	const char *output;	 /* directory; never NULL with OPTIONS_RECORD */
	const char **interfaces; /* as given; owned array, borrowed strings; none means any */
	size_t interface_count;
	const char *filter; /* "" if none */
	uint32_t snaplen;   /* bytes, 1..PCAPHEAD_MAX_SNAPLEN */
	uint32_t buffer_mib;
	int64_t interval_ns;
	uint32_t cpu_budget_ppm;  /* of one core, never 0 */
	int64_t rotate_time_ns;	  /* 0: never by time */
	uint64_t rotate_size;	  /* bytes of the pcap; 0: never by size */
	uint64_t keep_size;	  /* bytes; 0: no limit */
	int64_t keep_time_ns;	  /* 0: no limit */
	uint64_t keep_free_bytes; /* 0: no limit */
	uint32_t keep_free_ppm;	  /* of the file system; 0: no limit */
	bool compress;
	bool watch; /* events between the polls */
	bool quiet;
	int64_t duration_ns; /* 0: until stopped */
	const char *user;    /* NULL: stay the user that started */
	char **command;	     /* what follows --, NULL-terminated part of argv; NULL if none */
};

/* Fills *options, whose strings borrow from argv. 0, or ERROR_USAGE naming
 * the option and what it wanted, or ERROR_MEMORY. Not reentrant (getopt). */
int options_parse(int argc, char **argv, struct options *options, struct error *error);
void options_release(struct options *options);

/* The text of --help. */
extern const char options_help[];

#endif
