// SPDX-License-Identifier: Apache-2.0
/* The tables of verbs and options, made readable. */
#include <stdio.h>
#include <string.h>

#include "cli_private.h"

enum { HELP_COLUMN = 30 };

void usage_print_overview(FILE *out)
{
    fputs("usage: hutch VERB [OPTIONS] [ARGUMENTS]\n\n", out);
    for (const struct verb *verb = verbs; verb->name; verb++) {
        char usage[80];
        (void)snprintf(usage, sizeof(usage), "%s %s", verb->name, verb->operands);
        if (strlen(usage) < HELP_COLUMN - 2)
            fprintf(out, "  %-*s%s\n", HELP_COLUMN - 2, usage, verb->summary);
        else
            fprintf(out, "  %s\n%*s%s\n", usage, HELP_COLUMN, "", verb->summary);
    }
    fputs("\n`hutch help VERB` lists the options of a verb; hutch(1) is the manual.\n", out);
}

static void print_option(const struct option *option)
{
    char left[160], no_letter[8] = "";
    const char *no =
        option->flags & OPTION_BOOLEAN && !(option->flags & OPTION_HELP) ? "[no-]" : "";
    const char *open = option->flags & OPTION_VALUE_OPTIONAL ? "[=" : "=";
    const char *close = option->flags & OPTION_VALUE_OPTIONAL ? "]" : "";

    if (option->no_letter)
        (void)snprintf(no_letter, sizeof(no_letter), ", -%c", option->no_letter);
    int len = snprintf(left, sizeof(left), "  %c%c%c --%s%s%s%s%s%s", option->letter ? '-' : ' ',
                       option->letter ? option->letter : ' ', option->letter ? ',' : ' ', no,
                       option->name, option->value ? open : "", option->value ? option->value : "",
                       option->value ? close : "", no_letter);
    if (len < HELP_COLUMN)
        printf("%-*s%s\n", HELP_COLUMN, left, option->help);
    else
        printf("%s\n%*s%s\n", left, HELP_COLUMN, "", option->help);
}

void usage_print_verb(const struct verb *verb)
{
    const struct option *option = NULL;
    bool has_options = verb->options && verb->options->name;

    printf("usage: hutch %s%s%s%s\n%s\n\n", verb->name, has_options ? " [OPTIONS]" : "",
           *verb->operands ? " " : "", verb->operands, verb->summary);
    while ((option = verb_next_option(verb, option)))
        print_option(option);
    if (verb->details)
        printf("\n%s", verb->details);
}
