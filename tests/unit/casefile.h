/*
 * casefile.h - a directory of evidence with one segment, made of a scene (scene.h), and
 * its database: what questions are asked of.
 */
#ifndef TESTS_UNIT_CASEFILE_H
#define TESTS_UNIT_CASEFILE_H

#include <stddef.h>
#include <stdint.h>

#include "analyze/load.h"
#include "tests/unit/scene.h"

#define CASEFILE_STEM "000001-20261121T200000.000000000Z"

extern char casefile_root[64], casefile_pcap[128], casefile_snap[128], casefile_database[128];

/* Setup and teardown: the directory, and the scene begun with casefile_scene. */
int casefile_begin(void **state);
int casefile_end(void **state);
/* A new scene: a key frame at 0 with the host's addresses. watcher: the header's; NULL: none. */
void casefile_scene(const char *watcher);

/* As analyze has them, with one worker. */
struct load_options casefile_options(void);
/* Ends the scene with a poll at 9000 ms, writes it and the packets (ifindex: as
 * scene_write_pcap_of), and loads both. */
void casefile_load(const struct scene_packet *packets, const uint32_t *ifindex, size_t count,
		   const struct load_options *options);

#endif
