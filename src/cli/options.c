// SPDX-License-Identifier: Apache-2.0
/* The generic half of the command line: finds the option that an argument names, and its value.
 *
 * Long options are `--name=V` or `--name V`, never abbreviated; short ones `-x V` or `-xV`.
 * Arguments are read in order, then the environment fills in the options that did not occur:
 * a variable is a default, so a list in it is replaced by one on the command line, not added to,
 * and it gives way to an option that excludes it. */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "values.h"

enum { OPTIONS_MAX = 64, NAME_MAX_LEN = 40 };

static const struct option help_option = {
    .name = "help",
    .letter = 'h',
    .flags = OPTION_BOOLEAN | OPTION_HELP,
    .help = "print this text",
};

struct parser {
    const struct verb *verb;
    char **argv;
    int argc, next;
    void *target;
    struct parsed *result;
    struct usage_error *error;
    bool seen[OPTIONS_MAX]; /* by place in the verb's table */
};

int usage_fail(struct usage_error *error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return -EINVAL;
}

const struct verb *verb_find(const char *name)
{
    for (const struct verb *verb = verbs; verb->name; verb++) {
        if (!strcmp(verb->name, name))
            return verb;
    }
    return NULL;
}

const char *verb_suggest(const char *name)
{
    const char *names[OPTIONS_MAX];
    size_t count = 0;

    for (const struct verb *verb = verbs; verb->name && count < OPTIONS_MAX - 1; verb++)
        names[count++] = verb->name;
    names[count] = NULL;
    return value_suggest(name, names);
}

const struct option *verb_next_option(const struct verb *verb, const struct option *previous)
{
    const struct option *next = previous ? previous + 1 : verb->options;

    if (previous == &help_option)
        return NULL;
    return next && next->name ? next : &help_option;
}

/* The environment variable of an option: "HUTCH_ON_REBOOT". */
static void name_variable(const struct option *option, char *buf, size_t size)
{
    (void)snprintf(buf, size, "HUTCH_%s", option->name);
    for (char *p = buf; *p; p++)
        *p = (char)(*p == '-' ? '_' : toupper((unsigned char)*p));
}

static const struct option *find_long(const struct verb *verb, const char *name, size_t len)
{
    const struct option *option = NULL;

    while ((option = verb_next_option(verb, option))) {
        if (strlen(option->name) == len && !memcmp(option->name, name, len))
            return option;
    }
    return NULL;
}

/* -@letter, which may be --no-NAME: @ret_negated. */
static const struct option *find_short(const struct verb *verb, char letter, bool *ret_negated)
{
    const struct option *option = NULL;

    while ((option = verb_next_option(verb, option))) {
        *ret_negated = option->no_letter == letter;
        if (option->letter == letter || *ret_negated)
            return option;
    }
    return NULL;
}

static void note_seen(struct parser *parser, const struct option *option)
{
    if (option != &help_option)
        parser->seen[option - parser->verb->options] = true;
}

static bool was_seen(const struct parser *parser, const char *name)
{
    const struct option *option = find_long(parser->verb, name, strlen(name));

    return option && option != &help_option && parser->seen[option - parser->verb->options];
}

/* Gives an option its value; @label is what the user wrote, for the sentence. */
static int apply(struct parser *parser, const struct option *option, const char *label,
                 const char *value)
{
    struct usage_error cause = { "" };

    if (option->flags & OPTION_HELP) {
        parser->result->wants_help = true;
        return 0;
    }
    int err = option->set(parser->target, value, &cause);
    if (err == -ENOMEM)
        (void)usage_fail(&cause, "out of memory");
    if (err && option->flags & OPTION_BOOLEAN)
        (void)usage_fail(parser->error, "%s: %s", label, cause.text);
    else if (err)
        (void)usage_fail(parser->error, "%s=%.80s: %s", label, value, cause.text);
    return err;
}

static int unknown_long(struct parser *parser, const char *name, size_t len)
{
    const char *names[OPTIONS_MAX + 1];
    size_t count = 0;
    char word[NAME_MAX_LEN];
    const struct option *option = NULL;

    while ((option = verb_next_option(parser->verb, option)) && count < OPTIONS_MAX)
        names[count++] = option->name;
    names[count] = NULL;
    (void)snprintf(word, sizeof(word), "%.*s", (int)len, name);
    const char *meant = value_suggest(word, names);
    if (meant)
        return usage_fail(parser->error, "no option '--%s'; did you mean '--%s'?", word, meant);
    return usage_fail(parser->error, "no option '--%s'; `hutch help %s` lists them", word,
                      parser->verb->name);
}

/* `--no-NAME`, if @name (without the dashes) is that and NAME a boolean. */
static const struct option *find_negated(const struct verb *verb, const char *name, size_t len)
{
    if (len < 3 || memcmp(name, "no-", 3) != 0)
        return NULL;

    const struct option *option = find_long(verb, name + 3, len - 3);
    bool fits = option && option->flags & OPTION_BOOLEAN && !(option->flags & OPTION_HELP);
    return fits ? option : NULL;
}

/* The value of an option that has none attached: the next argument. */
static int take_value(struct parser *parser, const struct option *option, const char *label,
                      const char **ret)
{
    bool has_next = parser->next < parser->argc;
    const char *next = has_next ? parser->argv[parser->next] : NULL;

    if (option->flags & OPTION_VALUE_OPTIONAL && (!next || next[0] == '-')) {
        *ret = option->implied;
        return 0;
    }
    /* A value may well begin with a dash, but not look like one of our options. */
    if (!next || (next[0] == '-' && next[1] == '-'))
        return usage_fail(parser->error, "%s needs a value: %s=%s", label, label, option->value);
    *ret = next;
    parser->next++;
    return 0;
}

static int parse_boolean(struct parser *parser, const struct option *option, const char *label,
                         bool has_value, bool negated)
{
    if (has_value)
        return option->flags & OPTION_HELP
                   ? usage_fail(parser->error, "%s takes no value", label)
                   : usage_fail(parser->error, "%s takes no value; its opposite is --%s%s", label,
                                negated ? "" : "no-", option->name);
    note_seen(parser, option);
    return apply(parser, option, label, negated ? "no" : "yes");
}

static int parse_long(struct parser *parser, const char *arg)
{
    const char *name = arg + 2, *equals = strchr(name, '='), *value = equals ? equals + 1 : NULL;
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    const struct option *option = find_long(parser->verb, name, len), *negated = NULL;
    char label[NAME_MAX_LEN];

    if (!option)
        option = negated = find_negated(parser->verb, name, len);
    if (!option)
        return unknown_long(parser, name, len);
    (void)snprintf(label, sizeof(label), "--%.*s", (int)len, name);
    if (option->flags & OPTION_BOOLEAN)
        return parse_boolean(parser, option, label, value, negated);

    int err = value ? 0 : take_value(parser, option, label, &value);
    if (err)
        return err;
    note_seen(parser, option);
    return apply(parser, option, label, value);
}

static int parse_short(struct parser *parser, const char *arg)
{
    bool negated = false;
    const struct option *option = find_short(parser->verb, arg[1], &negated);
    const char *value = arg[2] ? arg + 2 : NULL;
    char label[NAME_MAX_LEN];

    /* Other machines' programs write -kernel: we would look for a kernel named 'ernel'. */
    if (value && find_long(parser->verb, arg + 1, strlen(arg + 1)))
        return usage_fail(parser->error, "'%s': long options begin with two dashes: '-%s'", arg,
                          arg);
    if (!option)
        return usage_fail(parser->error, "no option '-%.*s'; `hutch help %s` lists them",
                          isascii(arg[1]) ? 1 : NAME_MAX_LEN, arg + 1, parser->verb->name);
    (void)snprintf(label, sizeof(label), "--%s%s", negated ? "no-" : "", option->name);
    if (option->flags & OPTION_BOOLEAN)
        return parse_boolean(parser, option, label, value, negated);
    if (value && value[0] == '=')
        return usage_fail(parser->error, "'%.80s': write '-%c %.80s' or '%s%.80s'", arg, arg[1],
                          value + 1, label, value);

    int err = value ? 0 : take_value(parser, option, label, &value);
    if (err)
        return err;
    note_seen(parser, option);
    return apply(parser, option, label, value);
}

/* Keeps an operand at the beginning of argv, over what was read. Returns whether only operands
 * may follow. */
static bool take_operand(struct parser *parser, char *arg)
{
    parser->argv[parser->result->operand_count++] = arg;
    return parser->verb->stops_at_operand;
}

static int parse_arguments(struct parser *parser)
{
    bool options_end = false;

    while (parser->next < parser->argc && !parser->result->wants_help) {
        char *arg = parser->argv[parser->next++];
        int err = 0;

        if (options_end || arg[0] != '-' || !arg[1])
            options_end |= take_operand(parser, arg);
        else if (!strcmp(arg, "--"))
            options_end = true;
        else
            err = arg[1] == '-' ? parse_long(parser, arg) : parse_short(parser, arg);
        if (err)
            return err;
    }
    return 0;
}

static int check_exclusions(struct parser *parser)
{
    for (const struct option *o = parser->verb->options; o && o->name; o++) {
        if (o->excludes && was_seen(parser, o->name) && was_seen(parser, o->excludes))
            return usage_fail(parser->error, "--%s and --%s exclude each other", o->name,
                              o->excludes);
    }
    return 0;
}

/* The value of @name in @environment; an empty one counts as none. */
static const char *variable_value(char *const *environment, const char *name)
{
    size_t len = strlen(name);

    for (; *environment; environment++) {
        if (!strncmp(*environment, name, len) && (*environment)[len] == '=')
            return (*environment)[len + 1] ? *environment + len + 1 : NULL;
    }
    return NULL;
}

static int apply_variable(struct parser *parser, const struct option *option, const char *name,
                          const char *value)
{
    bool is_on;

    if (!(option->flags & OPTION_BOOLEAN))
        return apply(parser, option, name, value);
    if (value_bool(value, &is_on))
        return usage_fail(parser->error, "%s=%.80s: neither yes nor no", name, value);
    return apply(parser, option, name, is_on ? "yes" : "no");
}

static int parse_environment(struct parser *parser, char *const *environment)
{
    for (const struct option *o = parser->verb->options; o && o->name; o++) {
        char name[NAME_MAX_LEN];

        if (was_seen(parser, o->name) || (o->excludes && was_seen(parser, o->excludes)))
            continue;
        name_variable(o, name, sizeof(name));
        const char *value = variable_value(environment, name);
        int err = value ? apply_variable(parser, o, name, value) : 0;
        if (err)
            return err;
        if (value)
            note_seen(parser, o);
    }
    return 0;
}

int options_parse(const struct verb *verb, int argc, char **argv, char *const *environment,
                  void *target, struct parsed *ret, struct usage_error *error)
{
    struct parser parser = {
        .verb = verb, .argv = argv, .argc = argc, .target = target, .result = ret, .error = error
    };

    *ret = (struct parsed){ 0 };
    int err = parse_arguments(&parser);
    if (!err)
        err = check_exclusions(&parser);
    if (!err && environment && !ret->wants_help)
        err = parse_environment(&parser, environment);
    return err;
}
