// SPDX-License-Identifier: Apache-2.0
/* The plan for a COMMAND: which folders of the host the guest gets, and where.
 *
 *   the root      read-only, under a layer in the guest's RAM which takes what is written
 *   $PWD          as it is, at its own path, unless that would be everything or the home
 *   the modules   of the guest's kernel, if those of this host are others
 *   the home      with --home=rw; else it is in the root (--home=ro), or not there at all
 *   the program   its folder, only to be read, if it is named by a path below /tmp
 *   --volume      those whose place in the guest is known; the others the guest mounts itself
 *
 * What is hidden is hidden in all of them, but a folder that is itself one of them is there: that
 * is how $PWD in a hidden home is reached. */
#include "machine/root.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/fd.h"
#include "host/log.h"
#include "root_image.h"
#include "root_private.h"

/* --- which machine --- */

/* Whether the user brings a machine along, which boots without our files. A kernel alone is none:
 * Linux panics without a root. Nor is a disk alone, unless the kernel is told that its root is
 * there. */
static bool is_users_own(const struct config *config)
{
    bool boots_from_disk = config->kernel || config_appends(config, "root=");

    return config->initrd || config->initrd_auto || config->cmdline ||
           (config->disk_count > 0 && boots_from_disk) || config->console.kind == CONSOLE_TTY ||
           (config->serial.is_set && config->serial.kind == CONSOLE_TTY);
}

bool root_is_open(const struct config *config)
{
    return config->root == ROOT_UNSET && !config->command && !is_users_own(config);
}

static int choose_path(struct config *config)
{
    struct stat st;

    if (stat(config->root_path, &st))
        return log_errno(-errno, "--root=%s", config->root_path);
    if (S_ISDIR(st.st_mode)) {
        config->root = ROOT_FOLDER;
        return 0;
    }
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
        log_error("--root=%s: neither a folder nor an image", config->root_path);
        return -EINVAL;
    }
    config->root = ROOT_IMAGE;
    return root_image_take(config);
}

static int choose_shell(struct config *config)
{
    config->shell[0] = config->root == ROOT_HOST ? identity_shell() : strdup("/bin/sh");
    if (!config->shell[0])
        return log_errno(-ENOMEM, "the shell");
    config->command = config->shell;
    return 0;
}

int root_choose(struct config *config, bool is_linux)
{
    int err = 0;

    if (config->root == ROOT_PATH)
        err = choose_path(config);
    else if (config->root == ROOT_UNSET && (config->command || (root_is_open(config) && is_linux)))
        config->root = ROOT_HOST;
    if (!err && !config->command && (config->root == ROOT_HOST || config->root == ROOT_FOLDER))
        err = choose_shell(config);
    return err;
}

/* --- folders --- */

/* Takes over @path and @target, which are NULL if there is no memory. */
static int add_folder(struct config *config, char *path, char *target, bool read_only)
{
    struct volume_config *volume = &config->volumes[config->volume_count];

    if (!path || !target || config->volume_count == CONFIG_MAX_SHARES) {
        free(path);
        free(target);
        return -ENOMEM;
    }
    *volume = (struct volume_config){ .path = path, .target = target, .read_only = read_only };
    config->volume_count++;
    return 0;
}

static int add_root(struct config *config)
{
    const char *path = config->root == ROOT_HOST ? "/" : config->root_path;
    int err = add_folder(config, strdup(path), strdup("/"), true);

    if (!err)
        config->volumes[config->volume_count - 1].is_root = true;
    return err;
}

/* Where the agent mounts what the user named: there, or at its own path. */
static int place_volume(struct volume_config *volume)
{
    AUTO_FREE char *real = NULL;

    if (volume->tag && volume->tag[0] != '/')
        return 0;
    if (volume->tag) {
        volume->target = path_normalise("/", volume->tag);
    } else {
        real = realpath(volume->path, NULL);
        if (!real)
            return log_errno(-errno, "--volume=%s", volume->path);
        volume->target = strdup(real);
    }
    free(volume->tag);
    volume->tag = NULL;
    if (!volume->target)
        return log_errno(-ENOMEM, "--volume=%s", volume->path);
    if (volume->target[1])
        return 0;
    log_error("--volume=%s: another root for the guest is given with --root", volume->path);
    return -EINVAL;
}

static int place_volumes(struct config *config)
{
    int err = 0;

    for (size_t i = 0; !err && i < config->volume_count; i++) {
        const struct volume_config *volume = &config->volumes[i];

        err = place_volume(&config->volumes[i]);
        for (size_t j = 0; !err && volume->target && j < i; j++) {
            const char *other = config->volumes[j].target;
            if (!other || strcmp(other, volume->target) != 0)
                continue;
            log_error("--volume=%s: '%s' in the guest is another volume's place already",
                      volume->path, volume->target);
            err = -EINVAL;
        }
    }
    return err;
}

/* Whether the user has said what is at @path in the guest. */
static bool is_covered(const struct config *config, const char *path)
{
    for (size_t i = 0; i < config->volume_count; i++) {
        const struct volume_config *volume = &config->volumes[i];
        if (volume->target && !volume->is_root && path_is_beneath(path, volume->target))
            return true;
    }
    return false;
}

static int add_home(struct config *config, const struct homes *homes)
{
    const char *home = homes->named ? homes->named : homes->listed;
    bool is_in_root = config->root == ROOT_HOST && config->home == HOME_RO;
    struct stat st;

    if (config->home == HOME_HIDE || is_in_root || !home || is_covered(config, home) ||
        stat(home, &st) || !S_ISDIR(st.st_mode))
        return 0;
    return add_folder(config, strdup(home), strdup(home), config->home == HOME_RO);
}

/* --- the working folder --- */

/* Where the kernel of the guest has files of its own. */
static bool is_kernels(const char *path)
{
    return path_is_beneath(path, "/proc") || path_is_beneath(path, "/sys") || !strcmp(path, "/dev");
}

/* Whether @home, or all homes, are in @folder. */
static bool holds(const char *folder, const char *home)
{
    AUTO_FREE char *real = home ? realpath(home, NULL) : NULL;

    return home && (path_is_beneath(home, folder) || (real && path_is_beneath(real, folder)));
}

static bool holds_homes(const char *folder, const struct homes *homes)
{
    return holds(folder, homes->named) || holds(folder, homes->listed) || holds(folder, "/home");
}

/* Nobody writes into all of the host, or the home, without having said so. */
static int add_working_folder(struct config *config, const struct homes *homes, const char *folder)
{
    if (is_covered(config, folder) || is_kernels(folder))
        return 0;
    if (!holds_homes(folder, homes))
        return add_folder(config, strdup(folder), strdup(folder), false);
    if (folder[1] && config->home == HOME_HIDE)
        log_warn("the guest does not see '%s', as it is, or has, your home folder: it finds an "
                 "empty one; --home=ro shows it, --home=rw lets it write there, too",
                 folder);
    return 0;
}

/* A program that is named by its path below /tmp, which is another one in the guest, is in its
 * place there all the same, and can read its folder: `go test -exec` runs what it built so. */
static int add_program_folder(struct config *config)
{
    const char *program = config->command[0];
    AUTO_FREE char *folder = NULL;
    struct stat st;

    if (config->root != ROOT_HOST || program[0] != '/' || stat(program, &st) ||
        !S_ISREG(st.st_mode))
        return 0;
    folder = path_normalise(program, "..");
    if (!folder)
        return -ENOMEM;
    if (!path_is_beneath(folder, "/tmp") || !strcmp(folder, "/tmp") || is_covered(config, folder))
        return 0;
    return add_folder(config, strdup(folder), strdup(folder), true);
}

/* The modules of the guest's kernel where modprobe looks for them, if the host's own are others. */
static int add_modules(struct config *config)
{
    AUTO_FREE char *dep = NULL, *target = NULL;
    const char *folder = config->modules_folder, *slash = folder ? strrchr(folder, '/') : NULL;

    if (!slash || !slash[1])
        return 0;
    if (asprintf(&dep, "%s/modules.dep", folder) < 0) {
        dep = NULL;
        return -ENOMEM;
    }
    if (asprintf(&target, "/lib/modules%s", slash) < 0) {
        target = NULL;
        return -ENOMEM;
    }
    AUTO_FREE char *there = config->root == ROOT_HOST ? realpath(target, NULL) : NULL;
    if (access(dep, R_OK) || (there && !strcmp(there, folder)) || is_covered(config, target))
        return 0;
    return add_folder(config, strdup(folder), take_pointer(target), true);
}

static int set_workdir(struct config *config, const char *folder)
{
    char *path = path_normalise(folder, config->workdir ? config->workdir : "");

    if (!path)
        return -ENOMEM;
    free(config->workdir);
    config->workdir = path;
    return 0;
}

/* The folder of the host that is at @path in the guest, or above it, and the nearest. */
static const struct volume_config *find_folder(const struct config *config, const char *path)
{
    const struct volume_config *found = NULL;

    for (size_t i = 0; i < config->volume_count; i++) {
        const struct volume_config *volume = &config->volumes[i];
        if (volume->target && path_is_beneath(path, volume->target) &&
            (!found || strlen(volume->target) > strlen(found->target)))
            found = volume;
    }
    return found;
}

/* In the layer in RAM it can be made; into the host's folders nobody writes by mistake. What is at
 * the end of a link is the guest's to find. */
static int check_workdir(const struct config *config)
{
    const struct volume_config *volume = find_folder(config, config->workdir);
    AUTO_FREE char *path = NULL;
    struct stat st;

    if (!volume || config->root != ROOT_HOST)
        return 0;
    const char *rest = config->workdir + (volume->is_root ? 0 : strlen(volume->target));
    if (asprintf(&path, "%s%s", volume->is_root ? "" : volume->path, rest) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    int err = lstat(path, &st) ? -errno : 0;
    if (err == -ENOENT && !volume->is_root)
        log_error("--workdir=%s: there is no folder '%s' on the host; make it there first",
                  config->workdir, path);
    else if (err == -ENOTDIR || (!err && !S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode)))
        log_error("--workdir=%s: '%s' on the host is not a folder", config->workdir, path);
    else
        return 0;
    return -ENOTDIR;
}

static int plan_folders(struct config *config, const struct homes *homes, const char *folder)
{
    int err = add_root(config);

    if (!err)
        err = add_modules(config);
    if (!err)
        err = add_home(config, homes);
    if (!err)
        err = add_working_folder(config, homes, folder);
    if (!err)
        err = add_program_folder(config);
    if (!err)
        err = set_workdir(config, folder);
    return err ? err : check_workdir(config);
}

/* --- all of it --- */

/* Tags of ours, which nobody needs to know. */
static int name_tags(struct config *config)
{
    for (size_t i = 0; i < config->volume_count; i++) {
        struct volume_config *volume = &config->volumes[i];

        if (volume->tag)
            continue;
        if (asprintf(&volume->tag, "hutch.%zu", i) < 0) {
            volume->tag = NULL;
            return log_errno(-ENOMEM, "folder '%s'", volume->path);
        }
    }
    return 0;
}

/* Of an image, and an initial RAM disk, the guest has all that is in it. */
static int plan_system(struct config *config, const struct homes *homes)
{
    AUTO_FREE char *folder = getcwd(NULL, 0);

    if (config->root != ROOT_HOST && config->root != ROOT_FOLDER)
        return set_workdir(config, "/");
    if (!folder || folder[0] != '/') {
        log_error("the folder in which you are is not there any more: cd to another one");
        return -ENOENT;
    }
    return plan_folders(config, homes, folder);
}

static int plan_files(struct config *config)
{
    struct homes homes;
    int err = homes_find(&homes);

    if (!err)
        err = hidden_find(config, &homes);
    if (!err)
        err = plan_system(config, &homes);
    homes_fini(&homes);
    return err == -ENOMEM ? log_errno(err, "the guest's folders") : err;
}

static int plan_command(struct config *config)
{
    int err = place_volumes(config);

    if (!err)
        err = identity_find(config);
    if (!err)
        err = plan_files(config);
    if (!err)
        err = name_tags(config);
    return err ? err : config_check_device_count(config, config_may_be_pci(config));
}

int root_plan(struct config *config)
{
    if (config->command)
        return plan_command(config);
    int err = hidden_complete(config);
    return err == -ENOMEM ? log_errno(err, "--hide") : err;
}
