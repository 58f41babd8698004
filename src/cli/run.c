// SPDX-License-Identifier: Apache-2.0
/* `hutch run`: from the command line to a running machine, and back to an exit status. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli_private.h"
#include "dry_run.h"
#include "host/fd.h"
#include "host/log.h"
#include "kernel_check.h"
#include "kernel_config.h"
#include "kernel_find.h"
#include "kernel_modules.h"
#include "kernel_resolve.h"
#include "machine/check.h"
#include "machine/config.h"
#include "machine/machine.h"
#include "machine/outcome.h"
#include "machine/root.h"
#include "machine/status.h"

static void warn_about_root(const struct config *config)
{
    AUTO_FREE char *cmdline =
        config->initrd || config->initrd_auto || config->command ? NULL : config_cmdline(config);

    if (cmdline)
        kernel_warn_about_root(config->kernel, cmdline, config_may_be_pci(config));
}

/* Whether all that can be found wrong before a machine exists is right. Logs what is not. */
static int prepare(const struct config *config)
{
    int err = machine_check(config);

    if (!err && config->dry_run)
        err = machine_try(config);
    if (!err)
        warn_about_root(config);
    return err;
}

/* The kernel's image: to look for it, and to read it for its release, which may mean to unpack it,
 * is done once, and no earlier than somebody has to know. */
struct image {
    bool is_found;             /* config->kernel is its path */
    bool is_read, has_release; /* of Linux every one has */
    char release[KERNEL_RELEASE_LEN];
};

static int find_image(struct config *config, struct image *image)
{
    int err = image->is_found ? 0 : kernel_resolve(&config->kernel);

    image->is_found = !err;
    return err;
}

/* Whether it has one. */
static bool read_release(const struct config *config, struct image *image)
{
    if (!image->is_read)
        image->has_release = !kernel_release_read(config->kernel, image->release);
    image->is_read = true;
    return image->has_release;
}

/* The folder of the kernel's modules: for -i auto it must be there. */
static int find_modules(struct config *config, struct image *image)
{
    if (config->initrd_auto)
        return kernel_modules_find(config->kernel, &config->modules_folder);
    if (config->command && read_release(config, image))
        (void)kernel_modules_look(config->kernel, image->release, &config->modules_folder);
    return 0;
}

/* A kernel that comes alone boots into the user's own system, if it is Linux. */
static int choose_root(struct config *config, struct image *image)
{
    bool is_linux = true;

    if (config->kernel && root_is_open(config)) {
        int err = find_image(config, image);
        if (err)
            return err;
        is_linux = read_release(config, image);
    }
    return root_choose(config, is_linux);
}

/* From the options to all that the machine is made of. */
static int plan(struct config *config)
{
    struct image image = { 0 };
    int err = choose_root(config, &image);

    if (!err)
        err = config_check(config);
    if (!err)
        err = find_image(config, &image);
    if (!err)
        err = find_modules(config, &image);
    if (!err)
        err = root_plan(config);
    /* Without these, it is made anew. */
    if (!err && (config->initrd_auto || config->command))
        (void)initrd_cache_folder(&config->cache_folder);
    if (!err && config->command)
        (void)unpacked_cache_folder(&config->unpacked_folder);
    return err;
}

/* Tells how it ended to whoever wants to know. Returns the exit status. */
static int tell_end(const struct config *config, const struct outcome *outcome, bool has_result)
{
    status_tell_end(config->status_fd, outcome, config->name);
    int err = has_result ? outcome_write(outcome, config->name, config->result_path) : 0;

    if (err == -ENXIO)
        log_error("result '%s': nobody reads this pipe", config->result_path);
    else if (err)
        (void)log_errno(err, "result '%s'", config->result_path);
    return err ? STATUS_TOOL_ERROR : outcome_status(outcome);
}

static int run(struct config *config)
{
    struct outcome outcome = { .kind = OUTCOME_TOOL_ERROR };
    int err = plan(config);
    /* Also of a machine that is not to be: the result tells that, and must do no harm. */
    int result_err = machine_check_result(config);

    if (!err)
        err = result_err ? result_err : prepare(config);
    if (!err && config->dry_run) {
        dry_run_print(config);
        return cli_finish_output(0);
    }
    if (config->dry_run)
        return STATUS_TOOL_ERROR;
    if (!err)
        machine_run(config, &outcome);
    return tell_end(config, &outcome, config->result_path && !result_err);
}

static int parse_and_run(int argc, char **argv, struct config *config)
{
    int count, status = cli_parse("run", argc, argv, config, argc, &count);

    if (status >= 0)
        return status;
    if (count == 0)
        return run(config);

    AUTO_FREE char **command = calloc((size_t)count + 1, sizeof(*command));
    if (!command) {
        log_error("out of memory");
        return STATUS_TOOL_ERROR;
    }
    memcpy(command, argv, (size_t)count * sizeof(*command));
    config->command = command;
    status = run(config);
    config->command = NULL;
    return status;
}

int cli_run(int argc, char **argv)
{
    struct config config;

    if (config_init(&config)) {
        log_error("out of memory");
        return STATUS_TOOL_ERROR;
    }
    int status = parse_and_run(argc, argv, &config);
    config_fini(&config);
    return status;
}
