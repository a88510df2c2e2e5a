#include "snapshot/format/usage.h"

#include <getopt.h>
#include <string.h>

int usage_bad_option(const char *program, int found, const char *letters, char **argv,
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

int usage_bad_value(const char *option, const char *wanted, const char *found, struct error *error)
{
	return error_set(error, ERROR_USAGE, NULL, -1, "%s: wanted %s, found \"%s\"", option,
			 wanted, found);
}
