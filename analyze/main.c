/* pcapwho: which process sent this packet? */
#include <locale.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "analyze/cmd.h"
#include "snapshot/format/error.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
} verbs[] = {
	{"record", cmd_record, "record packets beside snapshots of sockets and processes"},
	{"analyze", cmd_analyze, "join recorded packets to processes, into a database"},
	{"query", cmd_query, "ask a database: named queries or SQL, as table, csv or json"},
	{"merge", cmd_merge, "join the databases of many hosts into one"},
	{"explain", cmd_explain, "why a packet or flow has that owner, back to the evidence"},
	{"import", cmd_import, "make evidence of hand-gathered copies of /proc and captures"},
	{"index", cmd_index, "make the indexes of compressed captures anew"},
};

static void print_help(FILE *to)
{
	fputs("Usage: pcapwho VERB [ARGUMENT]...\n"
	      "Which process sent this packet? Asked after the fact.\n\n",
	      to);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		fprintf(to, "  %-8s  %s\n", verbs[i].name, verbs[i].summary);
	fputs("\n"
	      "  pcapwho VERB --help   what the verb takes; so does pcapwho help VERB\n"
	      "  pcapwho --version\n"
	      "\n"
	      "As root:  pcapwho record -o evidence -- curl -O http://192.0.2.1/file\n"
	      "Anywhere: pcapwho analyze evidence -o traffic.db && pcapwho query traffic.db top\n"
	      "\n"
	      "Exit status: 0 done; 1 failed; 2 done, but some input was damaged and skipped;\n"
	      "64 wrong usage; 66 no such input.\n",
	      to);
}

static int run_verb(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(argv[0], verbs[i].name) == 0)
			return verbs[i].run(argc, argv);
	}
	fprintf(stderr, "pcapwho: no verb \"%s\"; see pcapwho --help\n", argv[0]);
	return EXIT_BAD_USAGE;
}

/* An array that doubles is moved by the kernel, and what is freed goes back to it, only while
 * glibc asks the kernel for each large piece; by itself it stops that after the first one freed,
 * and what smaller ones of the array were then stays as holes. */
static void keep_large_pieces_apart(void)
{
#ifdef __GLIBC__
	const int large_bytes = 128 * 1024; /* what it begins with */

	mallopt(M_MMAP_THRESHOLD, large_bytes);
#endif
}

static int run(int argc, char **argv)
{
	char flag[] = "--help";

	if (argc < 2) {
		print_help(stderr);
		return EXIT_BAD_USAGE;
	}
	if (strcmp(argv[1], "help") == 0 && argc > 2)
		return run_verb(2, (char *[]){argv[2], flag, NULL});
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0) {
		print_help(stdout);
		return EXIT_DONE;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		puts("pcapwho " PCAPWHO_VERSION);
		return EXIT_DONE;
	}
	return run_verb(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	keep_large_pieces_apart();
	setlocale(LC_CTYPE, "");
	return error_end_output("pcapwho", run(argc, argv));
}
