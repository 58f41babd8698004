// SPDX-License-Identifier: Apache-2.0
/* The parts of the plan for a COMMAND (machine/root.h). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "machine/config.h"

/* --- paths.c: all pure --- */

/* An absolute path without ".", "..", double slashes, and one at its end; the caller's to free.
 * NULL if there is no memory. @folder: what a relative one begins in. */
char *path_normalise(const char *folder, const char *path);
/* Whether @path is @folder, or below it; both normalised. */
bool path_is_beneath(const char *path, const char *folder);

/* --- identity.c --- */

/* Fills in config->run_as. Logs. Returns 0 or -errno. */
int identity_find(struct config *config);
/* The user's home as the environment and as the host's list of users know it, which may differ;
 * each NULL if there is none, or it is "/". */
struct homes {
    char *named, *listed;
};
/* Returns 0 or -ENOMEM; homes_fini() is due in either case. */
int homes_find(struct homes *ret);
void homes_fini(struct homes *homes);
/* The caller's shell: the caller's to free. NULL if there is no memory. */
char *identity_shell(void);

/* --- hidden.c --- */

/* Makes whole paths of those of --hide, in config->hidden. Returns 0, -ENOMEM, or -EINVAL, which it
 * logs. */
int hidden_complete(struct config *config);
/* The same, and adds all else that a COMMAND may not see of the host. */
int hidden_find(struct config *config, const struct homes *homes);
/* What of the host's root is the kernel's, or of this boot, and made anew in the guest. */
extern const char *const hidden_of_root[];

/* --- job_network.c --- */

struct agent_job;
/* The card whose network the job sets up; NULL: there is none. */
const struct net_config *job_find_card(const struct config *config);
/* The network of a card of --net=user, and how names are resolved by it. Logs if they will not be.
 */
void job_add_network(const struct config *config, struct agent_job *job);
/* Whether the guest finds names so, if there are any to be found: not if @host (NULL: none), the
 * host's resolv.conf, names resolvers of IPv6 alone which nobody else can ask. */
bool job_reaches_resolver(const char *host);
/* What the guest has in its /etc/resolv.conf, if the host has @host in its own (NULL: none): the
 * caller's to free. NULL if there is no memory. */
char *job_describe_resolver(const char *host);

/* --- environment.c --- */

/* A list of "NAME=VALUE"; zeroed it is empty. Failures are kept in it. */
struct environment {
    char **variables; /* NULL-terminated, or NULL */
    size_t count;
    int err; /* 0 or -ENOMEM */
};

void environment_fini(struct environment *environment);
/* Adds a variable, or replaces the one of that name. */
void environment_set(struct environment *environment, const char *name, const char *value);
/* The same of "NAME=VALUE". */
void environment_put(struct environment *environment, const char *variable);
/* Takes a variable out, if it is there. */
void environment_drop(struct environment *environment, const char *name);
/* Takes those of @variables that mean the same in the guest, and are no secrets. */
void environment_take(struct environment *environment, char *const *variables);
