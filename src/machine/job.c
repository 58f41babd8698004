// SPDX-License-Identifier: Apache-2.0
/* What the agent in the guest is asked to do: the user's COMMAND, and what it is to find there.
 *
 * The root is a layer in RAM over a folder or disk that is only read. It is put together below
 * LAYERS, in the initial RAM file system, and becomes "/"; what is mounted below comes after that,
 * folders before those in them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "host/fd.h"
#include "host/log.h"
#include "host/terminal.h"
#include "machine_private.h"
#include "root_image.h"
#include "root_private.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define LAYERS "/layers"

/* --- the root --- */

static const struct volume_config *find_root(const struct config *config)
{
    for (size_t i = 0; i < config->volume_count; i++) {
        if (config->volumes[i].is_root)
            return &config->volumes[i];
    }
    return NULL;
}

static void mount_image(const struct config *config, struct agent_job *job)
{
    char source[32] = "/dev/vda";

    if (config->root_partition)
        (void)snprintf(source, sizeof(source), "/dev/vda%u", config->root_partition);
    agent_job_mount(job, config->root_type, source, LAYERS "/lower", MS_RDONLY,
                    root_image_options(config->root_type));
}

static void add_root(const struct config *config, struct agent_job *job)
{
    const struct volume_config *root = find_root(config);

    if (!root && config->root != ROOT_IMAGE)
        return;
    agent_job_mount(job, "tmpfs", "tmpfs", LAYERS, MS_NODEV, "mode=0755");
    agent_job_text(job, AGENT_RECORD_MKDIR, LAYERS "/upper");
    agent_job_text(job, AGENT_RECORD_MKDIR, LAYERS "/work");
    if (root)
        agent_job_mount(job, "virtiofs", root->tag, LAYERS "/lower", MS_RDONLY | MS_NODEV, "");
    else
        mount_image(config, job);
    agent_job_mount(job, "overlay", "root", LAYERS "/root", MS_NODEV,
                    "lowerdir=" LAYERS "/lower,upperdir=" LAYERS "/upper,workdir=" LAYERS "/work");
    agent_job_text(job, AGENT_RECORD_ROOT, LAYERS "/root");
    agent_job_mount(job, "tmpfs", "tmpfs", "/run", MS_NODEV | MS_NOSUID, "mode=0755");
    agent_job_mount(job, "tmpfs", "tmpfs", "/tmp", MS_NODEV | MS_NOSUID, "mode=1777");
}

/* --- the folders --- */

struct place {
    const struct volume_config *volume;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *left = a, *right = b;

    return strcmp(left->volume->target, right->volume->target);
}

static void add_volumes(const struct config *config, struct agent_job *job)
{
    struct place places[CONFIG_MAX_SHARES];
    size_t count = 0;

    for (size_t i = 0; i < config->volume_count; i++) {
        if (config->volumes[i].target && !config->volumes[i].is_root)
            places[count++].volume = &config->volumes[i];
    }
    if (count > 0)
        qsort(places, count, sizeof(places[0]), compare_places);
    for (size_t i = 0; i < count; i++) {
        const struct volume_config *volume = places[i].volume;
        agent_job_mount(job, "virtiofs", volume->tag, volume->target,
                        MS_NODEV | (volume->read_only ? MS_RDONLY : 0), "");
    }
}

/* An empty one in place of a home that is hidden. */
static void add_home(const struct config *config, struct agent_job *job)
{
    const char *home = config->run_as.home;

    if (home && home[0] == '/' && home[1] && config->root != ROOT_NONE)
        agent_job_text(job, AGENT_RECORD_HOME, home);
}

static void add_workdir(const struct config *config, struct agent_job *job)
{
    if (!config->workdir)
        return;
    agent_job_text(job, AGENT_RECORD_MKDIR, config->workdir);
    agent_job_text(job, AGENT_RECORD_FOLDER, config->workdir);
}

/* --- the user --- */

static void add_user(const struct config *config, struct agent_job *job)
{
    const struct user_config *user = &config->run_as;

    if (user->is_known)
        agent_job_user(job, user->uid, user->gid, user->groups, user->group_count);
    else if (user->name)
        agent_job_text(job, AGENT_RECORD_USER_NAME, user->name);
}

/* --- the environment --- */

static void describe_user(const struct config *config, struct environment *environment)
{
    const struct user_config *user = &config->run_as;

    if (user->home)
        environment_set(environment, "HOME", user->home);
    else if (user->is_known || !user->name)
        environment_set(environment, "HOME", config->root == ROOT_IMAGE ? "/root" : "/");
    if (user->name) {
        environment_set(environment, "USER", user->name);
        environment_set(environment, "LOGNAME", user->name);
    } else if (user->is_known && user->uid != getuid()) { /* the caller's names are not his */
        environment_drop(environment, "USER");
        environment_drop(environment, "LOGNAME");
    }
}

/* --env: NAME is ours, if we have it. */
static void put_named(struct environment *environment, const char *text)
{
    const char *value = strchr(text, '=') ? NULL : getenv(text);

    if (strchr(text, '='))
        environment_put(environment, text);
    else if (value)
        environment_set(environment, text, value);
}

static void describe_terminal(struct agent_job *job, struct environment *environment)
{
    uint16_t columns = 80, rows = 24;
    const char *term = getenv("TERM");

    (void)terminal_size(STDOUT_FILENO, &columns, &rows);
    agent_job_tty(job, columns, rows);
    environment_set(environment, "TERM", term ? term : "linux");
}

static void add_environment(const struct config *config, struct agent_job *job)
{
    struct environment environment = { 0 };

    environment_set(&environment, "PATH", DEFAULT_PATH);
    if (config->root == ROOT_HOST)
        environment_take(&environment, environ);
    describe_user(config, &environment);
    if (config->root != ROOT_NONE && config->workdir)
        environment_set(&environment, "PWD", config->workdir);
    if (config->tty == TTY_ON)
        describe_terminal(job, &environment);
    for (char **text = config->env; text && *text; text++)
        put_named(&environment, *text);
    for (size_t i = 0; i < environment.count; i++)
        agent_job_text(job, AGENT_RECORD_ENV, environment.variables[i]);
    if (environment.err && !job->err)
        job->err = environment.err;
    environment_fini(&environment);
}

/* --- all of it --- */

int machine_make_job(const struct config *config, struct agent_job *job)
{
    agent_job_text(job, AGENT_RECORD_HOST_NAME, config->name);
    add_root(config, job);
    job_add_network(config, job); /* before a folder of the host's may be at /etc */
    add_user(config, job);
    add_home(config, job);
    add_volumes(config, job);
    add_workdir(config, job);
    agent_job_umask(job, fd_umask());
    add_environment(config, job);
    for (char **arg = config->command; *arg; arg++)
        agent_job_text(job, AGENT_RECORD_ARG, *arg);
    if (job->err == -E2BIG)
        log_error("the command, its arguments and variables: more than %d MiB, which the agent in "
                  "the guest does not take",
                  AGENT_JOB_MAX >> 20);
    else if (job->err)
        (void)log_errno(job->err, "the command, its arguments and variables");
    return job->err;
}
