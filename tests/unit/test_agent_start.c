// SPDX-License-Identifier: Apache-2.0
/* The real agent, as a process of this machine: what it prepares for the command, and what it tells
 * when it cannot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent_bench.h"
#include "host/fd.h"
#include "scratch.h"
#include "skip.h"

/* A folder, gone with the test also if that is skipped. Returns the path of @name in it. */
static char *path_in_folder(struct fixture *f, const char *name, char path[64])
{
    if (!f->folder[0]) {
        (void)snprintf(f->folder, sizeof(f->folder), "/tmp/hutch-agent.XXXXXX");
        assert_non_null(scratch_make(f->folder));
    }
    (void)snprintf(path, 64, "%s/%s", f->folder, name);
    return path;
}

static void the_agent_tells_what_it_cannot_find(void **state)
{
    struct fixture *f = *state;
    agent_job_text(&f->job, AGENT_RECORD_ARG, "hutch-has-no-such-program");
    make_agent(f);
    start_agent_process(f);

    expect_end(f, AGENT_END_FAILED, 127);
    assert_string_equal(agent_result(f->agent)->text,
                        "'hutch-has-no-such-program': no such file or directory");
}

static void expect_failure(struct fixture *f, const char *command, uint32_t status, const char *why)
{
    char sentence[AGENT_TEXT_MAX];

    agent_job_text(&f->job, AGENT_RECORD_ARG, command);
    make_agent(f);
    start_agent_process(f);
    expect_end(f, AGENT_END_FAILED, status);
    (void)snprintf(sentence, sizeof(sentence), "'%s': %s", command, why);
    assert_string_equal(agent_result(f->agent)->text, sentence);
}

static void the_agent_tells_what_it_cannot_execute(void **state)
{
    expect_failure(*state, "/etc/passwd", 126, "permission denied");
}

static void the_agent_tells_a_folder_from_a_program(void **state)
{
    expect_failure(*state, "/usr", 126, "is a directory");
}

static void the_agent_tells_that_an_interpreter_is_missing(void **state)
{
    char path[64];
    int fd = open(path_in_folder(*state, "script", path), O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    assert_int_equal(fd_write_full(fd, "#!/no/such/sh\n", 14), 0);
    close(fd);

    expect_failure(*state, path, 126, "the interpreter or loader that it needs is not there");
}

static void the_agent_passes_many_arguments(void **state)
{
    struct fixture *f = *state;
    agent_job_text(&f->job, AGENT_RECORD_ARG, "/bin/sh");
    agent_job_text(&f->job, AGENT_RECORD_ARG, "-c");
    agent_job_text(&f->job, AGENT_RECORD_ARG, "echo $#");
    for (int i = 0; i < 100001; i++)
        agent_job_text(&f->job, AGENT_RECORD_ARG, "argument");
    make_agent(f);
    start_agent_process(f);

    expect_end(f, AGENT_END_EXIT, 0);
    expect_output(&f->out, "100000\n");
}

static void the_agent_tells_that_a_variable_is_too_long(void **state)
{
    struct fixture *f = *state;
    static char variable[200000]; /* Linux takes 128 KiB */
    memset(variable, 'x', sizeof(variable) - 1);
    variable[1] = '=';
    agent_job_text(&f->job, AGENT_RECORD_ENV, variable);

    expect_failure(f, "/bin/true", 126, "its arguments or variables are too long");
}

static void the_agent_refuses_too_many_variables(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 262145; i++)
        agent_job_text(&f->job, AGENT_RECORD_ENV, "A=");

    run_script(f, "true");

    expect_end(f, AGENT_END_FAILED, 125);
    assert_string_equal(agent_result(f->agent)->text,
                        "a command has at most 262144 arguments, and as many variables");
}

static void the_agent_changes_to_the_folder(void **state)
{
    struct fixture *f = *state;
    agent_job_text(&f->job, AGENT_RECORD_FOLDER, "/usr/bin");

    run_script(f, "pwd; exec cat");
    fd_close(&f->input[1]);

    expect_end(f, AGENT_END_EXIT, 0);
    expect_output(&f->out, "/usr/bin\n");
}

static void the_agent_takes_bits_off_what_the_command_makes(void **state)
{
    struct fixture *f = *state;
    char path[64], script[128];
    agent_job_umask(&f->job, 027);
    (void)snprintf(script, sizeof(script), "echo >%s && stat -c %%a %s",
                   path_in_folder(f, "made", path), path);

    run_script(f, script);

    expect_end(f, AGENT_END_EXIT, 0);
    expect_output(&f->out, "640\n");
}

static void the_agent_refuses_a_folder_that_is_not_there(void **state)
{
    struct fixture *f = *state;
    agent_job_text(&f->job, AGENT_RECORD_FOLDER, "/nowhere");

    run_script(f, "true");

    expect_end(f, AGENT_END_FAILED, 125);
}

static void the_agent_refuses_a_user_that_nobody_knows(void **state)
{
    struct fixture *f = *state;
    agent_job_text(&f->job, AGENT_RECORD_USER_NAME, "hutch-no-such-user");

    run_script(f, "true");

    expect_end(f, AGENT_END_FAILED, 125);
    assert_string_equal(agent_result(f->agent)->text,
                        "user 'hutch-no-such-user': the guest's /etc/passwd does not have it");
}

static void the_agent_finds_a_user_with_groups_and_home(void **state)
{
    struct fixture *f = *state;
    if (getuid() != 0)
        skip_because("only root becomes somebody else");
    agent_job_text(&f->job, AGENT_RECORD_USER_NAME, "nobody");

    run_script(f, "test \"$(id -un)\" = nobody && test \"$(id -gn)\" = \"$(id -gn nobody)\" && "
                  "test \"$HOME\" = \"$(getent passwd nobody | cut -d: -f6)\" && echo yes");

    expect_end(f, AGENT_END_EXIT, 0);
    expect_output(&f->out, "yes\n");
}

static void a_home_that_is_named_is_not_the_users(void **state)
{
    struct fixture *f = *state;
    const struct passwd *user = getpwuid(getuid());
    if (!user)
        skip_because("no list knows this user");
    agent_job_text(&f->job, AGENT_RECORD_USER_NAME, user->pw_name);
    agent_job_text(&f->job, AGENT_RECORD_ENV, "HOME=/said");
    agent_job_text(&f->job, AGENT_RECORD_ARG, "/usr/bin/env");
    make_agent(f);
    start_agent_process(f);

    expect_end(f, AGENT_END_EXIT, 0);
    expect_output(&f->out, "HOME=/said\n");
}

static void the_agent_makes_a_home_for_its_user(void **state)
{
    struct fixture *f = *state;
    char home[64];
    struct stat st;
    (void)path_in_folder(f, "a/b", home);
    agent_job_user(&f->job, getuid() ? getuid() : 1234, getgid() ? getgid() : 1234, NULL, 0);
    agent_job_text(&f->job, AGENT_RECORD_HOME, home);

    run_script(f, "true");

    expect_end(f, AGENT_END_EXIT, 0);
    assert_int_equal(stat(home, &st), 0);
    assert_int_equal(st.st_uid, getuid() ? getuid() : 1234);
}

static void the_agent_gives_a_card_its_addresses(void **state)
{
    struct fixture *f = *state;
    const struct agent_network network = { .prefix_len = 23,
                                           .address = { 10, 0, 3, 15 },
                                           .gateway = { 10, 0, 2, 2 } };
    struct agent_network described = network;
    memcpy(described.mac, card_address, sizeof(card_address));
    agent_job_network(&f->job, &described);
    f->has_card = true;

    run_script(f, "cat /proc/net/route; grep -q 10.0.3.15 /proc/net/fib_trie && "
                  "echo dad $(cat /proc/sys/net/ipv6/conf/card0/accept_dad || echo 0)");

    expect_end(f, AGENT_END_EXIT, 0);
    assert_non_null(strstr(f->out.data, "dad 0\n")); /* or this kernel has no IPv6 */
    assert_non_null(strstr(f->out.data, "card0\t00000000\t0202000A\t0003"));
    assert_non_null(strstr(f->out.data, "card0\t0002000A\t00000000\t0001\t0\t0\t0\t00FEFFFF"));
}

static void the_agent_tells_that_there_is_no_such_card(void **state)
{
    struct fixture *f = *state;
    const struct agent_network network = { .mac = { 2, 1, 1, 1, 1, 1 }, .prefix_len = 24 };
    agent_job_network(&f->job, &network);
    f->has_card = true;

    run_script(f, "true");

    expect_end(f, AGENT_END_FAILED, 123);
    assert_non_null(strstr(agent_result(f->agent)->text, "CONFIG_VIRTIO_NET"));
}

static void the_agent_writes_a_file_in_place_of_a_link(void **state)
{
    struct fixture *f = *state;
    char link[64], target[64], script[256];
    (void)path_in_folder(f, "target", target);
    assert_int_equal(symlink("target", path_in_folder(f, "link", link)), 0);
    agent_job_file(&f->job, link, "one\ntwo\n");
    (void)snprintf(script, sizeof(script), "cat %s", link);

    run_script(f, script);

    expect_end(f, AGENT_END_EXIT, 0);
    expect_output(&f->out, "one\ntwo\n");
    assert_int_equal(access(target, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_agent_tells_what_it_cannot_find),
        TEST(the_agent_tells_what_it_cannot_execute),
        TEST(the_agent_tells_a_folder_from_a_program),
        TEST(the_agent_tells_that_an_interpreter_is_missing),
        TEST(the_agent_passes_many_arguments),
        TEST(the_agent_tells_that_a_variable_is_too_long),
        TEST(the_agent_refuses_too_many_variables),
        TEST(the_agent_changes_to_the_folder),
        TEST(the_agent_takes_bits_off_what_the_command_makes),
        TEST(the_agent_refuses_a_folder_that_is_not_there),
        TEST(the_agent_refuses_a_user_that_nobody_knows),
        TEST(the_agent_finds_a_user_with_groups_and_home),
        TEST(a_home_that_is_named_is_not_the_users),
        TEST(the_agent_makes_a_home_for_its_user),
        TEST(the_agent_gives_a_card_its_addresses),
        TEST(the_agent_tells_that_there_is_no_such_card),
        TEST(the_agent_writes_a_file_in_place_of_a_link),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
