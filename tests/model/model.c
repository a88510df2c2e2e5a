/*
 * model.c - random histories of a host through the whole analyzer, each packet held
 * against the truth. Speaks TAP. tests/model/README.md
 */
#include <dirent.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"
#include "tests/model/model.h"

/* What make check plays: some seconds on one core. */
#define HISTORIES 300
/* Of the ends whose owner the oracle knows, so many may be unknown to the analyzer: a little more
 * than is. Over fewer ends than that the share says little. */
#define MOST_UNKNOWN_PERCENT 0.35
#define ENDS_ENOUGH	     5000
/* Of the ends in histories with rotations, so many may be told otherwise without them: a little
 * more than are, in the histories that make check plays. */
#define MOST_BY_ROTATION_PERCENT 0.4

/* Each of these showed a fault once; they are played before the others. */
static const uint64_t kept[] = {469,  569,  1061, 1022, 1289, 1607, 1964,  2139,  2184,	 2279, 4913,
				5687, 6383, 6862, 6936, 9049, 9185, 21125, 21368, 40193, 42263};

/* So did these where captures went to the analyzer in parts of so many packets. */
static const struct {
	uint64_t seed, part_packets;
} kept_in_parts[] = {{7016, 50}, {7433, 11}};

static const char help[] =
	"Usage: model [-n HISTORIES] [-s SEED] [-p PACKETS] [-k DIR] [-v]\n"
	"Plays histories SEED, SEED + 1, ...; without -s those that showed a fault once, and\n"
	"then 1, 2, ... (default 300).\n"
	"-p: the analyzer takes captures in parts of so many packets\n"
	"-k: keep the evidence of each in DIR/SEED, its database in DIR/SEED.db\n"
	"-v: print each packet with a wrong owner, excused or not\n";

struct run {
	uint64_t histories, seed, part_packets;
	const char *keep;
	const char *program;
	bool verbose;
	uint64_t bad;
};

static void remove_all(const char *directory)
{
	char path[512];
	DIR *dir = opendir(directory);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	if (dir != NULL)
		closedir(dir);
	rmdir(directory);
	snprintf(path, sizeof(path), "%s.db", directory);
	unlink(path);
}

static void play(struct run *run, const char *base, uint64_t seed, uint64_t part_packets,
		 struct model_score *score)
{
	struct model_world world;
	struct model_evidence evidence;
	char directory[256], uncut[272];
	bool good;

	snprintf(directory, sizeof(directory), "%s/%" PRIu64, base, seed);
	if (mkdir(directory, 0700) != 0) {
		perror(directory);
		exit(1);
	}
	model_make(&world, seed);
	model_record(&world, &evidence, directory);
	good = model_judge(&world, &evidence, directory, part_packets, run->verbose, score);
	if (run->verbose)
		model_print(&world);
	if (run->keep == NULL) {
		remove_all(directory);
		snprintf(uncut, sizeof(uncut), "%s.uncut", directory);
		remove_all(uncut);
	}
	model_evidence_free(&evidence);
	model_free(&world);
	if (!good && run->bad++ == 0)
		printf("# again: %s -v -n 1 -s %" PRIu64 " -p %" PRIu64 "\n", run->program, seed,
		       part_packets);
}

static int compare_reasons(const void *left, const void *right)
{
	return strcmp(((const struct model_reason *)left)->text,
		      ((const struct model_reason *)right)->text);
}

static void report(struct model_score *score)
{
	printf("# %" PRIu64 " histories, %" PRIu64 " packets, %" PRIu64
	       " local ends: owned %" PRIu64 ", wrong %" PRIu64 ", not counted %" PRIu64 "\n",
	       score->histories, score->packets, score->ends, score->owned, score->wrong,
	       score->uncounted);
	printf("# the oracle knows %" PRIu64 ", of which unknown to the analyzer %" PRIu64
	       " (%.2f %%); owners beyond the oracle %" PRIu64 "; wrong and excused %" PRIu64
	       "; true one no candidate %" PRIu64 "\n",
	       score->exact_ends, score->short_of,
	       score->exact_ends > 0 ? 100.0 * (double)score->short_of / (double)score->exact_ends
				     : 0.0,
	       score->beyond, score->exempt, score->left_out);
	printf("# of %" PRIu64 " ends with rotations, if there had been none: %" PRIu64
	       " would be somebody's, %" PRIu64 " nobody's, %" PRIu64 " another one's\n",
	       score->compared, score->cut_unknown, score->uncut_unknown, score->cut_otherwise);
	qsort(score->reasons, score->reason_count, sizeof(*score->reasons), compare_reasons);
	for (size_t i = 0; i < score->reason_count; i++)
		printf("# %8" PRIu64 " %s (first: seed %" PRIu64 ")\n", score->reasons[i].count,
		       score->reasons[i].text, score->reasons[i].seed);
}

static bool is_kept(uint64_t seed)
{
	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++) {
		if (kept[i] == seed)
			return true;
	}
	return false;
}

static int parse(int argc, char **argv, struct run *run)
{
	int c;

	while ((c = getopt(argc, argv, "n:s:p:k:v")) != -1) {
		if ((c == 'n' && quantity_parse_uint(optarg, UINT32_MAX, &run->histories) == 0) ||
		    (c == 's' && quantity_parse_uint(optarg, UINT64_MAX, &run->seed) == 0) ||
		    (c == 'p' && quantity_parse_uint(optarg, UINT32_MAX, &run->part_packets) == 0))
			continue;
		if (c == 'k')
			run->keep = optarg;
		else if (c == 'v')
			run->verbose = true;
		else
			return -1;
	}
	return optind == argc ? 0 : -1;
}

int main(int argc, char **argv)
{
	static struct model_score score;
	struct run run = {.histories = HISTORIES, .program = argv[0]};
	char base[] = "/tmp/pcapwho-model.XXXXXX", shm[] = "/dev/shm/pcapwho-model.XXXXXX";
	const char *directory = NULL;
	bool unknown, hangs;
	uint64_t otherwise;

	if (parse(argc, argv, &run) != 0) {
		fputs(help, stderr);
		return 64;
	}
	/* Each history is synced to the disk several times: in memory where there is any. */
	directory = run.keep != NULL ? run.keep : mkdtemp(shm);
	if (directory == NULL)
		directory = mkdtemp(base);
	if (directory == NULL) {
		perror("model");
		return 1;
	}
	for (size_t i = 0; run.seed == 0 && i < sizeof(kept) / sizeof(*kept); i++)
		play(&run, directory, kept[i], run.part_packets, &score);
	for (size_t i = 0; run.seed == 0 && i < sizeof(kept_in_parts) / sizeof(*kept_in_parts); i++)
		play(&run, directory, kept_in_parts[i].seed, kept_in_parts[i].part_packets, &score);
	for (uint64_t i = 0; i < run.histories; i++) {
		uint64_t seed = (run.seed == 0 ? 1 : run.seed) + i;

		if (run.seed != 0 || !is_kept(seed))
			play(&run, directory, seed, run.part_packets, &score);
	}
	if (run.keep == NULL)
		rmdir(directory);
	report(&score);
	unknown = score.exact_ends > ENDS_ENOUGH &&
		  (double)score.short_of > MOST_UNKNOWN_PERCENT / 100 * (double)score.exact_ends;
	otherwise = score.cut_unknown + score.uncut_unknown + score.cut_otherwise;
	hangs = run.seed == 0 && run.histories == HISTORIES &&
		(double)otherwise > MOST_BY_ROTATION_PERCENT / 100 * (double)score.compared;
	printf("1..3\n%sok 1 - %" PRIu64 " histories, %" PRIu64 " with a wrong owner or count\n",
	       run.bad > 0 ? "not " : "", score.histories, run.bad);
	printf("%sok 2 - %" PRIu64 " of %" PRIu64 " ends unknown, though the oracle knows\n",
	       unknown ? "not " : "", score.short_of, score.exact_ends);
	printf("%sok 3 - %" PRIu64 " of %" PRIu64 " ends hang on where a rotation fell\n",
	       hangs ? "not " : "", otherwise, score.compared);
	return run.bad > 0 || unknown || hangs;
}
