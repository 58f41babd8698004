// SPDX-License-Identifier: Apache-2.0
/* The plan for a folder of modules: small ones made here, with all that may be wrong about them,
 * and those of the kernels that `hutch kernel pull` or a test has cached, if there are any. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lzma.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "boot/modules.h"
#include "host/fd.h"
#include "scratch.h"
#include "skip.h"

static char folder[] = "/tmp/hutch-modules.XXXXXX";

static void write_file(const char *name, const void *data, size_t len)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(fd_write_full(fd, data, len), 0);
}

static void write_text(const char *name, const char *text)
{
    write_file(name, text, strlen(text));
}

static int set_up(void **state)
{
    (void)state;

    (void)snprintf(folder, sizeof(folder), "/tmp/hutch-modules.XXXXXX");
    assert_non_null(scratch_make(folder));
    write_text("modules.dep",
               "kernel/drivers/block/virtio_blk.ko: kernel/virtio.ko kernel/virtio_ring.ko\n"
               "kernel/virtio.ko: kernel/virtio_ring.ko\n"
               "kernel/virtio_ring.ko:\n"
               "kernel/char/virtio-rng.ko.xz: kernel/virtio.ko\n"
               "kernel/ext4.ko.zst: kernel/crc16.ko.zst\n"
               "kernel/crc16.ko.zst:\n"
               "kernel/crc32c-intel.ko:\n"
               "kernel/crc32c_generic.ko:\n"
               "kernel/lonely.ko: kernel/gone.ko\n"
               "kernel/left.ko: kernel/right.ko\n"
               "kernel/right.ko: kernel/left.ko\n"
               "kernel/soft.ko:\n"
               "../outside.ko:\n"
               "/etc/absolute.ko:\n"
               "kernel/../../outside2.ko:\n"
               "no colon\n");
    write_text("modules.builtin", "kernel/drivers/virtio_pci.ko\nkernel/drivers/virtio-mmio.ko\n");
    write_text("modules.alias", "# made by depmod\n"
                                "alias fs-ext4 ext4\n"
                                "alias crypto-crc32c crc32c_intel\n"
                                "alias crypto-crc32c crc32c_generic\n"
                                "alias fs-gone gone\n"
                                "alias virtio:d* virtio_blk\n");
    write_text("modules.softdep", "# made by depmod\n"
                                  "softdep ext4 pre: crypto-crc32c nobody post: virtio_ring\n"
                                  "softdep soft pre: soft\n");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_remove(folder);
    return 0;
}

static struct modules *open_modules(void)
{
    struct modules *modules = NULL;

    assert_int_equal(modules_open(folder, &modules), 0);
    return modules;
}

/* The plan's names with blanks between. */
static const char *plan_text(const struct modules *modules)
{
    static char text[4096];
    const char *const *plan;
    size_t count = modules_plan(modules, &plan);

    text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        const char *slash = strrchr(plan[i], '/');
        size_t len = strlen(text);
        (void)snprintf(text + len, sizeof(text) - len, "%s%s", i ? " " : "",
                       slash ? slash + 1 : plan[i]);
    }
    return text;
}

static void what_a_module_needs_comes_first_and_once(void **state)
{
    struct modules *modules = open_modules();
    (void)state;

    assert_int_equal(modules_want(modules, "virtio_blk"), MODULE_PLANNED);
    assert_int_equal(modules_want(modules, "virtio_rng"), MODULE_PLANNED);
    assert_int_equal(modules_want(modules, "virtio_blk"), MODULE_PLANNED);

    assert_string_equal(plan_text(modules),
                        "virtio_ring.ko virtio.ko virtio_blk.ko virtio-rng.ko.xz");
    modules_close(modules);
}

static void dashes_and_underscores_are_one(void **state)
{
    struct modules *modules = open_modules();
    (void)state;

    assert_int_equal(modules_want(modules, "virtio-rng"), MODULE_PLANNED);
    assert_int_equal(modules_want(modules, "crc32c_intel"), MODULE_PLANNED);
    assert_int_equal(modules_want(modules, "virtio_mmio"), MODULE_BUILT_IN);
    modules_close(modules);
}

static void what_is_built_in_is_not_planned(void **state)
{
    struct modules *modules = open_modules();
    (void)state;

    assert_int_equal(modules_want(modules, "virtio_pci"), MODULE_BUILT_IN);

    assert_string_equal(plan_text(modules), "");
    modules_close(modules);
}

static void a_name_is_no_beginning_of_a_name(void **state)
{
    struct modules *modules = open_modules();
    (void)state;

    assert_int_equal(modules_want(modules, "virtio_b"), -ENOENT);
    assert_int_equal(modules_want(modules, "virtio_blk2"), -ENOENT);
    assert_int_equal(modules_want(modules, ""), -ENOENT);
    modules_close(modules);
}

static void an_alias_stands_for_all_its_modules_and_soft_needs_come_first(void **state)
{
    struct modules *modules = open_modules();
    (void)state;

    assert_int_equal(modules_want(modules, "fs-ext4"), MODULE_PLANNED);

    assert_string_equal(plan_text(modules),
                        "crc16.ko.zst crc32c-intel.ko crc32c_generic.ko ext4.ko.zst");
    modules_close(modules);
}

static void what_is_missing_is_told(void **state)
{
    struct modules *modules = open_modules();
    (void)state;

    assert_int_equal(modules_want(modules, "9p"), -ENOENT);
    assert_int_equal(modules_want(modules, "fs-gone"), -ENOENT);
    assert_int_equal(modules_want(modules, "lonely"), -ENOENT);
    assert_int_equal(modules_want(modules, "lonely"), -ENOENT);

    assert_string_equal(plan_text(modules), "");
    modules_close(modules);
}

static void circles_are_told_and_soft_ones_broken(void **state)
{
    struct modules *modules = open_modules();
    (void)state;

    assert_int_equal(modules_want(modules, "left"), -ELOOP);
    assert_int_equal(modules_want(modules, "soft"), MODULE_PLANNED);

    assert_string_equal(plan_text(modules), "soft.ko");
    modules_close(modules);
}

static void no_path_leads_out_of_the_folder(void **state)
{
    struct modules *modules = open_modules();
    (void)state;

    assert_int_equal(modules_want(modules, "outside"), -ENOENT);
    assert_int_equal(modules_want(modules, "outside2"), -ENOENT);
    assert_int_equal(modules_want(modules, "absolute"), -ENOENT);
    modules_close(modules);
}

static void a_chain_without_an_end_is_given_up(void **state)
{
    char path[PATH_MAX];
    struct modules *modules;
    (void)state;
    (void)snprintf(path, sizeof(path), "%s/modules.dep", folder);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    for (unsigned i = 0; i < 5000; i++)
        (void)fprintf(out, "m%u.ko: m%u.ko\n", i, i + 1);
    assert_int_equal(fclose(out), 0);
    modules = open_modules();

    assert_int_equal(modules_want(modules, "m0"), -ELOOP);

    modules_close(modules);
}

static void a_folder_without_an_index_is_told(void **state)
{
    struct modules *modules;
    char path[PATH_MAX];
    (void)state;
    (void)snprintf(path, sizeof(path), "%s/modules.dep", folder);
    assert_int_equal(unlink(path), 0);

    assert_int_equal(modules_open(folder, &modules), -ENOENT);
    assert_int_equal(modules_open("/nowhere", &modules), -ENOENT);
}

static void packed_and_plain_files_are_read(void **state)
{
    static const char text[] = "\177ELF, more or less";
    uint8_t packed[1000];
    size_t packed_len = 0, len;
    void *data;
    (void)state;
    assert_int_equal(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, NULL, (const uint8_t *)text,
                                             sizeof(text), packed, &packed_len, sizeof(packed)),
                     LZMA_OK);
    write_file("plain.ko", text, sizeof(text));
    write_file("packed.ko.xz", packed, packed_len);
    write_file("cut.ko.xz", packed, packed_len - 1);
    write_file("empty.ko", "", 0);
    struct modules *modules = open_modules();

    assert_int_equal(modules_read(modules, "plain.ko", &data, &len), 0);
    assert_int_equal(len, sizeof(text));
    assert_memory_equal(data, text, len);
    modules_free(data);
    assert_int_equal(modules_read(modules, "packed.ko.xz", &data, &len), 0);
    assert_int_equal(len, sizeof(text));
    assert_memory_equal(data, text, len);
    modules_free(data);
    assert_int_equal(modules_read(modules, "empty.ko", &data, &len), 0);
    assert_int_equal(len, 0);
    modules_free(data);
    assert_int_equal(modules_read(modules, "cut.ko.xz", &data, &len), -ENODATA);
    assert_int_equal(modules_read(modules, "gone.ko", &data, &len), -ENOENT);
    modules_close(modules);
}

/* A module as a build leaves it: what it says of itself is between NULs. */
static void write_module(const char *name, const char *depends, const char *softdep)
{
    char text[200];
    int len = snprintf(text, sizeof(text), "\177ELF....%cdepends=%s%csoftdep=%s%cname=x", 0,
                       depends, 0, softdep, 0);

    write_file(name, text, (size_t)len);
}

static void the_modules_of_a_tree_tell_what_they_need(void **state)
{
    char path[PATH_MAX];
    void *data;
    size_t len;
    (void)state;
    (void)snprintf(path, sizeof(path), "%s/modules.dep", folder);
    assert_int_equal(unlink(path), 0);
    write_text(".config", "CONFIG_MODULES=y\n");
    write_text("modules.order", "ext4.o\njbd2.ko\ncrc16.o\ncrc32c-intel.o\ncrc32c_generic.o\n"
                                "crc32.o\nleft.o\nright.o\ngone.o\n../outside.o\n");
    write_module("ext4.ko", "jbd2,crc16", "pre: crypto-crc32c");
    write_module("jbd2.ko", "", "");
    write_module("crc16.ko", "", "");
    write_module("crc32.ko", "", "");
    write_module("crc32c-intel.ko", "", "");
    write_module("crc32c_generic.ko", "crc32", "");
    write_module("left.ko", "right", "");
    write_module("right.ko", "left", "");
    struct modules *modules = open_modules();

    assert_int_equal(modules_want(modules, "fs-ext4"), MODULE_PLANNED);
    assert_string_equal(plan_text(modules),
                        "jbd2.ko crc16.o crc32.o crc32c_generic.o crc32c-intel.o ext4.o");
    assert_int_equal(modules_want(modules, "virtio_pci"), MODULE_BUILT_IN);
    assert_int_equal(modules_want(modules, "left"), -ELOOP);
    assert_int_equal(modules_want(modules, "gone"), -ENOENT);
    assert_int_equal(modules_want(modules, "outside"), -ENOENT);
    assert_int_equal(modules_read(modules, "crc16.o", &data, &len), 0);
    modules_free(data);
    modules_close(modules);
}

static void options_have_names(void **state)
{
    (void)state;

    assert_string_equal(modules_option("virtiofs"), "VIRTIO_FS");
    assert_string_equal(modules_option("virtio-rng"), "HW_RANDOM_VIRTIO");
    assert_null(modules_option("virtio"));
}

/* --- real kernels --- */

static bool is_elf(const struct modules *modules, const char *path)
{
    void *data;
    size_t len;

    if (modules_read(modules, path, &data, &len))
        return false;
    bool is = len > 4 && !memcmp(data, "\177ELF", 4);
    modules_free(data);
    return is;
}

static void plan_real(const char *path)
{
    static const char *const names[] = {
        "virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net", "virtio_console",
        "virtio_rng", "virtiofs",    "overlay",    "fuse",       "vmw_vsock_virtio_transport",
        "ext4"
    };
    struct modules *modules;
    const char *const *plan;
    print_message("# %s\n", path);
    assert_int_equal(modules_open(path, &modules), 0);

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_true(modules_want(modules, names[i]) >= 0);
    assert_int_equal(modules_want(modules, "no_such_module"), -ENOENT);

    size_t count = modules_plan(modules, &plan);
    assert_true(count >= 10);
    for (size_t i = 0; i < count; i++)
        assert_true(is_elf(modules, plan[i]));
    modules_close(modules);
}

static void kernels_of_debian_have_what_machines_need(void **state)
{
    static const char *const patterns[] = { "kernels/*/lib/modules/*", "*/kernels/*/lib/modules/*",
                                            "*/kernels/*/usr/lib/modules/*" };
    const char *home = getenv("HOME");
    size_t tried = 0;
    (void)state;

    for (size_t i = 0; home && i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        char pattern[PATH_MAX];
        glob_t found;
        (void)snprintf(pattern, sizeof(pattern), "%s/.cache/hutch/%s", home, patterns[i]);
        if (glob(pattern, 0, NULL, &found))
            continue;
        for (size_t j = 0; j < found.gl_pathc; j++, tried++)
            plan_real(found.gl_pathv[j]);
        globfree(&found);
    }
    if (!tried)
        skip_because("no kernel of Debian is here");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_a_module_needs_comes_first_and_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(dashes_and_underscores_are_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_built_in_is_not_planned, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_name_is_no_beginning_of_a_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            an_alias_stands_for_all_its_modules_and_soft_needs_come_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_missing_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(circles_are_told_and_soft_ones_broken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_path_leads_out_of_the_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_chain_without_an_end_is_given_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_folder_without_an_index_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(packed_and_plain_files_are_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_modules_of_a_tree_tell_what_they_need, set_up,
                                        tear_down),
        cmocka_unit_test(options_have_names),
        cmocka_unit_test(kernels_of_debian_have_what_machines_need),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
