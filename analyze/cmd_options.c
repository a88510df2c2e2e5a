/* What the verbs say of an option that getopt did not take. */
#include <getopt.h>
#include <string.h>

#include "analyze/cmd.h"

int cmd_bad_option(const char *program, int found, const char *letters, char **argv,
		   struct error *error)
{
	if (found == ':')
		return error_set(error, ERROR_USAGE, NULL, -1, "%s needs a value; see %s --help",
				 argv[optind - 1], program);
	/* Where letters share a dash, optind has not passed the word they are in. */
	if (optopt > 0 && optopt < 256 && strchr(letters, optopt) == NULL)
		return error_set(error, ERROR_USAGE, NULL, -1,
				 "unknown option \"-%c\"; see %s --help", optopt, program);
	return error_set(error, ERROR_USAGE, NULL, -1, "unknown option \"%s\"; see %s --help",
			 argv[optind - 1], program);
}
