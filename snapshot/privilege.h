/*
 * privilege.h - which capabilities the recorder has, and when.
 *
 *                      start   opening       recording
 *   user               as started   --user, if given, from "opening" on
 *   net_raw            yes     yes           no    the capture socket is open by then
 *   sys_ptrace         yes     yes           yes   /proc/PID/fd, /proc/PID/exe of other users
 *   dac_read_search    yes     yes           yes   the same; directories of hidden processes
 *   sys_admin          yes     (yes)         (yes) only where network namespaces are held by
 *                                                  mounts (ip netns add), to enter them
 *   dac_override       yes     (yes)         (yes) only where the evidence directory
 *                                                  belongs to another user
 *   net_admin            yes     (yes)         (yes) only where sockets are watched: to end the
 *                                                  kernel's process events
 *   sys_nice             yes     (yes)         no    the same: the priority of its threads, which
 *                                                  they inherit
 *   all others         yes     no            no
 *
 * "start" is before the evidence directory and the capture are looked at;
 * "opening" repairs the directory and opens the capture; "recording" begins
 * before the first thread is made, so that all threads have the same. From
 * "opening" on no_new_privs holds: nothing that is executed can gain any.
 * COMMAND is forked at "start" and keeps what it was started with.
 */
#ifndef SNAPSHOT_PRIVILEGE_H
#define SNAPSHOT_PRIVILEGE_H

#include <stdbool.h>
#include <stddef.h>

#include "snapshot/format/error.h"

enum privilege_phase {
	PRIVILEGE_OPENING,
	PRIVILEGE_RECORDING,
};

/* Drops to the phase's row of the table. user: NULL to stay the same one
 * (only looked at in PRIVILEGE_OPENING). made: this run made the directory
 * dirfd, so it is given to the user. One thread must be all there is.
 * watching: sockets are watched between snapshots. */
int privilege_drop(enum privilege_phase phase, const char *user, int dirfd, bool made,
		   bool watching, struct error *error);

/* Whether --user can be found, before anything is made. NULL is nobody to look for. */
int privilege_check_user(const char *user, struct error *error);

/* "full", or the names of the capabilities that snapshots want and that are
 * missing, joined by commas. Returns text. */
#define PRIVILEGE_TEXT_SIZE 96
const char *privilege_describe(char text[PRIVILEGE_TEXT_SIZE]);

#endif
