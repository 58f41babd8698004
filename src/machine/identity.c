// SPDX-License-Identifier: Apache-2.0
/* Whom a COMMAND runs as, and where that user is at home. */
#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/log.h"
#include "machine/agent_protocol.h"
#include "root_private.h"

static_assert((int)CONFIG_MAX_GROUPS == (int)AGENT_GROUPS_MAX, "what the agent can be told");

enum { GROUPS_MAX = 65536 }; /* NGROUPS_MAX of Linux */

/* --- homes --- */

static int copy_home(const char *path, char **ret)
{
    if (!path || path[0] != '/')
        return 0;
    char *home = path_normalise("/", path);
    if (!home)
        return -ENOMEM;
    if (home[1])
        *ret = home;
    else
        free(home);
    return 0;
}

int homes_find(struct homes *ret)
{
    const struct passwd *entry = getpwuid(getuid());

    *ret = (struct homes){ 0 };
    int err = copy_home(getenv("HOME"), &ret->named);
    if (!err && entry)
        err = copy_home(entry->pw_dir, &ret->listed);
    return err;
}

void homes_fini(struct homes *homes)
{
    free(homes->named);
    free(homes->listed);
}

char *identity_shell(void)
{
    const char *shell = getenv("SHELL");
    const struct passwd *entry = getpwuid(getuid());

    if (!shell || shell[0] != '/' || access(shell, X_OK))
        shell = entry && entry->pw_shell[0] == '/' && !access(entry->pw_shell, X_OK)
                    ? entry->pw_shell
                    : "/bin/sh";
    return strdup(shell);
}

/* --- users --- */

/* What is more than the agent can be told is left out. */
static void keep_groups(struct user_config *user, const gid_t *groups, int count)
{
    if (count > CONFIG_MAX_GROUPS)
        log_warn("user %u is in %d groups; the guest gets the first %d", user->uid, count,
                 CONFIG_MAX_GROUPS);
    for (int i = 0; i < count && i < CONFIG_MAX_GROUPS; i++)
        user->groups[user->group_count++] = groups[i];
}

static int take_own_groups(struct user_config *user)
{
    gid_t *groups = calloc(GROUPS_MAX, sizeof(*groups));
    int count = groups ? getgroups(GROUPS_MAX, groups) : -1;

    if (count > 0)
        keep_groups(user, groups, count);
    free(groups);
    return groups ? 0 : -ENOMEM;
}

static int take_groups_of(struct user_config *user, const char *name)
{
    gid_t *groups = calloc(GROUPS_MAX, sizeof(*groups));
    int count = GROUPS_MAX;

    if (groups && getgrouplist(name, user->gid, groups, &count) >= 0)
        keep_groups(user, groups, count);
    free(groups);
    return groups ? 0 : -ENOMEM;
}

static int take_names(struct user_config *user, const struct passwd *entry)
{
    if (!entry)
        return 0;
    user->name = strdup(entry->pw_name);
    user->home = strdup(entry->pw_dir);
    return user->name && user->home ? 0 : -ENOMEM;
}

static int take_caller(struct user_config *user)
{
    const char *home = getenv("HOME");

    *user = (struct user_config){ .is_known = true, .uid = getuid(), .gid = getgid() };
    int err = take_names(user, getpwuid(user->uid));
    if (!err && home && home[0] == '/') {
        free(user->home);
        user->home = strdup(home);
        err = user->home ? 0 : -ENOMEM;
    }
    return err ? err : take_own_groups(user);
}

/* "1000". Whatever else, it is a name. */
static bool read_number(const char *text, uint32_t *ret)
{
    char *end;

    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || number >= UINT32_MAX)
        return false;
    *ret = (uint32_t)number;
    return true;
}

/* A user of this host. A number need not be anybody's: its group is then called the same. */
static int take_host_user(struct user_config *user, const char *text)
{
    uint32_t number;
    bool is_number = read_number(text, &number);
    const struct passwd *entry = is_number ? getpwuid(number) : getpwnam(text);

    if (!entry && !is_number) {
        log_error("--user=%s: no user of this host is called so", text);
        return -ENOENT;
    }
    *user = (struct user_config){ .is_known = true,
                                  .uid = entry ? entry->pw_uid : number,
                                  .gid = entry ? entry->pw_gid : number };
    int err = take_names(user, entry);
    if (!err && user->name)
        err = take_groups_of(user, user->name);
    return err ? log_errno(err, "--user=%s", text) : 0;
}

/* One of another root's, whose list of users the guest reads. */
static int take_guest_user(struct user_config *user, const char *text)
{
    uint32_t number;

    if (read_number(text, &number)) {
        *user = (struct user_config){ .is_known = true, .uid = number, .gid = number };
        return 0;
    }
    user->name = strdup(text);
    return user->name ? 0 : log_errno(-ENOMEM, "--user=%s", text);
}

int identity_find(struct config *config)
{
    struct user_config *user = &config->run_as;

    if (config->user)
        return config->root == ROOT_HOST ? take_host_user(user, config->user)
                                         : take_guest_user(user, config->user);
    if (config->root == ROOT_HOST || config->root == ROOT_FOLDER) {
        int err = take_caller(user);
        return err ? log_errno(err, "who runs hutch") : 0;
    }
    return 0;
}
