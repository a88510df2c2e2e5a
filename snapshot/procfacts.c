#include "snapshot/procfs.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define KERNEL_THREAD 0x00200000u /* PF_KTHREAD, include/linux/sched.h */
#define COMM_BYTES    15	  /* TASK_COMM_LEN without its NUL */

/* --------------------------------------------------------------- stat -- */

static uint64_t mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * UINT64_C(0x9E3779B97F4A7C15);
	return hash ^ hash >> 29;
}

static int stat_field(struct procfs_stat *stat, unsigned field, uint64_t value)
{
	switch (field) {
	case 4:
		stat->ppid = (uint32_t)value;
		break;
	case 9:
		stat->flags = value;
		break;
	case 20:
		stat->threads = (uint32_t)value;
		break;
	case 22:
		stat->start_ticks = value;
		break;
	case 26: /* startcode: 0 without a program, 1 where it may not be seen */
		stat->image = value ? mix(1, value) : 0;
		break;
	case 27: /* endcode */
	case 28: /* startstack */
	case 48: /* arg_start */
	case 49: /* arg_end */
		if (stat->image)
			stat->image = mix(stat->image, value) | 1;
		break;
	default:
		break;
	}
	return 0;
}

int procfs_parse_stat(const char *text, size_t length, struct procfs_stat *out, struct error *error)
{
	const char *open = memchr(text, '(', length), *close = memrchr(text, ')', length);
	const char *at, *end = text + length, *stop;
	struct procfs_stat stat = {0};
	unsigned field = 3;
	uint64_t value;
	size_t comm;

	if (!procfs_parse_number(text, UINT32_MAX, &value, &stop) || !open || !close ||
	    close < open)
		return error_damage(error, "stat", 0, "PID (NAME)", "'%.40s'", text);
	stat.pid = (uint32_t)value;
	comm = (size_t)(close - open - 1);
	if (comm >= sizeof(stat.comm))
		comm = sizeof(stat.comm) - 1;
	memcpy(stat.comm, open + 1, comm);
	for (at = close + 1; at < end && *at == ' ';) {
		bool negative = *++at == '-';

		if (field == 3)
			stat.state = *at, stop = at + (at < end);
		else if (!procfs_parse_number(at + negative, UINT64_MAX, &value, &stop))
			break;
		else
			stat_field(&stat, field, value);
		at = stop;
		field++;
	}
	if (field <= 22)
		return error_damage(error, "stat", close - text, "22 fields", "%u", field - 1);
	*out = stat;
	return 0;
}

bool procfs_is_kernel_thread(const struct procfs_stat *stat)
{
	return stat->flags & KERNEL_THREAD;
}

/* -------------------------------------------------------------- facts -- */

struct procfs_facts *procfs_facts_ref(struct procfs_facts *facts)
{
	if (facts)
		facts->references++;
	return facts;
}

void procfs_facts_unref(struct procfs_facts *facts)
{
	if (facts && --facts->references == 0) {
		procfs_fds_release(&facts->fds);
		free(facts);
	}
}

/* Real user id out of /proc/PID/status: "Uid:\treal\teffective…". */
static uint32_t read_uid(int dir, struct procfs_text *scratch)
{
	const char *at, *end;
	uint64_t uid;

	if (procfs_read_file(dir, "status", 0, scratch))
		return SNAP_UNKNOWN_UID;
	at = strstr(scratch->text, "\nUid:\t");
	if (!at || !procfs_parse_number(at + 6, UINT32_MAX, &uid, &end))
		return SNAP_UNKNOWN_UID;
	return (uint32_t)uid;
}

/* The v2 path alone, else all lines joined by ';'. NULL where unreadable. */
static const char *read_cgroup(int dir, struct procfs_text *scratch)
{
	char *text;

	if (procfs_read_file(dir, "cgroup", 0, scratch))
		return NULL;
	text = scratch->text;
	if (scratch->length && text[scratch->length - 1] == '\n')
		text[--scratch->length] = '\0';
	if (!strncmp(text, "0::", 3) && !strchr(text, '\n'))
		return text + 3;
	for (char *at = text; (at = strchr(at, '\n'));)
		*at = ';';
	return text;
}

/* Programs that rewrite their title leave the rest of the area full of NULs,
 * so all NULs at the end go, not only the last argument's own. */
static bool read_cmdline(int dir, struct procfs_text *scratch, bool *cut)
{
	*cut = false;
	if (procfs_read_file(dir, "cmdline", PROCFS_MAX_CMDLINE + 1, scratch))
		return false;
	if (scratch->length > PROCFS_MAX_CMDLINE) {
		scratch->length = PROCFS_MAX_CMDLINE;
		*cut = true;
	}
	while (scratch->length && !scratch->text[scratch->length - 1])
		scratch->length--;
	return true;
}

static const char *put(char **at, const char *text, size_t length)
{
	char *copy = *at;

	if (!text)
		return NULL;
	memcpy(copy, text, length);
	copy[length] = '\0';
	*at += length + 1;
	return copy;
}

struct procfs_facts *procfs_facts_read(int dir, int base, const struct procfs_process *process,
				       struct procfs_walk *walk)
{
	char exe_buffer[PATH_MAX + 64];
	const char *exe = NULL, *cmdline = NULL, *cgroup;
	const struct procfs_stat *stat = &process->stat;
	bool cut = false;
	struct procfs_facts *facts;
	size_t size;
	char *at;
	uint32_t uid = read_uid(dir, &walk->cgroup);

	cgroup = read_cgroup(base < 0 ? dir : base, &walk->cgroup);
	if (base >= 0 && !procfs_read_link(base, "exe", exe_buffer, sizeof(exe_buffer)))
		exe = exe_buffer;
	if (base >= 0 && read_cmdline(base, &walk->cmdline, &cut))
		cmdline = walk->cmdline.text;
	size = sizeof(*facts) + strlen(stat->comm) + (exe ? strlen(exe) : 0) +
	       (cmdline ? walk->cmdline.length : 0) + (cgroup ? strlen(cgroup) : 0) + 4;
	facts = calloc(1, size);
	if (!facts)
		return NULL;
	at = (char *)(facts + 1);
	facts->references = 1;
	facts->cmdline_cut = cut;
	facts->record = (struct snap_process){
		.pid = stat->pid,
		.start_ticks = stat->start_ticks,
		.ppid = stat->ppid,
		.uid = uid,
		.netns = process->netns,
	};
	facts->record.comm = put(&at, stat->comm, strlen(stat->comm));
	facts->record.exe = put(&at, exe, exe ? strlen(exe) : 0);
	facts->record.cgroup = put(&at, cgroup, cgroup ? strlen(cgroup) : 0);
	facts->record.cmdline = put(&at, cmdline, cmdline ? walk->cmdline.length : 0);
	facts->record.cmdline_length = cmdline ? walk->cmdline.length : 0;
	return facts;
}

struct procfs_facts *procfs_facts_of_exec(const struct snap_process *who, const char *path)
{
	size_t length = strlen(path);
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	size_t comm = strnlen(name, COMM_BYTES);
	struct procfs_facts *facts = calloc(1, sizeof(*facts) + length + 1 + comm + 1);
	char *at;

	if (!facts)
		return NULL;
	at = (char *)(facts + 1);
	facts->references = 1;
	facts->record = (struct snap_process){
		.pid = who->pid,
		.start_ticks = who->start_ticks,
		.ppid = who->ppid,
		.uid = SNAP_UNKNOWN_UID,
		.netns = who->netns,
	};
	facts->record.exe = put(&at, path[0] == '/' ? path : NULL, length);
	facts->record.comm = put(&at, comm ? name : NULL, comm);
	return facts;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

bool procfs_facts_same_image(const struct procfs_facts *a, const struct procfs_facts *b)
{
	const struct snap_process *p = &a->record, *q = &b->record;

	return same_text(p->comm, q->comm) && same_text(p->exe, q->exe) &&
	       p->cmdline_length == q->cmdline_length && !p->cmdline == !q->cmdline &&
	       (!p->cmdline || !memcmp(p->cmdline, q->cmdline, p->cmdline_length));
}
