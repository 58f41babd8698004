// SPDX-License-Identifier: Apache-2.0
/* User-mode networking with a real passt. Skipped where passt is not installed or cannot work. */
#include "virtio/net_backend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/fd.h"
#include "host/program.h"
#include "net_harness.h"
#include "skip.h"

enum { SPACE = HARNESS_HEADER + NET_FRAME_MAX };

static const uint8_t guest_mac[6] = { 0x02, 0x11, 0x22, 0x33, 0x44, 0x55 };

/* Why passt cannot be tested here, or NULL. */
static const char *reason;

static bool can_make_user_namespace(void)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0)
        _exit(unshare(CLONE_NEWUSER) < 0);
    (void)waitpid(pid, &status, 0);
    return status == 0;
}

static bool has_default_route(void)
{
    AUTO_FREE char *routes = NULL;

    return fd_read_file("/proc/net/route", 1 << 20, &routes, NULL) == 0 &&
           strstr(routes, "\t00000000\t");
}

static void find_reason(void)
{
    AUTO_FREE char *path = program_find("passt");

    if (!path)
        reason = "passt is not installed";
    else if (!can_make_user_namespace())
        reason = "user namespaces are forbidden here";
    else if (!has_default_route())
        reason = "this host has no default route";
}

static void require_passt(void)
{
    if (reason)
        skip_because(reason);
}

struct fixture {
    struct harness harness;
    uint8_t bytes[SPACE];
};

static int make(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    if (!fixture)
        return -1;
    harness_init(&fixture->harness);
    *state = fixture;
    return 0;
}

static int drop(void **state)
{
    struct fixture *fixture = *state;

    harness_fini(&fixture->harness);
    free(fixture);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no process, no zombie */
    assert_int_equal(errno, ECHILD);
    return 0;
}

static void start(struct fixture *fixture, uint16_t mtu)
{
    const struct net_passt_params params = { .mtu = mtu };
    struct net_backend *backend;

    assert_int_equal(net_passt_start(&params, &backend), 0);
    harness_attach(&fixture->harness, backend);
}

/* The process that passt is: our only child. */
static pid_t passt_pid(void)
{
    AUTO_FREE char *children = NULL;
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/self/task/%ld/children", (long)getpid());
    assert_int_equal(fd_read_file(path, 4096, &children, NULL), 0);
    return (pid_t)strtol(children, NULL, 10);
}

/* --- what passt does for a guest --- */

static void ask_who_has(struct fixture *fixture)
{
    const uint8_t question[42] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x11, 0x22, 0x33, 0x44,
        0x55, 0x08, 0x06, 0,    1,    8,    0,    6,    4,    0,    1, /* a request, for IPv4 */
        0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 10,   99,   0,    2,       /* from 10.99.0.2 */
        0,    0,    0,    0,    0,    0,    10,   99,   0,    1,       /* who has 10.99.0.1? */
    };

    assert_int_equal(harness_send(&fixture->harness, 0, NULL, question, sizeof(question)), 0);
    assert_int_equal(harness_receive(&fixture->harness, 0, fixture->bytes, SPACE),
                     HARNESS_HEADER + sizeof(question));
    const uint8_t *answer = fixture->bytes + HARNESS_HEADER;
    assert_memory_equal(answer, guest_mac, sizeof(guest_mac));
    assert_int_equal(answer[21], 2); /* a reply */
    assert_memory_equal(answer + 28, question + 38, 4);
}

static void answers_who_has(void **state)
{
    struct fixture *fixture = *state;
    require_passt();

    start(fixture, 0);
    ask_who_has(fixture);
}

/* A DHCPDISCOVER in an Ethernet frame. Returns its length. */
static size_t fill_discover(uint8_t *frame)
{
    const uint8_t headers[42] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x11, 0x22, 0x33, 0x44,
                                  0x55, 0x08, 0x00, 0x45, 0,    0x01, 0x15, 0,    0,    0,    0,
                                  64,   17,   0x79, 0xde, 0,    0,    0,    0,    255,  255,  255,
                                  255,  0,    68,   0,    67,   0x01, 0x01, 0,    0 };
    const uint8_t request[] = { 1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef };
    const uint8_t options[] = { 0x63, 0x82, 0x53, 0x63, 53, 1, 1, 55, 3, 1, 3, 26, 255 };

    memset(frame, 0, 42 + 236);
    memcpy(frame, headers, sizeof(headers));
    memcpy(frame + 42, request, sizeof(request));
    memcpy(frame + 42 + 28, guest_mac, sizeof(guest_mac));
    memcpy(frame + 42 + 236, options, sizeof(options));
    return 42 + 236 + sizeof(options);
}

/* Finds a DHCP option in an answer. Returns its value, or NULL. */
static const uint8_t *find_option(const uint8_t *frame, size_t len, uint8_t option)
{
    for (size_t at = 42 + 236 + 4; at + 2 <= len && frame[at] != 255;
         at += frame[at] ? frame[at + 1] + 2u : 1u)
        if (frame[at] == option)
            return frame + at + 2;
    return NULL;
}

static void gives_the_guest_an_address_and_our_mtu(void **state)
{
    struct fixture *fixture = *state;
    uint8_t discover[400];
    require_passt();

    start(fixture, 1400);
    size_t len = fill_discover(discover);
    assert_int_equal(harness_send(&fixture->harness, 0, NULL, discover, len), 0);
    ssize_t got = harness_receive(&fixture->harness, 0, fixture->bytes, SPACE);
    assert_true(got > HARNESS_HEADER + 42 + 240);

    const uint8_t *offer = fixture->bytes + HARNESS_HEADER;
    const uint8_t *mtu = find_option(offer, (size_t)got - HARNESS_HEADER, 26);
    assert_int_equal(offer[42], 2);                            /* BOOTREPLY */
    assert_memory_equal(offer + 42 + 16, "\x0a\0\x02\x0f", 4); /* NET_PASST_ADDRESS */
    assert_non_null(mtu);
    assert_int_equal(mtu[0] << 8 | mtu[1], 1400);
}

/* --- its life and ours --- */

static void is_in_a_process_group_of_its_own(void **state)
{
    struct fixture *fixture = *state;
    require_passt();

    start(fixture, 0);
    assert_int_not_equal(getpgid(passt_pid()), getpgrp());
}

static void leaves_no_socket_behind(void **state)
{
    struct fixture *fixture = *state;
    glob_t before = { 0 }, after = { 0 };
    require_passt();

    (void)glob("/tmp/passt*", 0, NULL, &before);
    start(fixture, 0);
    (void)glob("/tmp/passt*", 0, NULL, &after);
    assert_int_equal(before.gl_pathc, after.gl_pathc);
    globfree(&before);
    globfree(&after);
}

static void its_death_takes_the_link_down(void **state)
{
    struct fixture *fixture = *state;
    struct harness *harness = &fixture->harness;
    require_passt();

    start(fixture, 0);
    assert_int_equal(kill(passt_pid(), SIGKILL), 0);
    for (int turns = 0; harness->links_lost == 0 && turns < 10; turns++)
        harness_run(harness, 1000);
    assert_int_equal(harness->links_lost, 1);
    assert_int_equal(harness_send(harness, 0, NULL, fixture->bytes, 60), -ENOTCONN);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* it is buried already */
    harness_run(harness, 10);
    assert_int_equal(harness->links_lost, 1);
}

static void its_death_amid_traffic_takes_the_link_down_once(void **state)
{
    struct fixture *fixture = *state;
    struct harness *harness = &fixture->harness;
    require_passt();

    start(fixture, 0);
    harness->backend->ops->set_receiving(harness->backend, 0, true);
    assert_int_equal(kill(passt_pid(), SIGKILL), 0);
    for (int turns = 0; turns < 20; turns++) {
        (void)harness_try_receive(harness, 0, fixture->bytes, SPACE);
        harness->backend->ops->set_receiving(harness->backend, 0, true);
        harness_run(harness, 20);
    }
    assert_int_equal(harness->links_lost, 1);
}

static void the_next_card_has_the_same_passt(void **state)
{
    struct fixture *fixture = *state;
    require_passt();

    start(fixture, 0);
    pid_t pid = passt_pid();
    harness_replace_card(&fixture->harness);

    assert_int_equal(passt_pid(), pid);
    ask_who_has(fixture);
}

static void a_death_is_told_to_one_card_only(void **state)
{
    struct fixture *fixture = *state;
    struct harness *harness = &fixture->harness;
    require_passt();

    start(fixture, 0);
    assert_int_equal(kill(passt_pid(), SIGKILL), 0);
    for (int turns = 0; harness->links_lost == 0 && turns < 10; turns++)
        harness_run(harness, 1000);
    assert_int_equal(harness->links_lost, 1);

    harness_replace_card(harness);

    harness_run(harness, 50);
    assert_int_equal(harness->links_lost, 0);
    assert_true(harness->backend->link_was_lost);
}

static void a_death_between_two_cards_is_told_to_the_next_one(void **state)
{
    struct fixture *fixture = *state;
    struct harness *harness = &fixture->harness;
    require_passt();

    start(fixture, 0);
    harness->backend->ops->detach(harness->backend);
    assert_int_equal(kill(passt_pid(), SIGKILL), 0);

    harness_replace_card(harness);

    for (int turns = 0; harness->links_lost == 0 && turns < 10; turns++)
        harness_run(harness, 1000);
    assert_int_equal(harness->links_lost, 1);
}

static void does_not_outlive_us_if_we_are_killed(void **state)
{
    const struct net_passt_params params = { 0 };
    struct net_backend *backend;
    int ready[2], status;
    pid_t passt = 0;
    (void)state;
    require_passt();

    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* orphans become ours */
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        passt = net_passt_start(&params, &backend) == 0 ? passt_pid() : -1;
        _exit(write(ready[1], &passt, sizeof(passt)) < 0 || pause());
    }
    assert_int_equal(read(ready[0], &passt, sizeof(passt)), sizeof(passt));
    close(ready[0]);
    close(ready[1]);
    assert_true(passt > 0);
    assert_int_equal(kill(passt, 0), 0);

    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    (void)alarm(10);
    assert_int_equal(waitpid(passt, &status, 0), passt);
    (void)alarm(0);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

/* --- where it cannot work --- */

/* Runs @prepare in a process of its own, starts passt there, and gives what was logged.
 * Returns what net_passt_start() said, or 1 if @prepare could not do what it should. */
static int start_elsewhere(bool (*prepare)(void), char *text, size_t size)
{
    const struct net_passt_params params = { 0 };
    struct net_backend *backend;
    int ends[2], status = -1;
    size_t len = 0;
    ssize_t got;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (dup2(ends[1], STDERR_FILENO) < 0 || !prepare())
            _exit(1);
        _exit(-net_passt_start(&params, &backend));
    }
    close(ends[1]);
    while (len < size - 1 && (got = read(ends[0], text + len, size - 1 - len)) > 0)
        len += (size_t)got;
    text[len] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status) == 1 ? 1 : -WEXITSTATUS(status);
}

static bool hide_programs(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", "/usr/bin", "tmpfs", 0, NULL) == 0;
}

static bool write_file(const char *path, const char *text)
{
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static bool forbid_user_namespaces(void)
{
    return unshare(CLONE_NEWUSER) == 0 && write_file("/proc/self/uid_map", "0 0 1") &&
           write_file("/proc/self/setgroups", "deny") &&
           write_file("/proc/self/gid_map", "0 0 1") &&
           write_file("/proc/sys/user/max_user_namespaces", "0");
}

static bool cut_the_network(void)
{
    return unshare(CLONE_NEWNET) == 0;
}

static void says_how_to_install_it(void **state)
{
    char text[1000];
    (void)state;
    require_passt();

    int err = start_elsewhere(hide_programs, text, sizeof(text));
    if (err == 1)
        skip_because("such a host cannot be made here");
    assert_int_equal(err, -ENOENT);
    assert_non_null(strstr(text, "apt install passt"));
}

static void says_that_user_namespaces_are_forbidden(void **state)
{
    char text[1000];
    (void)state;
    require_passt();

    int err = start_elsewhere(forbid_user_namespaces, text, sizeof(text));
    if (err == 1)
        skip_because("such a host cannot be made here");
    assert_int_equal(err, -ECHILD);
    assert_non_null(strstr(text, "max_user_namespaces"));
}

static void says_that_there_is_no_route(void **state)
{
    char text[1000];
    (void)state;
    require_passt();

    int err = start_elsewhere(cut_the_network, text, sizeof(text));
    if (err == 1)
        skip_because("such a host cannot be made here");
    assert_int_equal(err, -ECHILD);
    assert_non_null(strstr(text, "default route"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answers_who_has),
        TEST(gives_the_guest_an_address_and_our_mtu),
        TEST(is_in_a_process_group_of_its_own),
        TEST(leaves_no_socket_behind),
        TEST(its_death_takes_the_link_down),
        TEST(its_death_amid_traffic_takes_the_link_down_once),
        TEST(the_next_card_has_the_same_passt),
        TEST(a_death_is_told_to_one_card_only),
        TEST(a_death_between_two_cards_is_told_to_the_next_one),
        TEST(does_not_outlive_us_if_we_are_killed),
        TEST(says_how_to_install_it),
        TEST(says_that_user_namespaces_are_forbidden),
        TEST(says_that_there_is_no_route),
    };

    find_reason();
    return cmocka_run_group_tests_name("net_passt", tests, NULL, NULL);
}
