// SPDX-License-Identifier: Apache-2.0
/* What a COMMAND finds in the guest: paths, users, variables, what is hidden, and the plan that
 * comes of it. */
#include "machine/root.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../src/machine/machine_private.h"
#include "../../src/machine/root_private.h"
#include "../../src/virtio/fs_tree.h"
#include "log_capture.h"
#include "scratch.h"
#include "skip.h"

struct fixture {
    struct config config;
    char folder[32], start[PATH_MAX];
    char *command[2];
};

/* The working folder is an empty one, which is deep enough to have a home above it. */
static int set_up(void **state)
{
    static struct fixture fixture;
    static char name[] = "true";
    struct fixture *f = &fixture;

    *f = (struct fixture){ .folder = "/tmp/hutch-root.XXXXXX", .command = { name, NULL } };
    *state = f;
    if (!getcwd(f->start, sizeof(f->start)) || !scratch_make(f->folder) || chdir(f->folder) ||
        mkdir("home", 0755) || mkdir("home/work", 0755) || config_init(&f->config) ||
        setenv("HOME", "/nobody/lives/here", 1))
        return -1;
    f->config.command = f->command;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    config_fini(&f->config);
    int err = chdir(f->start);
    scratch_remove(f->folder);
    return err;
}

static void plan(struct fixture *f)
{
    assert_int_equal(root_choose(&f->config, true), 0);
    assert_int_equal(config_check(&f->config), 0);
    assert_int_equal(root_plan(&f->config), 0);
}

/* What is mounted at @path below the working folder at the start, or NULL. */
static const struct volume_config *volume_at(const struct fixture *f, const char *path)
{
    char target[PATH_MAX];

    (void)snprintf(target, sizeof(target), "%s/%s", f->folder, path);
    for (size_t i = 0; i < f->config.volume_count; i++) {
        if (f->config.volumes[i].target && !strcmp(f->config.volumes[i].target, target))
            return &f->config.volumes[i];
    }
    return NULL;
}

static bool is_hidden(const struct fixture *f, const char *path)
{
    for (char **hidden = f->config.hidden; hidden && *hidden; hidden++) {
        if (!strcmp(*hidden, path))
            return true;
    }
    return false;
}

static void use_home(const struct fixture *f, const char *name)
{
    char home[PATH_MAX];

    (void)snprintf(home, sizeof(home), "%s/%s", f->folder, name);
    assert_int_equal(setenv("HOME", home, 1), 0);
}

/* --- paths --- */

static void a_path_loses_dots_and_slashes(void **state)
{
    static const char *const cases[][3] = {
        { "/a", "b", "/a/b" },
        { "/a", "/b", "/b" },
        { "/", "b//c/", "/b/c" },
        { "/a/b", "../c/./d", "/a/c/d" },
        { "/a", "../../..", "/" },
        { "/a", "", "/a" },
        { "/a", ".", "/a" },
        { "/", "/", "/" },
        { "/a", "..b/...", "/a/..b/..." },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *path = path_normalise(cases[i][0], cases[i][1]);

        assert_string_equal(path, cases[i][2]);
        free(path);
    }
}

static void beneath_counts_whole_names(void **state)
{
    (void)state;
    assert_true(path_is_beneath("/a/b", "/a"));
    assert_true(path_is_beneath("/a", "/a"));
    assert_true(path_is_beneath("/a", "/"));
    assert_false(path_is_beneath("/ab", "/a"));
    assert_false(path_is_beneath("/", "/a"));
}

/* --- the environment --- */

static bool has_variable(const struct environment *environment, const char *variable)
{
    for (size_t i = 0; i < environment->count; i++) {
        if (!strcmp(environment->variables[i], variable))
            return true;
    }
    return false;
}

static void secrets_and_what_misleads_do_not_pass(void **state)
{
    char *variables[] = {
        (char[]){ "LANG=C" },
        (char[]){ "GITHUB_TOKEN=x" },
        (char[]){ "aws_secret_access_key=x" },
        (char[]){ "DISPLAY=:0" },
        (char[]){ "SSH_AUTH_SOCK=x" },
        (char[]){ "HUTCH_CPUS=1" },
        (char[]){ "TOKENS_LEFT=1" },
        (char[]){ "no equals sign" },
        (char[]){ "=x" },
        (char[]){ "DISPLAYS=2" },
        (char[]){ "EMPTY=" },
        NULL,
    };
    struct environment environment = { 0 };
    (void)state;

    environment_take(&environment, variables);

    assert_int_equal(environment.count, 4);
    assert_true(has_variable(&environment, "LANG=C"));
    assert_true(has_variable(&environment, "TOKENS_LEFT=1"));
    assert_true(has_variable(&environment, "DISPLAYS=2"));
    assert_true(has_variable(&environment, "EMPTY="));
    environment_fini(&environment);
}

static void a_variable_is_replaced_and_not_doubled(void **state)
{
    struct environment environment = { 0 };
    (void)state;

    environment_set(&environment, "A", "1");
    environment_set(&environment, "AB", "2");
    environment_put(&environment, "A=3=4");

    assert_int_equal(environment.count, 2);
    assert_string_equal(environment.variables[0], "A=3=4");
    assert_string_equal(environment.variables[1], "AB=2");
    assert_null(environment.variables[2]);
    environment_fini(&environment);
}

/* --- which machine --- */

static enum root chosen(struct fixture *f, bool is_linux)
{
    assert_int_equal(root_choose(&f->config, is_linux), 0);
    return f->config.root;
}

static void a_kernel_and_a_disk_are_a_machine_of_the_users_own(void **state)
{
    struct fixture *f = *state;

    f->config.command = NULL;
    f->config.kernel = strdup("/boot/vmlinuz");
    f->config.disk_count = 1;

    assert_false(root_is_open(&f->config));
    assert_int_equal(chosen(f, true), ROOT_UNSET);
    assert_null(f->config.command);
}

static void a_disk_with_the_root_is_a_machine_of_the_users_own(void **state)
{
    struct fixture *f = *state;

    f->config.command = NULL;
    f->config.append = strdup("quiet root=/dev/vda");
    f->config.disk_count = 1;

    assert_int_equal(chosen(f, true), ROOT_UNSET);
}

static void a_disk_alone_comes_along_into_the_hosts_files(void **state)
{
    struct fixture *f = *state;

    f->config.command = NULL;
    f->config.disk_count = 1;

    assert_int_equal(chosen(f, true), ROOT_HOST);
}

static void linux_alone_boots_into_the_hosts_files(void **state)
{
    struct fixture *f = *state;

    f->config.command = NULL;
    f->config.kernel = strdup("/boot/vmlinuz");

    assert_true(root_is_open(&f->config));
    assert_int_equal(chosen(f, true), ROOT_HOST);
    assert_non_null(f->config.command);
}

static void another_program_alone_has_no_use_for_files(void **state)
{
    struct fixture *f = *state;

    f->config.command = NULL;
    f->config.kernel = strdup("/tmp/echo.elf");

    assert_int_equal(chosen(f, false), ROOT_UNSET);
    assert_null(f->config.command);
}

static void nothing_named_is_a_shell_among_the_hosts_files(void **state)
{
    struct fixture *f = *state;

    f->config.command = NULL;
    assert_int_equal(setenv("SHELL", "/bin/sh", 1), 0);
    assert_int_equal(root_choose(&f->config, true), 0);

    assert_int_equal(f->config.root, ROOT_HOST);
    assert_string_equal(f->config.command[0], "/bin/sh");
    assert_null(f->config.command[1]);
}

/* --- folders --- */

static void the_working_folder_can_be_written(void **state)
{
    struct fixture *f = *state;

    use_home(f, "home");
    assert_int_equal(chdir("home/work"), 0);
    plan(f);

    assert_non_null(volume_at(f, "home/work"));
    assert_false(volume_at(f, "home/work")->read_only);
    assert_null(volume_at(f, "home"));
    assert_true(f->config.volumes[0].is_root && f->config.volumes[0].read_only);
    assert_string_equal(f->config.run_as.home, getenv("HOME"));
}

static void the_home_is_not_shared_by_being_there(void **state)
{
    struct fixture *f = *state;
    struct log_capture log;

    use_home(f, "home");
    assert_int_equal(chdir("home"), 0);
    assert_int_equal(log_capture_begin(&log), 0);
    plan(f);

    assert_non_null(strstr(log_capture_read(&log), "--home=ro shows it"));
    log_capture_end(&log);
    assert_int_equal(f->config.volume_count, 1);
    assert_true(is_hidden(f, getenv("HOME")));
}

static void what_has_the_home_in_it_is_not_shared_either(void **state)
{
    struct fixture *f = *state;
    struct log_capture log;

    use_home(f, "home/work");
    assert_int_equal(chdir("home"), 0);
    assert_int_equal(log_capture_begin(&log), 0);
    plan(f);
    log_capture_end(&log);

    assert_int_equal(f->config.volume_count, 1);
}

static void a_home_that_is_a_link_counts(void **state)
{
    struct fixture *f = *state;
    struct log_capture log;

    assert_int_equal(symlink("home", "link"), 0);
    use_home(f, "link");
    assert_int_equal(chdir("home"), 0);
    assert_int_equal(log_capture_begin(&log), 0);
    plan(f);
    log_capture_end(&log);

    assert_int_equal(f->config.volume_count, 1);
}

static void a_home_that_may_be_written_covers_what_is_in_it(void **state)
{
    struct fixture *f = *state;

    use_home(f, "home");
    f->config.home = HOME_RW;
    assert_int_equal(chdir("home/work"), 0);
    plan(f);

    assert_int_equal(f->config.volume_count, 2);
    assert_false(volume_at(f, "home")->read_only);
    assert_false(is_hidden(f, getenv("HOME")));
}

static void what_is_named_is_hidden_without_a_command_as_well(void **state)
{
    struct fixture *f = *state;
    struct fs_share *share;
    char path[PATH_MAX];
    f->config.command = NULL;
    f->config.root = ROOT_NONE;
    f->config.volumes[0] = (struct volume_config){ .path = strdup("home"), .tag = strdup("tag") };
    f->config.volume_count = 1;
    assert_int_equal(config_add_text(&f->config.hidden, "home/work"), 0);

    plan(f);
    assert_int_equal(session_open_volume(&f->config, &f->config.volumes[0], &share), 0);

    (void)snprintf(path, sizeof(path), "%s/home/work", f->folder);
    assert_true(is_hidden(f, path));
    assert_int_equal(share->hidden.file_count, 1);
    fs_share_destroy(share);
}

static void credentials_are_hidden_even_where_the_home_is_not(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];

    use_home(f, "home");
    f->config.home = HOME_RO;
    plan(f);

    (void)snprintf(path, sizeof(path), "%s/.ssh", getenv("HOME"));
    assert_true(is_hidden(f, path));
    assert_true(is_hidden(f, "/root/.ssh"));
    assert_true(is_hidden(f, "/etc/shadow"));
    assert_false(is_hidden(f, getenv("HOME")));
}

static void a_volume_of_the_users_stands_for_the_working_folder(void **state)
{
    struct fixture *f = *state;
    struct volume_config *volume = &f->config.volumes[f->config.volume_count++];

    *volume = (struct volume_config){ .path = strdup(".."), .read_only = true };
    assert_int_equal(chdir("home/work"), 0);
    plan(f);

    assert_int_equal(f->config.volume_count, 2);
    assert_true(volume_at(f, "home")->read_only);
}

static void every_folder_has_a_tag_of_its_own(void **state)
{
    struct fixture *f = *state;

    plan(f);

    assert_int_equal(f->config.volume_count, 2);
    assert_string_not_equal(f->config.volumes[0].tag, f->config.volumes[1].tag);
}

static void modules_are_where_modprobe_looks(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(mkdir("1.2.3-none", 0755) || mkdir("1.2.3-none/modules.dep", 0755), 0);
    assert_true(asprintf(&f->config.modules_folder, "%s/1.2.3-none", f->folder) > 0);
    plan(f);

    assert_int_equal(f->config.volume_count, 3);
    assert_string_equal(f->config.volumes[1].path, f->config.modules_folder);
    assert_string_equal(f->config.volumes[1].target, "/lib/modules/1.2.3-none");
    assert_true(f->config.volumes[1].read_only);
}

static void a_tree_without_an_index_has_no_modules_to_show(void **state)
{
    struct fixture *f = *state;

    assert_true(asprintf(&f->config.modules_folder, "%s/home", f->folder) > 0);
    plan(f);

    assert_int_equal(f->config.volume_count, 2);
}

/* --- users --- */

static void the_caller_is_who_runs_it(void **state)
{
    struct fixture *f = *state;

    plan(f);

    assert_true(f->config.run_as.is_known);
    assert_int_equal(f->config.run_as.uid, getuid());
    assert_int_equal(f->config.run_as.gid, getgid());
}

static void a_number_needs_no_name(void **state)
{
    struct fixture *f = *state;

    f->config.user = strdup("123456");
    plan(f);

    assert_int_equal(f->config.run_as.uid, 123456);
    assert_int_equal(f->config.run_as.gid, 123456);
    assert_int_equal(f->config.run_as.group_count, 0);
    assert_null(f->config.run_as.home);
}

static void a_user_of_the_host_has_its_groups_and_home(void **state)
{
    struct fixture *f = *state;
    const struct passwd *root = getpwuid(0);

    if (!root)
        skip_because("no list knows root");
    f->config.user = strdup(root->pw_name);
    plan(f);

    assert_int_equal(f->config.run_as.uid, 0);
    assert_string_equal(f->config.run_as.home, root->pw_dir);
    assert_true(f->config.run_as.group_count >= 1);
}

static void a_user_of_another_root_is_for_the_guest_to_find(void **state)
{
    struct fixture *f = *state;

    f->config.root = ROOT_PATH;
    f->config.root_path = strdup("home");
    f->config.user = strdup("whoever");
    plan(f);

    assert_false(f->config.run_as.is_known);
    assert_string_equal(f->config.run_as.name, "whoever");
}

#define ROOT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_loses_dots_and_slashes),
        cmocka_unit_test(beneath_counts_whole_names),
        cmocka_unit_test(secrets_and_what_misleads_do_not_pass),
        cmocka_unit_test(a_variable_is_replaced_and_not_doubled),
        ROOT_TEST(a_kernel_and_a_disk_are_a_machine_of_the_users_own),
        ROOT_TEST(a_disk_with_the_root_is_a_machine_of_the_users_own),
        ROOT_TEST(a_disk_alone_comes_along_into_the_hosts_files),
        ROOT_TEST(linux_alone_boots_into_the_hosts_files),
        ROOT_TEST(another_program_alone_has_no_use_for_files),
        ROOT_TEST(nothing_named_is_a_shell_among_the_hosts_files),
        ROOT_TEST(the_working_folder_can_be_written),
        ROOT_TEST(the_home_is_not_shared_by_being_there),
        ROOT_TEST(what_has_the_home_in_it_is_not_shared_either),
        ROOT_TEST(a_home_that_is_a_link_counts),
        ROOT_TEST(a_home_that_may_be_written_covers_what_is_in_it),
        ROOT_TEST(what_is_named_is_hidden_without_a_command_as_well),
        ROOT_TEST(credentials_are_hidden_even_where_the_home_is_not),
        ROOT_TEST(a_volume_of_the_users_stands_for_the_working_folder),
        ROOT_TEST(every_folder_has_a_tag_of_its_own),
        ROOT_TEST(modules_are_where_modprobe_looks),
        ROOT_TEST(a_tree_without_an_index_has_no_modules_to_show),
        ROOT_TEST(the_caller_is_who_runs_it),
        ROOT_TEST(a_number_needs_no_name),
        ROOT_TEST(a_user_of_the_host_has_its_groups_and_home),
        ROOT_TEST(a_user_of_another_root_is_for_the_guest_to_find),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
