// SPDX-License-Identifier: Apache-2.0
/* `hutch version` and `hutch --version`. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli_private.h"

int cli_version(int argc, char **argv)
{
    int count, status = cli_parse("version", argc, argv, NULL, 0, &count);

    if (status >= 0)
        return status;
    printf("hutch %s\n", HUTCH_VERSION);
    return cli_finish_output(0);
}
