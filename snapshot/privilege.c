#include "snapshot/privilege.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum condition {
	ALWAYS,
	IF_FOREIGN,  /* the directory belongs to another user */
	IF_WATCHING, /* sockets are watched between snapshots */
	IF_PINNED,   /* there are network namespaces that no process may be in */
};

static const struct {
	unsigned capability;
	bool opening, recording;
	enum condition condition;
} table[] = {
	{CAP_NET_RAW, true, false, ALWAYS},	    {CAP_SYS_PTRACE, true, true, ALWAYS},
	{CAP_DAC_READ_SEARCH, true, true, ALWAYS},  {CAP_SYS_ADMIN, true, true, IF_PINNED},
	{CAP_DAC_OVERRIDE, true, true, IF_FOREIGN}, {CAP_NET_ADMIN, true, true, IF_WATCHING},
	{CAP_SYS_NICE, true, false, IF_WATCHING},   {CAP_PERFMON, true, false, IF_WATCHING},
	{CAP_SYS_ADMIN, true, false, IF_WATCHING},
};

struct identity {
	uid_t uid;
	gid_t gid;
};

static int find_user(const char *name, struct identity *identity, struct error *error)
{
	struct passwd *user;

	errno = 0;
	user = getpwnam(name);
	if (!user && errno && errno != ENOENT && errno != ESRCH)
		return error_errno(error, NULL, "--user: looking up \"%s\"", name);
	if (!user)
		return error_set(error, ERROR_USAGE, NULL, -1, "--user: there is no user \"%s\"",
				 name);
	identity->uid = user->pw_uid;
	identity->gid = user->pw_gid;
	return 0;
}

int privilege_check_user(const char *user, struct error *error)
{
	struct identity identity;

	return user ? find_user(user, &identity, error) : 0;
}

static bool is_foreign(int dirfd, uid_t uid)
{
	struct stat directory;

	return fstat(dirfd, &directory) == 0 && directory.st_uid != uid;
}

/* Namespaces held by a mount (ip netns add) stand in the mount table. */
static bool has_pinned_namespaces(void)
{
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t size = 0;
	bool found = false;

	if (!mounts)
		return false;
	/* proc(5): "... - nsfs nsfs rw"; spaces in names are escaped. */
	while (!found && getline(&line, &size, mounts) > 0)
		found = strstr(line, " - nsfs ") && strstr(line, " net:[");
	free(line);
	fclose(mounts);
	return found;
}

/* What the table allows and the process has: nothing is ever gained here. */
static void choose(enum privilege_phase phase, bool foreign, bool watching)
{
	const bool met[] = {
		[ALWAYS] = true,
		[IF_FOREIGN] = foreign,
		[IF_WATCHING] = watching,
		[IF_PINNED] = has_pinned_namespaces(),
	};
	bool keep[sizeof table / sizeof *table];

	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		keep[i] = (phase == PRIVILEGE_OPENING ? table[i].opening : table[i].recording) &&
			  met[table[i].condition] &&
			  capng_have_capability(CAPNG_PERMITTED, table[i].capability);
	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (keep[i])
			capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED,
				     table[i].capability);
}

static int become(const struct identity *identity, const char *name, struct error *error)
{
	/* SETUID, SETGID and SETPCAP only last until the change. */
	int status = capng_change_id((int)identity->uid, (int)identity->gid,
				     CAPNG_INIT_SUPP_GRP | CAPNG_CLEAR_BOUNDING);

	if (status)
		return error_set(error, ERROR_SYSTEM, NULL, -1,
				 "--user: cannot become \"%s\" (capng_change_id: %d); run as root",
				 name, status);
	return 0;
}

int privilege_drop(enum privilege_phase phase, const char *user, int dirfd, bool made,
		   bool watching, struct error *error)
{
	struct identity identity = {geteuid(), getegid()};
	bool change = phase == PRIVILEGE_OPENING && user;
	capng_select_t select = CAPNG_SELECT_CAPS;
	int status = change ? find_user(user, &identity, error) : 0;

	if (status)
		return status;
	if (change && made && fchown(dirfd, identity.uid, identity.gid) != 0)
		return error_errno(error, NULL, "--user: giving the directory to \"%s\"", user);
	if (capng_get_caps_process() != 0)
		return error_errno(error, NULL, "reading the capabilities");
	if (capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
		select = CAPNG_SELECT_BOTH;
	choose(phase, is_foreign(dirfd, identity.uid), watching);
	if (change && identity.uid != geteuid()) {
		status = become(&identity, user, error);
		if (status)
			return status;
	} else if (capng_apply(select) != 0) {
		return error_errno(error, NULL, "dropping capabilities");
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return error_errno(error, NULL, "setting no_new_privs");
	return 0;
}

const char *privilege_describe(char text[PRIVILEGE_TEXT_SIZE])
{
	size_t length = 0;

	capng_get_caps_process();
	text[0] = '\0';
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		bool wanted = table[i].recording && table[i].condition != IF_FOREIGN &&
			      table[i].condition != IF_WATCHING &&
			      (table[i].condition == ALWAYS || has_pinned_namespaces());

		if (wanted && !capng_have_capability(CAPNG_EFFECTIVE, table[i].capability))
			length += (size_t)snprintf(text + length, PRIVILEGE_TEXT_SIZE - length,
						   "%scap_%s", length ? "," : "",
						   capng_capability_to_name(table[i].capability));
	}
	if (length == 0)
		snprintf(text, PRIVILEGE_TEXT_SIZE, "full");
	return text;
}
