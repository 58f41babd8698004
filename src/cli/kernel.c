// SPDX-License-Identifier: Apache-2.0
/* `hutch kernel`: which kernels there are, and getting one. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli_private.h"
#include "host/fd.h"
#include "host/log.h"
#include "kernel_check.h"
#include "kernel_config.h"
#include "kernel_find.h"
#include "kernel_modules.h"
#include "kernel_pull.h"
#include "kernel_resolve.h"
#include "values.h"

/* Each gets the operand behind its name, or NULL. */
struct action {
    const char *name;
    int (*run)(const char *operand);
    bool takes_operand;
};

/* @operand as -k would take it, as the path of an image. */
static int resolve(const char *operand, char **path)
{
    *path = operand ? strdup(operand) : NULL;
    if (operand && !*path)
        return log_errno(-ENOMEM, "kernel '%s'", operand);
    return kernel_resolve(path);
}

/* What else a kernel needs to be of use: for the explanation. */
static void explain_modules(const char *path)
{
    AUTO_FREE char *folder = NULL;
    char release[KERNEL_RELEASE_LEN];

    if (kernel_release_read(path, release))
        log_info("'%s' does not tell its release", path);
    else if (kernel_modules_look(path, release, &folder))
        log_info("release %s; its modules are nowhere", release);
    else
        log_info("release %s; its modules are in '%s'", release, folder);
}

/* A file that was named is taken at its word by others, who open it; whoever asks wants to know. */
static int check_is_there(const char *path)
{
    struct stat st;

    if (stat(path, &st))
        return log_errno(-errno, "kernel '%s'", path);
    if (!S_ISDIR(st.st_mode))
        return 0;
    log_error("kernel '%s': a folder, and no tree of Linux: there is no .config in it", path);
    return -EISDIR;
}

static int which(const char *operand)
{
    AUTO_FREE char *path = NULL;

    if (!getenv("HUTCH_LOG"))
        log_set_level(LOG_LEVEL_INFO); /* the way there is half of the answer */
    if (resolve(operand, &path) || check_is_there(path))
        return STATUS_TOOL_ERROR;
    explain_modules(path);
    puts(path);
    return cli_finish_output(0);
}

/* An empty list is no failure, but to print nothing at all would leave the user guessing. */
static void say_where_kernels_are(void)
{
    AUTO_FREE char *cache = NULL;
    bool has_cache = !kernel_cache_folder(&cache);

    log_warn("no kernels: none is installed in /boot or /usr/lib/modules, none was pulled%s%s; "
             "`hutch kernel pull` gets one",
             has_cache ? " into " : "", has_cache ? cache : "");
}

static int list(const char *operand)
{
    struct kernel_list kernels;
    (void)operand;

    int err = kernel_list_read(&kernels);
    if (err) {
        (void)log_errno(err, "list of kernels");
        return STATUS_TOOL_ERROR;
    }
    if (!kernels.count)
        say_where_kernels_are();
    for (size_t i = 0; i < kernels.count; i++) {
        const struct kernel *kernel = &kernels.kernels[i];
        printf("%-28s %-9s %s\n", kernel->release,
               kernel->origin == KERNEL_CACHED ? "pulled" : "installed", kernel->path);
    }
    kernel_list_fini(&kernels);
    return cli_finish_output(0);
}

static int pull(const char *operand)
{
    AUTO_FREE char *path = NULL;

    if (!getenv("HUTCH_LOG"))
        log_set_level(LOG_LEVEL_INFO); /* it takes a while: say what goes on */
    if (kernel_pull(operand, &path))
        return STATUS_TOOL_ERROR;
    puts(path);
    return cli_finish_output(0);
}

static int check(const char *operand)
{
    AUTO_FREE char *path = NULL;

    if (resolve(operand, &path))
        return STATUS_TOOL_ERROR;
    return kernel_check(path);
}

static const struct action actions[] = { { "which", which, true },
                                         { "ls", list, false },
                                         { "pull", pull, true },
                                         { "check", check, true } };

int cli_kernel(int argc, char **argv)
{
    static const char *const names[] = { "which", "ls", "pull", "check", NULL };
    int count, status = cli_parse("kernel", argc, argv, NULL, 2, &count);

    if (status >= 0)
        return status;
    if (!count)
        return cli_usage_error("kernel: what about it? which, ls, pull or check");
    int at = value_word(argv[0], names);
    const char *meant = value_suggest(argv[0], names);
    if (at < 0 && meant)
        return cli_usage_error("kernel: no action '%s'; did you mean '%s'?", argv[0], meant);
    if (at < 0)
        return cli_usage_error("kernel: no action '%s': there are which, ls, pull and check",
                               argv[0]);
    if (count > 1 && !actions[at].takes_operand)
        return cli_usage_error("kernel %s takes no operands: '%s'", argv[0], argv[1]);
    return actions[at].run(count > 1 ? argv[1] : NULL);
}
