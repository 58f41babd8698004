// SPDX-License-Identifier: Apache-2.0
/* What the user is told to do when KVM does not open: `hutch run` and `hutch doctor` alike. */
#include "cpu/probe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpu/vm.h"
#include "log_capture.h"
#include "scratch.h"
#include "skip.h"

/* A file that takes the device's place, of a group that is not root's. */
struct fixture {
    char folder[32], path[40];
    char advice[256];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    *state = f;
    (void)snprintf(f->folder, sizeof(f->folder), "/tmp/hutch-advice-XXXXXX");
    if (!scratch_make(f->folder))
        return -1;
    (void)snprintf(f->path, sizeof(f->path), "%s/kvm", f->folder);
    return close(open(f->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    scratch_remove(f->folder);
    free(f);
    return 0;
}

static const char *advice(struct fixture *f, int err)
{
    kvm_advise(f->path, err, f->advice, sizeof(f->advice));
    return f->advice;
}

static void a_group_that_may_use_it_is_to_be_joined(void **state)
{
    struct fixture *f = *state;
    const struct group *group = getgrnam("daemon");
    char expected[128];

    if (!group || chown(f->path, (uid_t)-1, group->gr_gid))
        skip_because("only root gives files away");
    assert_int_equal(chmod(f->path, 0660), 0);
    (void)snprintf(expected, sizeof(expected), "sudo usermod -aG %s $USER, then log in again",
                   group->gr_name);

    assert_string_equal(advice(f, -EACCES), expected);
}

static void where_no_group_may_use_it_the_user_is_given_access(void **state)
{
    struct fixture *f = *state;
    char expected[128];

    assert_int_equal(chmod(f->path, 0600), 0);
    (void)snprintf(expected, sizeof(expected), "sudo setfacl -m u:$USER:rw %s", f->path);

    assert_string_equal(advice(f, -EACCES), expected);
}

static void what_no_mode_of_the_file_explains_is_the_containers(void **state)
{
    assert_non_null(strstr(advice(*state, -EPERM), "docker run --device /dev/kvm"));
}

static void a_machine_that_is_not_made_gives_the_same_advice(void **state)
{
    struct fixture *f = *state;
    struct vm *vm = NULL;
    struct log_capture log;
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(log_capture_begin(&log), 0);

    int err = vm_create(f->path, 1, 4096, &vm);

    const char *said = log_capture_read(&log);
    log_capture_end(&log);
    assert_int_equal(err, -ENOENT);
    assert_non_null(strstr(said, advice(f, -ENOENT)));
}

int main(void)
{
#define ADVICE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        ADVICE_TEST(a_group_that_may_use_it_is_to_be_joined),
        ADVICE_TEST(where_no_group_may_use_it_the_user_is_given_access),
        ADVICE_TEST(what_no_mode_of_the_file_explains_is_the_containers),
        ADVICE_TEST(a_machine_that_is_not_made_gives_the_same_advice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
