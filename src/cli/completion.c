// SPDX-License-Identifier: Apache-2.0
/* `hutch completion SHELL`: the tables as a script that completes command lines. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli_private.h"
#include "values.h"

/* Prints @text inside single quotes, as every one of the shells takes it. */
static void print_quoted(const char *text)
{
    putchar('\'');
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*text);
    }
    putchar('\'');
}

static void print_verb_names(void)
{
    for (const struct verb *verb = verbs; verb->name; verb++)
        printf("%s%s", verb == verbs ? "" : " ", verb->name);
}

static bool can_be_negated(const struct option *option)
{
    return option->flags & OPTION_BOOLEAN && !(option->flags & OPTION_HELP);
}

/* Options that take a value end in '=' there, as --opt=V is one word. */
static void print_bash_options(const struct verb *verb)
{
    const struct option *option = NULL;

    while ((option = verb_next_option(verb, option))) {
        if (option->letter)
            printf("-%c ", option->letter);
        printf("--%s ", option->name);
        if (can_be_negated(option))
            printf("--no-%s ", option->name);
        if (option->no_letter)
            printf("-%c ", option->no_letter);
    }
}

static void print_bash_values(const struct verb *verb)
{
    const struct option *option = NULL;

    while ((option = verb_next_option(verb, option))) {
        if (option->flags & OPTION_BOOLEAN)
            continue;
        printf("    %s:--%s", verb->name, option->name);
        if (option->letter)
            printf(" | %s:-%c", verb->name, option->letter);
        fputs(") words=", stdout);
        print_quoted(option->words ? option->words : "");
        printf(" files=%s ;;\n", option->complete == COMPLETE_FILE ? "yes" : "");
    }
}

static void print_bash(void)
{
    fputs("# bash completion for hutch\n"
          "_hutch() {\n"
          "    local cur prev verb words='' files=''\n"
          "    COMPREPLY=()\n"
          "    cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
          "    verb=${COMP_WORDS[1]-}\n"
          "    if ((COMP_CWORD == 1)); then\n"
          "        mapfile -t COMPREPLY < <(compgen -W '",
          stdout);
    print_verb_names();
    fputs("' -- \"$cur\")\n"
          "        return\n"
          "    fi\n"
          "    # --opt=V comes as three words\n"
          "    if [[ $cur == = ]]; then\n"
          "        cur=''\n"
          "    elif [[ $prev == = ]]; then\n"
          "        prev=${COMP_WORDS[COMP_CWORD - 2]}\n"
          "    elif [[ $prev == : ]]; then\n"
          "        prev=file # as in file:PATH\n"
          "    fi\n"
          "    case $verb:$prev in\n"
          "    *:file) files=yes ;;\n",
          stdout);
    for (const struct verb *verb = verbs; verb->name; verb++)
        print_bash_values(verb);
    fputs("    *) case $verb in\n", stdout);
    for (const struct verb *verb = verbs; verb->name; verb++) {
        printf("        %s) words='", verb->name);
        print_bash_options(verb);
        printf("%s'", verb->words ? verb->words : "");
        /* Files come behind the words, if there are such. */
        printf("%s ;;\n", !verb->takes_file ? ""
                          : verb->words     ? "; ((COMP_CWORD < 3)) || files=yes"
                                            : " files=yes");
    }
    fputs("        esac ;;\n"
          "    esac\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$words\" ${files:+-f} -- \"$cur\")\n"
          "    [[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != *: ]] || compopt -o nospace\n"
          "}\n"
          "complete -o filenames -F _hutch hutch\n",
          stdout);
}

/* A text for zsh's _arguments, where brackets and colons mean something. */
static void print_zsh_text(const char *text)
{
    for (; *text; text++) {
        if (strchr("[]:\\", *text))
            putchar('\\');
        if (*text == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*text);
    }
}

static void print_zsh_spec(const struct option *option, bool negated, const char *dashes,
                           const char *name)
{
    bool has_value = !(option->flags & OPTION_BOOLEAN);

    printf("            '%s%s%s%s[", option->flags & OPTION_LIST ? "*" : "", dashes, name,
           !has_value           ? ""
           : strlen(dashes) > 1 ? "="
                                : "+");
    /* What has the same text would be shown as one. */
    fputs(negated ? "not: " : "", stdout);
    print_zsh_text(option->help);
    putchar(']');
    if (has_value) {
        printf("%s", option->flags & OPTION_VALUE_OPTIONAL ? "::" : ":");
        print_zsh_text(option->name);
        putchar(':');
    }
    if (has_value && option->complete == COMPLETE_FILE)
        fputs("_files", stdout);
    else if (has_value && option->words) {
        putchar('(');
        print_zsh_text(option->words);
        putchar(')');
    }
    fputs("' \\\n", stdout);
}

static void print_zsh_verb(const struct verb *verb)
{
    const struct option *option = NULL;

    printf("    %s)\n        _arguments \\\n", verb->name);
    while ((option = verb_next_option(verb, option))) {
        const char letter[] = { option->letter, '\0' }, no_letter[] = { option->no_letter, '\0' };
        char negated[64];
        print_zsh_spec(option, false, "--", option->name);
        if (option->letter)
            print_zsh_spec(option, false, "-", letter);
        (void)snprintf(negated, sizeof(negated), "no-%s", option->name);
        if (can_be_negated(option))
            print_zsh_spec(option, true, "--", negated);
        if (option->no_letter)
            print_zsh_spec(option, true, "-", no_letter);
    }
    if (verb->words)
        printf("            '1: :(%s)' \\\n", verb->words);
    if (verb->takes_file)
        fputs("            '*: :_files' \\\n", stdout);
    fputs("            && return\n        ;;\n", stdout);
}

static void print_zsh(void)
{
    fputs("#compdef hutch\n"
          "local -a hutch_verbs=(\n",
          stdout);
    for (const struct verb *verb = verbs; verb->name; verb++) {
        printf("    '%s:", verb->name);
        print_zsh_text(verb->summary);
        fputs("'\n", stdout);
    }
    fputs(")\n"
          "if (( CURRENT == 2 )); then\n"
          "    _describe verb hutch_verbs\n"
          "    return\n"
          "fi\n"
          "local hutch_verb=$words[2]\n"
          "shift words\n"
          "(( CURRENT-- ))\n"
          "case $hutch_verb in\n",
          stdout);
    for (const struct verb *verb = verbs; verb->name; verb++)
        print_zsh_verb(verb);
    fputs("esac\n", stdout);
}

static void print_fish_option(const struct verb *verb, const struct option *option)
{
    printf("complete -c hutch -n '__fish_seen_subcommand_from %s' -l %s", verb->name, option->name);
    if (option->letter)
        printf(" -s %c", option->letter);
    if (!(option->flags & (OPTION_BOOLEAN | OPTION_VALUE_OPTIONAL)))
        fputs(option->complete == COMPLETE_FILE ? " -r -F" : " -x", stdout);
    if (option->words) {
        fputs(" -a ", stdout);
        print_quoted(option->words);
    }
    fputs(" -d ", stdout);
    print_quoted(option->help);
    putchar('\n');
    if (!can_be_negated(option))
        return;
    printf("complete -c hutch -n '__fish_seen_subcommand_from %s' -l no-%s", verb->name,
           option->name);
    if (option->no_letter)
        printf(" -s %c", option->no_letter);
    putchar('\n');
}

static void print_fish(void)
{
    fputs("# fish completion for hutch\n"
          "complete -c hutch -f\n",
          stdout);
    for (const struct verb *verb = verbs; verb->name; verb++) {
        const struct option *option = NULL;
        printf("complete -c hutch -n __fish_use_subcommand -a %s -d ", verb->name);
        print_quoted(verb->summary);
        putchar('\n');
        if (verb->words) {
            printf("complete -c hutch -n '__fish_seen_subcommand_from %s' -a ", verb->name);
            print_quoted(verb->words);
            putchar('\n');
        }
        if (verb->takes_file)
            printf("complete -c hutch -n '__fish_seen_subcommand_from %s; "
                   "and test (count (commandline -opc)) -gt %d' -F\n",
                   verb->name, verb->words ? 2 : 1);
        while ((option = verb_next_option(verb, option)))
            print_fish_option(verb, option);
    }
}

int cli_completion(int argc, char **argv)
{
    static const char *const shells[] = { "bash", "zsh", "fish", NULL };
    static void (*const print[])(void) = { print_bash, print_zsh, print_fish };
    int count, status = cli_parse("completion", argc, argv, NULL, 1, &count);

    if (status >= 0)
        return status;
    int shell = count ? value_word(argv[0], shells) : -1;
    if (!count)
        return cli_usage_error("completion: which shell? bash, zsh or fish");
    if (shell < 0)
        return cli_usage_error("completion: no shell '%s': there are bash, zsh and fish", argv[0]);
    print[shell]();
    return cli_finish_output(0);
}
