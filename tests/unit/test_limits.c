// SPDX-License-Identifier: Apache-2.0
/* What the control groups and the host allow, read from a made-up /proc and /sys. */
#include "host/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scratch.h"

static int make_root(void **state)
{
    static char root[64];

    strcpy(root, "/tmp/hutch-limits-XXXXXX");
    *state = scratch_make(root);
    return *state ? 0 : -1;
}

static int remove_root(void **state)
{
    scratch_remove(*state);
    return 0;
}

/* Puts a file at @path below @root, with the folders above it. */
static void put(const char *root, const char *path, const char *text)
{
    char name[200];

    (void)snprintf(name, sizeof(name), "%s%s", root, path);
    for (char *at = strchr(name + strlen(root) + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = '\0';
        (void)mkdir(name, 0755);
        *at = '/';
    }
    FILE *file = fopen(name, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void without_groups_the_host_counts(void **state)
{
    put(*state, "/proc/meminfo", "MemTotal:       1048576 kB\nMemFree:  1 kB\n");

    assert_int_equal(limits_cgroup_memory(*state), UINT64_MAX);
    assert_int_equal(limits_memory(*state), UINT64_C(1) << 30);
}

static void the_tightest_group_above_us_counts(void **state)
{
    put(*state, "/proc/meminfo", "MemTotal:       1048576 kB\n");
    put(*state, "/proc/self/cgroup", "0::/a/b\n");
    put(*state, "/sys/fs/cgroup/a/memory.max", "268435456\n");
    put(*state, "/sys/fs/cgroup/a/b/memory.max", "max\n");

    assert_int_equal(limits_cgroup_memory(*state), UINT64_C(256) << 20);
    assert_int_equal(limits_memory(*state), UINT64_C(256) << 20);
}

static void a_containers_own_root_counts(void **state)
{
    put(*state, "/proc/self/cgroup", "0::/\n");
    put(*state, "/sys/fs/cgroup/memory.max", "134217728\n");

    assert_int_equal(limits_cgroup_memory(*state), UINT64_C(128) << 20);
}

static void groups_of_version_1_count(void **state)
{
    put(*state, "/proc/self/cgroup", "7:cpu,cpuacct:/x\n5:memory,hugetlb:/docker/1\n0::/\n");
    put(*state, "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "67108864\n");

    assert_int_equal(limits_cgroup_memory(*state), UINT64_C(64) << 20);
}

static void version_1_without_a_limit_has_none(void **state)
{
    put(*state, "/proc/self/cgroup", "5:memory:/\n");
    put(*state, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");

    assert_int_equal(limits_cgroup_memory(*state), UINT64_MAX);
}

static void nonsense_sets_no_limit(void **state)
{
    put(*state, "/proc/meminfo", "nothing of use\n");
    put(*state, "/proc/self/cgroup", "0\n::\n:\n\n5:memoryless:/a\n0::/../../..\n");
    put(*state, "/sys/fs/cgroup/memory.max", "lots\n");

    assert_int_equal(limits_cgroup_memory(*state), UINT64_MAX);
    assert_int_equal(limits_memory(*state), 0);
}

static void there_is_a_cpu(void **state)
{
    (void)state;

    assert_in_range(limits_cpus(), 1, 1 << 20);
}

#define on_root(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        on_root(without_groups_the_host_counts),
        on_root(the_tightest_group_above_us_counts),
        on_root(a_containers_own_root_counts),
        on_root(groups_of_version_1_count),
        on_root(version_1_without_a_limit_has_none),
        on_root(nonsense_sets_no_limit),
        cmocka_unit_test(there_is_a_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
