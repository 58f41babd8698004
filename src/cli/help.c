// SPDX-License-Identifier: Apache-2.0
/* `hutch help` and `hutch help VERB`. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli_private.h"

int cli_help(int argc, char **argv)
{
    int count, status = cli_parse("help", argc, argv, NULL, 1, &count);

    if (status >= 0)
        return status;
    if (!count) {
        usage_print_overview(stdout);
        return cli_finish_output(0);
    }
    const struct verb *verb = verb_find(argv[0]);
    const char *meant = verb ? NULL : verb_suggest(argv[0]);
    if (!verb)
        return cli_usage_error("no verb '%s'%s%s%s", argv[0], meant ? "; did you mean '" : "",
                               meant ? meant : "; `hutch help` lists them", meant ? "'?" : "");
    usage_print_verb(verb);
    return cli_finish_output(0);
}
