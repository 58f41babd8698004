// SPDX-License-Identifier: Apache-2.0
/* The job that the agent in the guest gets, read as the agent reads it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "../../src/machine/machine_private.h"

struct fixture {
    struct config config;
    struct agent_job job;
    char *command[3];
};

static int set_up(void **state)
{
    static struct fixture fixture;
    static char program[] = "make", argument[] = "check";
    struct fixture *f = &fixture;

    *f = (struct fixture){ .command = { program, argument, NULL } };
    *state = f;
    if (config_init(&f->config))
        return -1;
    f->config.command = f->command;
    f->config.name = strdup("vm");
    f->config.tty = TTY_OFF;
    f->config.root = ROOT_HOST;
    return f->config.name ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    agent_job_fini(&f->job);
    config_fini(&f->config);
    return 0;
}

static void add_volume(struct fixture *f, const char *target, bool read_only)
{
    size_t at = f->config.volume_count++;
    char tag[16];

    (void)snprintf(tag, sizeof(tag), "tag%zu", at);
    f->config.volumes[at] = (struct volume_config){ .path = strdup("/host"),
                                                    .tag = strdup(tag),
                                                    .target = target ? strdup(target) : NULL,
                                                    .read_only = read_only,
                                                    .is_root = target && !target[1] };
}

static void make(struct fixture *f)
{
    assert_int_equal(machine_make_job(&f->config, &f->job), 0);
}

struct found {
    const uint8_t *data;
    uint32_t len;
    size_t place; /* among all records, from 1; 0: not found */
};

/* The first record of @type after @place whose bytes from @offset on are @text, if that is given.
 */
static struct found find(const struct fixture *f, enum agent_record_type type, size_t offset,
                         const char *text, size_t after)
{
    size_t place = 0;

    for (size_t at = 0; at < f->job.len;) {
        struct agent_record record;

        assert_true(f->job.len - at >= sizeof(record));
        memcpy(&record, f->job.data + at, sizeof(record));
        at += sizeof(record);
        assert_true(record.len <= f->job.len - at);
        const uint8_t *data = f->job.data + at;
        at += record.len;
        place++;
        if (place > after && record.type == type &&
            (!text || (record.len > offset && !strcmp((const char *)data + offset, text))))
            return (struct found){ data, record.len, place };
    }
    return (struct found){ 0 };
}

static size_t place_of(const struct fixture *f, enum agent_record_type type, const char *text)
{
    return find(f, type, 0, text, 0).place;
}

/* Where @target is mounted: the third text behind the flags. */
static size_t place_of_mount(const struct fixture *f, const char *target, uint32_t *flags)
{
    struct found found = find(f, AGENT_RECORD_MOUNT, 0, NULL, 0);

    for (; found.place; found = find(f, AGENT_RECORD_MOUNT, 0, NULL, found.place)) {
        const char *text = (const char *)found.data + sizeof(*flags);

        text += strlen(text) + 1;
        text += strlen(text) + 1;
        memcpy(flags, found.data, sizeof(*flags));
        if (!strcmp(text, target))
            return found.place;
    }
    return 0;
}

static void the_root_is_made_before_it_is_the_root(void **state)
{
    struct fixture *f = *state;
    uint32_t flags;

    add_volume(f, "/", true);
    make(f);

    size_t lower = place_of_mount(f, "/layers/lower", &flags);
    assert_true(lower > 0 && flags & MS_RDONLY);
    size_t layered = place_of_mount(f, "/layers/root", &flags);
    assert_true(layered > lower && !(flags & MS_RDONLY));
    assert_true(place_of(f, AGENT_RECORD_ROOT, "/layers/root") > layered);
    assert_true(place_of_mount(f, "/tmp", &flags) > place_of(f, AGENT_RECORD_ROOT, "/layers/root"));
}

static void folders_come_before_those_in_them(void **state)
{
    struct fixture *f = *state;
    uint32_t outer, inner;

    add_volume(f, "/a/b", false);
    add_volume(f, "/", true);
    add_volume(f, "/a", true);
    add_volume(f, NULL, false); /* which the guest mounts itself */
    make(f);

    size_t first = place_of_mount(f, "/a", &outer), second = place_of_mount(f, "/a/b", &inner);
    assert_true(place_of(f, AGENT_RECORD_ROOT, NULL) < first);
    assert_true(first < second);
    assert_true(outer & MS_RDONLY);
    assert_false(inner & MS_RDONLY);
}

static void an_image_is_only_read(void **state)
{
    struct fixture *f = *state;
    uint32_t flags;

    f->config.root = ROOT_IMAGE;
    f->config.root_type = strdup("xfs");
    f->config.root_partition = 3;
    make(f);

    size_t place = place_of_mount(f, "/layers/lower", &flags);
    assert_true(place > 0 && flags & MS_RDONLY);
    const char *type =
        (const char *)find(f, AGENT_RECORD_MOUNT, 0, NULL, place - 1).data + sizeof(flags);
    assert_string_equal(type, "xfs");
    assert_string_equal(type + 4, "/dev/vda3");
    assert_string_equal(type + 4 + 10 + 14, "norecovery");
}

static void the_initial_ram_disk_stays_the_root_if_asked(void **state)
{
    struct fixture *f = *state;

    f->config.root = ROOT_NONE;
    make(f);

    assert_int_equal(place_of(f, AGENT_RECORD_ROOT, NULL), 0);
    assert_int_equal(place_of(f, AGENT_RECORD_MOUNT, NULL), 0);
    assert_true(place_of(f, AGENT_RECORD_ENV, "HOME=/") > 0);
}

static void the_user_comes_before_his_home(void **state)
{
    struct fixture *f = *state;

    f->config.run_as = (struct user_config){ .is_known = true, .uid = 7, .gid = 8 };
    f->config.run_as.home = strdup("/home/x");
    make(f);

    struct found user = find(f, AGENT_RECORD_USER, 0, NULL, 0);
    assert_int_equal(user.len, 2 * sizeof(uint32_t));
    assert_true(place_of(f, AGENT_RECORD_HOME, "/home/x") > user.place);
    assert_true(place_of(f, AGENT_RECORD_ENV, "HOME=/home/x") > 0);
}

static void what_is_said_goes_before_what_is_there(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(setenv("HUTCH_TEST_A", "ours", 1), 0);
    assert_int_equal(setenv("TEST_B_TOKEN", "secret", 1), 0);
    assert_int_equal(config_add_text(&f->config.env, "PATH=/x"), 0);
    assert_int_equal(config_add_text(&f->config.env, "TEST_B_TOKEN"), 0);
    assert_int_equal(config_add_text(&f->config.env, "TEST_NOT_SET_ANYWHERE"), 0);
    make(f);

    assert_true(place_of(f, AGENT_RECORD_ENV, "PATH=/x") > 0);
    assert_true(place_of(f, AGENT_RECORD_ENV, "TEST_B_TOKEN=secret") > 0);
    assert_int_equal(place_of(f, AGENT_RECORD_ENV, "HUTCH_TEST_A=ours"), 0);
    assert_int_equal(place_of(f, AGENT_RECORD_ENV, "TEST_NOT_SET_ANYWHERE"), 0);
}

static void another_root_gets_none_of_our_variables(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(setenv("TEST_C", "ours", 1), 0);
    f->config.root = ROOT_FOLDER;
    make(f);

    assert_int_equal(place_of(f, AGENT_RECORD_ENV, "TEST_C=ours"), 0);
}

static void the_command_and_the_name_arrive(void **state)
{
    struct fixture *f = *state;

    make(f);

    size_t first = place_of(f, AGENT_RECORD_ARG, "make");
    assert_true(first > 0);
    assert_true(place_of(f, AGENT_RECORD_ARG, "check") > first);
    assert_true(place_of(f, AGENT_RECORD_HOST_NAME, "vm") > 0);
}

#define JOB_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        JOB_TEST(the_root_is_made_before_it_is_the_root),
        JOB_TEST(folders_come_before_those_in_them),
        JOB_TEST(an_image_is_only_read),
        JOB_TEST(the_initial_ram_disk_stays_the_root_if_asked),
        JOB_TEST(the_user_comes_before_his_home),
        JOB_TEST(what_is_said_goes_before_what_is_there),
        JOB_TEST(another_root_gets_none_of_our_variables),
        JOB_TEST(the_command_and_the_name_arrive),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
