// SPDX-License-Identifier: Apache-2.0
/* Gets a kernel with apt-get, which checks the archive's signatures, and unpacks it with dpkg-deb:
 *
 *   CACHE/kernels/PACKAGE_VERSION/boot/vmlinuz-RELEASE, boot/config-RELEASE, lib/modules/RELEASE/
 *
 * All happens in a folder of its own, which is renamed at the end: nobody ever finds half a kernel
 * there. One pull waits for another, so that two do not download the same. */
#include "kernel_pull.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/fd.h"
#include "host/folder.h"
#include "host/log.h"
#include "host/program.h"
#include "host/signals.h"
#include "kernel_find.h"
#include "kernel_needs.h"

enum { NAME_LEN = 128, APT_OUTPUT_MAX = 1 << 20, SIGNAL_STATUS = 128 };

static const char new_prefix[] = ".new."; /* of folders that are not ready */

/* "linux-image-" and what is left of @version; a package's whole name is taken as it is. */
static int name_package(const char *version, char *name)
{
    static const char prefix[] = "linux-image-";
    const char *wanted = version ? version : kernel_debian_flavour;
    bool is_whole = !strncmp(wanted, prefix, sizeof(prefix) - 1);

    if (!*wanted || strspn(wanted, "abcdefghijklmnopqrstuvwxyz0123456789.+-~") != strlen(wanted)) {
        log_error("kernel '%s': a version is of small letters, digits, dots and dashes, as in "
                  "6.1.0-49-%s",
                  wanted, kernel_debian_flavour);
        return -EINVAL;
    }
    if (snprintf(name, NAME_LEN, "%s%s", is_whole ? "" : prefix, wanted) >= NAME_LEN)
        return log_errno(-ENAMETOOLONG, "kernel '%.40s'", wanted);
    return 0;
}

/* Copies what stands behind @label on the first line of @text where @begins follows it. */
static bool find_field(const char *text, const char *label, const char *begins, char *value)
{
    for (const char *at = text; (at = strstr(at, label)); at++) {
        const char *from = at + strlen(label);
        size_t len = strcspn(from, "\n ");
        if (!strncmp(from, begins, strlen(begins)) && len && len < NAME_LEN) {
            memcpy(value, from, len);
            value[len] = '\0';
            return true;
        }
    }
    return false;
}

/* What a program prints. Returns 0 or -errno, -EINTR if a signal ended it: the user's. */
static int ask(const char *const *argv, char **ret)
{
    int status = program_output(argv, APT_OUTPUT_MAX, ret);

    return status > SIGNAL_STATUS ? -EINTR : status < 0 ? status : 0;
}

/* A metapackage stands for the package that it depends on; @name is replaced by that. */
static int follow_metapackage(char *name)
{
    const char *const argv[] = { "apt-cache", "depends", "--important", name, NULL };
    AUTO_FREE char *text = NULL;
    char found[NAME_LEN];

    int err = ask(argv, &text);
    if (err)
        return err;
    if (find_field(text, "Depends: ", "linux-image-", found))
        memcpy(name, found, sizeof(found));
    return 0;
}

/* The version of a package that apt would take; "" if it knows none. */
static int find_candidate(const char *name, char *version)
{
    const char *const argv[] = { "apt-cache", "policy", name, NULL };
    AUTO_FREE char *text = NULL;

    version[0] = '\0';
    int err = ask(argv, &text);
    if (err)
        return err;
    if (find_field(text, "Candidate: ", "", version) && !strcmp(version, "(none)"))
        version[0] = '\0';
    return 0;
}

/* Of all packages whose names begin with @name, the newest cloud kernel, into @name. */
static int complete_name(char *name)
{
    const char *const argv[] = { "apt-cache", "pkgnames", name, NULL };
    AUTO_FREE char *text = NULL;
    char best[NAME_LEN] = "", *rest = NULL;
    size_t len = strlen(name), ending_len = strlen(kernel_debian_flavour);

    int err = ask(argv, &text);
    if (err)
        return err;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        size_t line_len = strlen(line);
        bool fits = line_len < NAME_LEN && line_len > ending_len + 1 &&
                    line[line_len - ending_len - 1] == '-' &&
                    !strcmp(line + line_len - ending_len, kernel_debian_flavour) &&
                    strchr(".-", line[len]) && strverscmp(line, best) > 0;
        if (fits)
            memcpy(best, line, line_len + 1);
    }
    if (!best[0])
        return -ENOENT;
    memcpy(name, best, sizeof(best));
    return 0;
}

/* Which package and version is meant. */
static int choose_package(const char *wanted, char *name, char *version)
{
    int err = name_package(wanted, name);

    if (err)
        return err;
    err = follow_metapackage(name);
    if (!err)
        err = find_candidate(name, version);
    if (!err && !version[0] && !complete_name(name))
        err = find_candidate(name, version);
    if (err == -ENOENT) {
        log_error("kernel pull: needs the program apt-cache, of Debian and its kin; elsewhere, "
                  "take a kernel of your distribution: -k FILE or -k host");
        return err;
    }
    if (err)
        return log_errno(err, "kernel pull: apt-cache");
    if (version[0])
        return 0;
    log_error("kernel pull: apt knows no package '%s'; `sudo apt-get update` brings its lists up "
              "to date, `apt-cache search linux-image` shows what there is",
              name);
    return -ENOENT;
}

/* A version's colon is written as in the names of apt's own files. */
static int name_folder(const char *cache, const char *package, const char *version, char *folder)
{
    const char *colon = strchr(version, ':');
    int epoch_len = colon ? (int)(colon - version) : 0;
    int len = snprintf(folder, PATH_MAX, "%s/%s_%.*s%s%s", cache, package, epoch_len, version,
                       colon ? "%3a" : "", colon ? colon + 1 : version);

    return len < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* The image in an unpacked package; its release stands behind "vmlinuz-". */
static char *find_image(const char *folder)
{
    char boot[PATH_MAX], *path = NULL;
    struct dirent *entry;

    if (snprintf(boot, sizeof(boot), "%s/boot", folder) >= (int)sizeof(boot))
        return NULL;
    DIR *dir = opendir(boot);
    while (dir && !path && (entry = readdir(dir))) {
        if (!strncmp(entry->d_name, "vmlinuz-", 8) &&
            asprintf(&path, "%s/%s", boot, entry->d_name) < 0)
            path = NULL;
    }
    if (dir)
        (void)closedir(dir);
    return path;
}

static sigset_t ending_signals(void)
{
    static const int all[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };
    sigset_t signals;

    (void)sigemptyset(&signals);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        signals_add_unless_ignored(&signals, all[i]);
    return signals;
}

/* Runs a step in @folder with its words in the file step.log there, shown if it fails. */
static int run_step(const char *folder, const char *const *argv)
{
    char log_path[PATH_MAX];
    AUTO_FREE char *words = NULL;
    char *rest = NULL;

    if (snprintf(log_path, sizeof(log_path), "%s/step.log", folder) >= (int)sizeof(log_path))
        return -ENAMETOOLONG;
    AUTO_CLOSE int fd = open(log_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return log_errno(-errno, "kernel pull: '%s'", log_path);
    sigset_t signals = ending_signals();
    struct program program = { .argv = argv,
                               .folder = folder,
                               .input = -1,
                               .output = fd,
                               .errors = fd,
                               .ending_signals = &signals };
    int status = program_run(&program);
    if (!status)
        return 0;
    if (status == -EINTR)
        return status; /* who sent the signal knows why */
    if (status < 0 || status > SIGNAL_STATUS)
        return log_errno(status < 0 ? status : -EINTR, "kernel pull: the program %s", argv[0]);
    (void)fd_read_file(log_path, APT_OUTPUT_MAX, &words, NULL);
    for (char *line = words ? strtok_r(words, "\n", &rest) : NULL; line;
         line = strtok_r(NULL, "\n", &rest))
        log_error("%s: %s", argv[0], line);
    return -EIO;
}

/* The name of the package's file in @folder: the only one that apt-get put there. */
static int find_deb(const char *folder, char *name)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    int err = -ENOENT;

    while (dir && err && (entry = readdir(dir))) {
        size_t len = strlen(entry->d_name);
        if (len > 4 && !strcmp(entry->d_name + len - 4, ".deb"))
            err = snprintf(name, NAME_MAX + 1, "%s", entry->d_name) < 0 ? -EIO : 0;
    }
    if (dir)
        (void)closedir(dir);
    return err;
}

/* Makes modules.dep, which says what a module depends on; without it, depmod can do so later. */
static void index_modules(const char *folder)
{
    AUTO_FREE char *image = find_image(folder);
    const char *dash = image ? strstr(image, "/vmlinuz-") : NULL;
    const char *const argv[] = { "depmod", "-b", folder, dash ? dash + 9 : "", NULL };
    AUTO_FREE char *words = NULL;

    if (dash && program_output(argv, 1, &words))
        log_warn("kernel pull: no modules.dep in '%s': depmod (package kmod) could not make it",
                 folder);
}

static int download(const char *tmp, const char *package, const char *version)
{
    char which[2 * NAME_LEN];
    const char *const argv[] = { "apt-get", "-qq", "download", which, NULL };

    (void)snprintf(which, sizeof(which), "%s=%s", package, version);
    log_info("kernel pull: downloading %s %s (it is unpacked, not installed)", package, version);
    int err = run_step(tmp, argv);
    if (err == -EIO)
        log_error("kernel pull: %s was not downloaded; if the archive no longer has it, "
                  "`sudo apt-get update` helps",
                  which);
    return err;
}

/* Downloads and unpacks in the folder @tmp, then moves the result to @folder. */
static int fill(const char *tmp, const char *package, const char *version, const char *folder)
{
    char root[PATH_MAX], deb[NAME_MAX + 1];
    const char *const argv[] = { "dpkg-deb", "-x", deb, "root", NULL };
    AUTO_FREE char *image = NULL;

    int err = download(tmp, package, version);
    if (!err)
        err = find_deb(tmp, deb);
    if (!err)
        err = run_step(tmp, argv);
    if (err)
        return err;
    if (snprintf(root, sizeof(root), "%s/root", tmp) >= (int)sizeof(root))
        return -ENAMETOOLONG;
    image = find_image(root);
    if (!image) {
        log_error("kernel pull: package '%s' has no kernel image in it", package);
        return -ENOENT;
    }
    index_modules(root);
    if (rename(root, folder) && errno != ENOTEMPTY && errno != EEXIST)
        return log_errno(-errno, "kernel pull: '%s'", folder);
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    (void)remove(path);
    return 0;
}

static void remove_folder(const char *path)
{
    (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* What pulls left that were killed. With the lock of the cache held nobody else has one. */
static void remove_leftovers(const char *cache)
{
    DIR *dir = opendir(cache);
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        char path[PATH_MAX];
        if (!strncmp(entry->d_name, new_prefix, sizeof(new_prefix) - 1) &&
            snprintf(path, sizeof(path), "%s/%s", cache, entry->d_name) < (int)sizeof(path))
            remove_folder(path);
    }
    if (dir)
        (void)closedir(dir);
}

static int fill_anew(const char *cache, const char *package, const char *version,
                     const char *folder)
{
    char tmp[PATH_MAX];

    if (snprintf(tmp, sizeof(tmp), "%s/%sXXXXXX", cache, new_prefix) >= (int)sizeof(tmp))
        return -ENAMETOOLONG;
    if (!mkdtemp(tmp))
        return log_errno(-errno, "kernel pull: a folder in '%s'", cache);
    int err = fill(tmp, package, version, folder);
    remove_folder(tmp);
    return err;
}

/* The same, with the signals that ask us to end held back until nothing is left of it. */
static int fill_uninterrupted(const char *cache, const char *package, const char *version,
                              const char *folder)
{
    sigset_t signals = ending_signals(), before;

    (void)sigprocmask(SIG_BLOCK, &signals, &before);
    int err = fill_anew(cache, package, version, folder);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return err;
}

/* With the lock of the cache held: another pull may just have brought the same. */
static int pull_locked(const char *cache, const char *package, const char *version, char **ret)
{
    char folder[PATH_MAX];
    int err = name_folder(cache, package, version, folder);

    if (err)
        return log_errno(err, "kernel pull: '%s'", cache);
    remove_leftovers(cache);
    if (access(folder, F_OK))
        err = fill_uninterrupted(cache, package, version, folder);
    if (err)
        return err;
    *ret = find_image(folder);
    if (!*ret) {
        log_error("kernel pull: there is no kernel in '%s'; remove that folder and pull again",
                  folder);
        return -ENOENT;
    }
    return 0;
}

/* The cache's folder, made if it is not there. */
static int make_cache(char **ret)
{
    int err = kernel_cache_folder(ret);

    if (err == -ENOENT)
        log_error("kernel pull: no folder for it: neither XDG_CACHE_HOME nor HOME is set, and user "
                  "%u has no home",
                  getuid());
    else if (err)
        (void)log_errno(err, "kernel pull");
    if (err)
        return err;
    err = folder_make(*ret, 0700);
    return err ? log_errno(err, "kernel pull: '%s'", *ret) : 0;
}

int kernel_pull(const char *version, char **ret)
{
    AUTO_FREE char *cache = NULL;
    AUTO_FREE char *lock_path = NULL;
    char package[NAME_LEN], candidate[NAME_LEN];

    int err = choose_package(version, package, candidate);
    if (err)
        return err;
    err = make_cache(&cache);
    if (err)
        return err;
    if (asprintf(&lock_path, "%s/.lock", cache) < 0) {
        lock_path = NULL;
        return log_errno(-ENOMEM, "kernel pull");
    }
    AUTO_CLOSE int lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX))
        return log_errno(-errno, "kernel pull: '%s'", lock_path);
    return pull_locked(cache, package, candidate, ret);
}
