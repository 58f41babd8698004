// SPDX-License-Identifier: Apache-2.0
/* What the verbs share: reading their arguments, and getting their output out. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli_private.h"
#include "host/log.h"
#include "machine/outcome.h"

int cli_usage_error(const char *format, ...)
{
    struct usage_error error;
    va_list args;

    va_start(args, format);
    (void)vsnprintf(error.text, sizeof(error.text), format, args);
    va_end(args);
    log_error("%s", error.text);
    return STATUS_TOOL_ERROR;
}

int cli_finish_output(int status)
{
    if (!fflush(stdout) && !ferror(stdout))
        return status;
    (void)log_errno(errno ? -errno : -EIO, "standard output");
    return STATUS_TOOL_ERROR;
}

int cli_parse(const char *verb_name, int argc, char **argv, void *target, int max_operands,
              int *operand_count)
{
    const struct verb *verb = verb_find(verb_name);
    struct usage_error error = { "" };
    struct parsed parsed;

    int err = options_parse(verb, argc - 1, argv + 1, verb->has_variables ? environ : NULL, target,
                            &parsed, &error);
    if (err)
        return cli_usage_error("%s", error.text);
    if (parsed.wants_help) {
        usage_print_verb(verb);
        return cli_finish_output(0);
    }
    memmove(argv, argv + 1, (size_t)parsed.operand_count * sizeof(*argv));
    if (parsed.operand_count > max_operands && max_operands == 0)
        return cli_usage_error("%s takes no operands: '%s'", verb->name, argv[0]);
    if (parsed.operand_count > max_operands)
        return cli_usage_error("%s: '%s' is one too many; usage: hutch %s %s", verb->name,
                               argv[max_operands], verb->name, verb->operands);
    *operand_count = parsed.operand_count;
    return -1;
}
