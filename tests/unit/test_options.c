// SPDX-License-Identifier: Apache-2.0
/* The parser of command lines and the environment, on the table of `hutch run`. */
#include "cli/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "machine/config.h"

enum { ARGS_MAX = 16 };

struct parse {
    struct config config;
    struct parsed parsed;
    struct usage_error error;
    char *args[ARGS_MAX];
};

/* Parses the arguments in @line, which blanks separate, with the NULL-terminated @environment. */
static int parse_with(struct parse *parse, const char *line, const char *const *environment)
{
    static char text[200];
    char *rest = NULL;
    int count = 0;

    memset(parse, 0, sizeof(*parse));
    assert_int_equal(config_init(&parse->config), 0);
    assert_true(strlen(line) < sizeof(text));
    memcpy(text, line, strlen(line) + 1);
    for (char *arg = strtok_r(text, " ", &rest); arg; arg = strtok_r(NULL, " ", &rest))
        parse->args[count++] = arg;
    return options_parse(verb_find("run"), count, parse->args, (char *const *)environment,
                         &parse->config, &parse->parsed, &parse->error);
}

static int parse(struct parse *parse, const char *line)
{
    return parse_with(parse, line, NULL);
}

static void values_come_attached_or_behind(void **state)
{
    static const char *const lines[] = { "--cpus=3", "--cpus 3", "-c3", "-c 3" };
    struct parse result;
    (void)state;

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        assert_int_equal(parse(&result, lines[i]), 0);
        assert_int_equal(result.config.cpu_count, 3);
        config_fini(&result.config);
    }
}

static void nothing_is_abbreviated(void **state)
{
    struct parse result;
    (void)state;

    assert_true(parse(&result, "--mem=1G") < 0);
    assert_non_null(strstr(result.error.text, "no option '--mem'"));
    config_fini(&result.config);
}

static void booleans_are_undone(void **state)
{
    struct parse result;
    (void)state;

    assert_int_equal(parse(&result, "--no-rng --dry-run"), 0);
    assert_false(result.config.has_rng);
    assert_true(result.config.dry_run);
    config_fini(&result.config);
    assert_int_equal(parse(&result, "--no-rng --rng --dry-run --no-dry-run"), 0);
    assert_true(result.config.has_rng);
    assert_false(result.config.dry_run);
    config_fini(&result.config);
}

static void a_letter_undoes_a_boolean(void **state)
{
    struct parse result;
    (void)state;

    assert_int_equal(parse(&result, "-t -N"), 0);
    assert_int_equal(result.config.tty, TTY_ON);
    assert_false(result.config.has_stdin);
    config_fini(&result.config);
    assert_int_equal(parse(&result, "-t -T -N --stdin"), 0);
    assert_int_equal(result.config.tty, TTY_OFF);
    assert_true(result.config.has_stdin);
    config_fini(&result.config);
    assert_true(parse(&result, "-Nx") < 0);
    assert_non_null(strstr(result.error.text, "--no-stdin takes no value"));
    config_fini(&result.config);
}

static void lists_add_up_in_order(void **state)
{
    struct parse result;
    (void)state;

    assert_int_equal(parse(&result, "-d a -a x --disk=b,readonly -a y -d c"), 0);
    assert_int_equal(result.config.disk_count, 3);
    assert_string_equal(result.config.disks[0].path, "a");
    assert_string_equal(result.config.disks[1].path, "b");
    assert_true(result.config.disks[1].read_only);
    assert_string_equal(result.config.disks[2].path, "c");
    assert_string_equal(result.config.append, "x y");
    config_fini(&result.config);
}

static void a_network_needs_no_value_before_an_option(void **state)
{
    struct parse result;
    (void)state;

    assert_int_equal(parse(&result, "-n --net -n tap:t0 --net=mac=02:00:00:00:00:01 -n"), 0);
    assert_int_equal(result.config.net_count, 5);
    assert_int_equal(result.config.nets[0].kind, NET_KIND_USER);
    assert_int_equal(result.config.nets[1].kind, NET_KIND_USER);
    assert_int_equal(result.config.nets[2].kind, NET_KIND_TAP);
    assert_string_equal(result.config.nets[2].target, "t0");
    assert_int_equal(result.config.nets[3].kind, NET_KIND_USER);
    assert_true(result.config.nets[3].has_mac);
    assert_int_equal(result.config.nets[4].kind, NET_KIND_USER);
    config_fini(&result.config);
}

static void operands_move_to_the_front_and_end_the_options(void **state)
{
    struct parse result;
    (void)state;

    assert_int_equal(parse(&result, "-c 2 ls -c 3 --frobnicate"), 0);
    assert_int_equal(result.config.cpu_count, 2);
    assert_int_equal(result.parsed.operand_count, 4);
    assert_string_equal(result.args[0], "ls");
    assert_string_equal(result.args[3], "--frobnicate");
    config_fini(&result.config);
}

static void two_dashes_end_the_options(void **state)
{
    struct parse result;
    (void)state;

    assert_int_equal(parse(&result, "-c 2 -- -c 3"), 0);
    assert_int_equal(result.config.cpu_count, 2);
    assert_int_equal(result.parsed.operand_count, 2);
    assert_string_equal(result.args[0], "-c");
    config_fini(&result.config);
}

static void help_wins_over_what_follows(void **state)
{
    struct parse result;
    (void)state;

    assert_int_equal(parse(&result, "-c 2 --help --frobnicate"), 0);
    assert_true(result.parsed.wants_help);
    config_fini(&result.config);
}

static void an_error_names_option_and_value(void **state)
{
    struct parse result;
    (void)state;

    assert_true(parse(&result, "-m lots") < 0);
    assert_non_null(strstr(result.error.text, "--memory=lots: "));
    config_fini(&result.config);
}

static void too_many_disks_are_refused(void **state)
{
    struct parse result;
    struct config *config = &result.config;
    (void)state;

    assert_int_equal(parse(&result, ""), 0);
    for (int i = 0; i <= CONFIG_MAX_DISKS; i++) {
        char option[] = "--disk=a";
        char *args[] = { option };
        int err =
            options_parse(verb_find("run"), 1, args, NULL, config, &result.parsed, &result.error);
        assert_int_equal(err < 0, i == CONFIG_MAX_DISKS);
    }
    assert_int_equal(config->disk_count, CONFIG_MAX_DISKS);
    assert_non_null(strstr(result.error.text, "at most 24 disks"));
    config_fini(config);
}

static void variables_set_what_the_command_line_did_not(void **state)
{
    static const char *const environment[] = { "HUTCH_CPUS=3", "HUTCH_ON_REBOOT=exit",
                                               "HUTCH_RNG=off", "HUTCH_CPUSET=9", NULL };
    struct parse result;
    (void)state;

    assert_int_equal(parse_with(&result, "--on-reboot=reset", environment), 0);
    assert_int_equal(result.config.cpu_count, 3);
    assert_int_equal(result.config.on_reboot, ON_REBOOT_RESET);
    assert_false(result.config.has_rng);
    config_fini(&result.config);
}

static void a_list_on_the_command_line_replaces_its_variable(void **state)
{
    static const char *const environment[] = { "HUTCH_DISK=default.img", "HUTCH_APPEND=quiet",
                                               NULL };
    struct parse result;
    (void)state;

    assert_int_equal(parse_with(&result, "-d a.img", environment), 0);
    assert_int_equal(result.config.disk_count, 1);
    assert_string_equal(result.config.disks[0].path, "a.img");
    assert_string_equal(result.config.append, "quiet");
    config_fini(&result.config);
}

static void a_variable_gives_way_to_an_option_that_excludes_it(void **state)
{
    static const char *const environment[] = { "HUTCH_APPEND=quiet", NULL };
    struct parse result;
    (void)state;

    assert_int_equal(parse_with(&result, "--cmdline=x", environment), 0);
    assert_null(result.config.append);
    config_fini(&result.config);
    assert_true(parse(&result, "--cmdline=x -a y") < 0);
    config_fini(&result.config);
}

static void every_option_has_help_and_what_goes_with_its_kind(void **state)
{
    (void)state;

    for (const struct verb *verb = verbs; verb->name; verb++) {
        const struct option *option = NULL;
        assert_non_null(verb->run);
        assert_non_null(verb->summary);
        assert_non_null(verb->operands);
        while ((option = verb_next_option(verb, option))) {
            assert_in_range(strlen(option->name), 1, 30); /* there is room for its variable */
            assert_non_null(option->help);
            assert_true(option->set || option->flags & OPTION_HELP);
            assert_true(!option->value == !!(option->flags & OPTION_BOOLEAN));
        }
    }
}

static void no_option_is_there_twice(void **state)
{
    const struct verb *verb = verb_find("run");
    const struct option *a = NULL;
    (void)state;

    while ((a = verb_next_option(verb, a))) {
        const struct option *b = a;
        while ((b = verb_next_option(verb, b))) {
            assert_string_not_equal(a->name, b->name);
            assert_true(!a->letter || (a->letter != b->letter && a->letter != b->no_letter));
            assert_true(!a->no_letter ||
                        (a->no_letter != b->letter && a->no_letter != b->no_letter));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_attached_or_behind),
        cmocka_unit_test(nothing_is_abbreviated),
        cmocka_unit_test(booleans_are_undone),
        cmocka_unit_test(a_letter_undoes_a_boolean),
        cmocka_unit_test(lists_add_up_in_order),
        cmocka_unit_test(a_network_needs_no_value_before_an_option),
        cmocka_unit_test(operands_move_to_the_front_and_end_the_options),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(help_wins_over_what_follows),
        cmocka_unit_test(an_error_names_option_and_value),
        cmocka_unit_test(too_many_disks_are_refused),
        cmocka_unit_test(variables_set_what_the_command_line_did_not),
        cmocka_unit_test(a_list_on_the_command_line_replaces_its_variable),
        cmocka_unit_test(a_variable_gives_way_to_an_option_that_excludes_it),
        cmocka_unit_test(every_option_has_help_and_what_goes_with_its_kind),
        cmocka_unit_test(no_option_is_there_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
