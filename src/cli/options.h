// SPDX-License-Identifier: Apache-2.0
/* The verbs and their options: one table, from which come the parser, --help, the HUTCH_*
 * variables and the completions of the shells. A test compares it with the manual.
 *
 * The parser is pure: it fills a target structure from argv and an environment, or gives a
 * sentence; it opens nothing and logs nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is wrong with a command line, as a sentence for the user. */
struct usage_error {
    char text[400];
};

/* Writes the sentence. Returns -EINVAL, so that a parser can end with it. */
int usage_fail(struct usage_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

enum option_flags {
    OPTION_BOOLEAN = 1,        /* takes no value; @set gets "yes", or "no" from --no-NAME */
    OPTION_LIST = 2,           /* each use adds to those before */
    OPTION_VALUE_OPTIONAL = 4, /* @implied stands in if the next argument is an option */
    OPTION_HELP = 8,           /* prints the help of the verb instead of doing it */
};

enum option_complete { COMPLETE_NOTHING, COMPLETE_FILE, COMPLETE_WORDS };

struct option {
    const char *name;
    char letter;       /* '\0': none */
    unsigned flags;    /* enum option_flags */
    const char *value; /* what stands for the value in the help */
    const char *help;
    /* Stores the value. On failure it says what is wrong with the value, without the option's
     * name, which the parser puts in front. Returns 0 or -errno. */
    int (*set)(void *target, const char *value, struct usage_error *error);
    enum option_complete complete;
    const char *words;    /* of the value, for the completions, with blanks between */
    const char *implied;  /* of OPTION_VALUE_OPTIONAL */
    const char *excludes; /* the name of an option which cannot be given as well */
    char no_letter;       /* of --no-NAME; '\0': none */
};

struct verb {
    const char *name;
    const char *operands; /* for the help: "[VERSION]" */
    const char *summary;  /* one line */
    const char *details;  /* for its own help; may be NULL */
    int (*run)(int argc, char **argv);
    const struct option *options; /* the last one has no name; NULL: none but --help */
    const char *words;            /* first operands, for the completions */
    bool takes_file;              /* an operand may be a file */
    bool has_variables;           /* HUTCH_NAME sets another default for an option */
    bool stops_at_operand;        /* what follows the first operand are no options */
};

/* All verbs; the last one has no name. */
extern const struct verb verbs[];

/* NULL if there is none of that name. */
const struct verb *verb_find(const char *name);
const char *verb_suggest(const char *name);

/* Walks through the options of a verb, --help last. @previous: NULL at first. NULL at the end. */
const struct option *verb_next_option(const struct verb *verb, const struct option *previous);

struct parsed {
    int operand_count; /* they are at the beginning of argv then */
    bool wants_help;
};

/* Reads @argv (without the verb) and then, for options that were not in it, HUTCH_NAME of
 * @environment (may be NULL). Rearranges @argv. Returns 0, or -errno with the sentence. */
int options_parse(const struct verb *verb, int argc, char **argv, char *const *environment,
                  void *target, struct parsed *ret, struct usage_error *error);

/* The options of `hutch run`, whose target is a struct config. */
extern const struct option run_options[];
