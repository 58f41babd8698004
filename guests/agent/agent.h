// SPDX-License-Identifier: Apache-2.0
/* The parts of the agent: what it makes of the machine (machine.c, network.c), what the kernel says
 * meanwhile (kernel_log.c), the job (job.c, user.c), the command (command.c), why any of it failed
 * (failure.c), and the conversation with the host (conversation.h). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "machine/agent_protocol.h"
#include "sys.h"

/* --- machine.c --- */

/* Mounts what every program expects, and loads the modules. */
void machine_set_up(void);
/* Waits for the host's port. Returns it, opened. */
int machine_open_port(void);
/* The kernel's log from the beginning of its boot, or -1. */
int machine_open_log(void);
_Noreturn void machine_power_off(void);

/* --- kernel_log.c --- */

/* Takes what there is of the kernel's log, up to some lines, and calls @tell for each that tells of
 * something the host wants to know: with the kernel's words, @len bytes without a NUL. Returns
 * whether there may be more. */
bool kernel_log_read(int fd,
                     void (*tell)(void *ctx, enum agent_event event, const char *text, size_t len),
                     void *ctx);

/* --- failure.c --- */

struct failure {
    uint32_t status; /* as in struct agent_failed */
    char text[AGENT_TEXT_MAX + 1];
};

/* Notes that @what, and in quotes @name, failed with @err, a negative errno. Returns false. */
bool failure_describe(struct failure *failure, uint32_t status, const char *what, const char *name,
                      long err);

/* --- job.c --- */

enum { JOB_STRINGS_MAX = 262144 };

struct job {
    uint32_t len; /* of the records */
    uint32_t arg_count, env_count;
    char *args[JOB_STRINGS_MAX + 1], *env[JOB_STRINGS_MAX + 1]; /* end in NULL */
    char *home;         /* "HOME=...", of a user by name, if the host gives none; or NULL */
    const char *folder; /* or NULL */
    bool has_user, has_tty;
    uint32_t uid, gid, group_count, umask;
    uint32_t groups[AGENT_GROUPS_MAX];
    struct agent_window window;
    uint8_t records[AGENT_JOB_MAX];
};

/* Appends bytes of the records. Returns whether there was room. */
bool job_add(struct job *job, const void *data, uint32_t len);
/* Reads the records; mounts and changes the root as they say, in their order. Returns whether all
 * of it was done; @failure says what was not. */
bool job_prepare(struct job *job, struct failure *failure);

/* --- network.c --- */

/* Programs talk to themselves over it. */
void network_raise_loopback(void);
/* Gives a card its addresses. Returns whether it has them; @failure says why not. */
bool network_set_up(const struct agent_network *network, struct failure *failure);

/* --- user.c --- */

/* Makes the user of that name, with groups and home, the command's. Returns whether there is one;
 * @failure says so. */
bool user_find(struct job *job, const char *name, struct failure *failure);

/* --- command.c --- */

struct command {
    int pid;
    int input, output, errors; /* our ends: the terminal's twice, which has no errors; or -1 */
};

/* Starts the command. Returns whether it runs; @failure says why not. */
bool command_start(struct command *command, struct job *job, struct failure *failure);
