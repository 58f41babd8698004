// SPDX-License-Identifier: Apache-2.0
/* hutch: picks the verb. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli_private.h"
#include "host/fd.h"
#include "host/log.h"
#include "values.h"

/* HUTCH_LOG=error, warn, info or debug: what to show of our own words. Another word is no reason
 * not to do what was asked for, but one to say that it has no effect. */
static void set_log_level(void)
{
    static const char *const names[] = { "error", "warn", "info", "debug", NULL };
    const char *wanted = getenv("HUTCH_LOG");
    int level = wanted && *wanted ? value_word(wanted, names) : LOG_LEVEL_WARN;

    if (level >= 0)
        log_set_level((enum log_level)level);
    else
        log_warn("HUTCH_LOG: '%s' is not error, warn, info or debug; taken as warn", wanted);
}

int main(int argc, char **argv)
{
    if (fd_open_standard())
        return STATUS_TOOL_ERROR; /* and nowhere to say so */
    set_log_level();
    /* Who ignores it while starting us would make us ask in vain how our helpers ended. */
    (void)signal(SIGCHLD, SIG_DFL);
    /* A file at its size limit, be it in memory only, is a failure of a write and not our end. */
    (void)signal(SIGXFSZ, SIG_IGN);
    if (argc < 2) {
        usage_print_overview(stderr);
        return STATUS_TOOL_ERROR;
    }

    bool wants_help = !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h");
    bool wants_version = !strcmp(argv[1], "--version");
    const struct verb *verb = verb_find(wants_help ? "help" : wants_version ? "version" : argv[1]);
    if (verb)
        return verb->run(argc - 1, argv + 1);
    if (argv[1][0] == '-')
        return cli_usage_error("'%s' stands before the verb: hutch VERB [OPTIONS]", argv[1]);
    const char *meant = verb_suggest(argv[1]);
    if (meant)
        return cli_usage_error("no verb '%s'; did you mean '%s'?", argv[1], meant);
    return cli_usage_error("no verb '%s'; `hutch help` lists them", argv[1]);
}
