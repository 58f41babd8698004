// SPDX-License-Identifier: Apache-2.0
/* The job that the agent in the guest gets, read as the agent reads it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "../../src/machine/machine_private.h"
#include "../../src/machine/root_private.h"
#include "log_capture.h"

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

static void a_user_without_a_name_has_not_ours(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(setenv("USER", "somebody", 1), 0);
    assert_int_equal(setenv("LOGNAME", "somebody", 1), 0);
    f->config.run_as = (struct user_config){ .is_known = true, .uid = getuid() };
    make(f);
    assert_true(place_of(f, AGENT_RECORD_ENV, "USER=somebody") > 0);

    f->config.run_as.uid++;
    agent_job_fini(&f->job);
    make(f);
    assert_int_equal(place_of(f, AGENT_RECORD_ENV, "USER=somebody"), 0);
    assert_int_equal(place_of(f, AGENT_RECORD_ENV, "LOGNAME=somebody"), 0);
    assert_true(place_of(f, AGENT_RECORD_ENV, "HOME=/") > 0);
}

static void a_card_of_passts_gets_addresses_and_a_resolver(void **state)
{
    static const uint8_t mac[] = { 2, 0, 0, 0, 0, 7 };
    struct fixture *f = *state;
    struct agent_network network;
    uint32_t flags;

    f->config.net_count = 3;
    f->config.nets[0].kind = NET_KIND_TAP;
    f->config.nets[1].kind = f->config.nets[2].kind = NET_KIND_USER;
    memcpy(f->config.nets[1].mac, mac, sizeof(mac));
    add_volume(f, "/", true);
    add_volume(f, "/etc", false);
    make(f);

    struct found found = find(f, AGENT_RECORD_NETWORK, 0, NULL, 0);
    assert_int_equal(found.len, sizeof(network));
    memcpy(&network, found.data, sizeof(network));
    assert_memory_equal(network.mac, mac, sizeof(mac));
    assert_memory_equal(network.address, "\x0a\0\x02\x0f", 4);
    assert_memory_equal(network.gateway, "\x0a\0\x02\x02", 4);
    assert_int_equal(network.prefix_len, 24);
    assert_int_equal(find(f, AGENT_RECORD_NETWORK, 0, NULL, found.place).place, 0);
    /* What the file would be in if it came later is a folder of the host. */
    size_t place = place_of(f, AGENT_RECORD_FILE, "/etc/resolv.conf");
    assert_true(place > place_of(f, AGENT_RECORD_ROOT, NULL));
    assert_true(place < place_of_mount(f, "/etc", &flags));
}

static void without_passt_nothing_of_a_network_is_touched(void **state)
{
    struct fixture *f = *state;

    f->config.net_count = 1;
    f->config.nets[0].kind = NET_KIND_TAP;
    make(f);

    assert_int_equal(place_of(f, AGENT_RECORD_NETWORK, NULL), 0);
    assert_int_equal(place_of(f, AGENT_RECORD_FILE, NULL), 0);
}

static void names_are_searched_as_on_the_host(void **state)
{
    const char host[] = "# nameserver 1.2.3.4\nnameserver 127.0.0.53\nsearch a.test b.test\n"
                        "searching\noptions ndots:2";
    char *text = job_describe_resolver(host), *bare = job_describe_resolver(NULL);
    (void)state;

    assert_string_equal(text, "nameserver 10.0.2.3\noptions edns0\nsearch a.test b.test\n"
                              "options ndots:2\n");
    assert_string_equal(bare, "nameserver 10.0.2.3\noptions edns0\n");
    free(text);
    free(bare);
}

static void resolvers_of_ipv6_alone_are_asked_directly(void **state)
{
    const char host[] = "nameserver 2001:db8::53\nsearch a.test\nnameserver\t2001:db8::54  \n"
                        "nameserver fe80::1%eth0\nnameserver ::1\n";
    char *text = job_describe_resolver(host);
    (void)state;

    assert_string_equal(text,
                        "nameserver 2001:db8::53\nnameserver\t2001:db8::54  \nsearch a.test\n");
    free(text);
}

static void one_resolver_of_ipv4_is_enough(void **state)
{
    char *text = job_describe_resolver("nameserver 2001:db8::53\nnameserver 192.0.2.1");
    char *unreachable = job_describe_resolver("nameserver ::1\n");
    (void)state;

    assert_string_equal(text, "nameserver 10.0.2.3\noptions edns0\n");
    assert_string_equal(unreachable, text);
    free(text);
    free(unreachable);
}

static void a_resolver_of_the_host_alone_is_out_of_reach(void **state)
{
    (void)state;

    assert_false(job_reaches_resolver("search a.test\nnameserver ::1\nnameserver fe80::1%eth0\n"));
    assert_true(job_reaches_resolver("nameserver ::1\nnameserver 2001:db8::53\n"));
    assert_true(job_reaches_resolver("nameserver 127.0.0.53\n")); /* passt asks it there */
    assert_true(job_reaches_resolver("search a.test\n"));
    assert_true(job_reaches_resolver(NULL));
}

static void a_job_that_is_too_large_is_refused(void **state)
{
    struct fixture *f = *state;
    struct log_capture log;
    char variable[100000];
    for (int i = 0; i < 50; i++) {
        memset(variable, 'x', sizeof(variable));
        variable[snprintf(variable, sizeof(variable), "V%d=", i)] = 'x';
        variable[sizeof(variable) - 1] = '\0';
        assert_int_equal(config_add_text(&f->config.env, variable), 0);
    }

    assert_int_equal(log_capture_begin(&log), 0);
    int err = machine_make_job(&f->config, &f->job);
    const char *said = log_capture_read(&log);
    log_capture_end(&log);

    assert_int_equal(err, -E2BIG);
    assert_non_null(strstr(said, "arguments and variables: more than 4 MiB"));
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

static void what_is_made_has_our_umask(void **state)
{
    struct fixture *f = *state;
    mode_t before = umask(037);

    make(f);
    (void)umask(before);

    struct found found = find(f, AGENT_RECORD_UMASK, 0, NULL, 0);
    assert_int_equal(found.len, 4);
    assert_int_equal(found.data[0], 037);
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
        JOB_TEST(a_user_without_a_name_has_not_ours),
        JOB_TEST(a_card_of_passts_gets_addresses_and_a_resolver),
        JOB_TEST(without_passt_nothing_of_a_network_is_touched),
        JOB_TEST(names_are_searched_as_on_the_host),
        JOB_TEST(resolvers_of_ipv6_alone_are_asked_directly),
        JOB_TEST(one_resolver_of_ipv4_is_enough),
        JOB_TEST(a_resolver_of_the_host_alone_is_out_of_reach),
        JOB_TEST(a_job_that_is_too_large_is_refused),
        JOB_TEST(what_is_said_goes_before_what_is_there),
        JOB_TEST(what_is_made_has_our_umask),
        JOB_TEST(another_root_gets_none_of_our_variables),
        JOB_TEST(the_command_and_the_name_arrive),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
