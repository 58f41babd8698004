// SPDX-License-Identifier: Apache-2.0
/* Guest RAM, without KVM. */
#include "mem/guest_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "mem/layout.h"
#include "mem_fixture.h"

static void refuses_a_range_that_wraps_around(void **state)
{
    assert_int_equal(guest_mem_add(*state, UINT64_MAX - 0xffff, 0x20000), -EINVAL);
    assert_int_equal(guest_mem_add(*state, MIB, MIB), 0);
    assert_null(guest_mem_at(*state, MIB, UINT64_MAX));
    assert_null(guest_mem_at(*state, UINT64_MAX, 2));
}

static void refuses_parts_of_pages(void **state)
{
    assert_int_equal(guest_mem_add(*state, 0, 100), -EINVAL);
    assert_int_equal(guest_mem_add(*state, 1, MIB), -EINVAL);
    assert_int_equal(guest_mem_add(*state, 0, 0), -EINVAL);
}

static void refuses_regions_that_overlap(void **state)
{
    assert_int_equal(guest_mem_add(*state, MIB, 2 * MIB), 0);
    assert_int_equal(guest_mem_add(*state, 0, 2 * MIB), -EEXIST);
    assert_int_equal(guest_mem_add(*state, 2 * MIB, 4 * MIB), -EEXIST);
    assert_int_equal(guest_mem_add(*state, 3 * MIB, MIB), 0);
    assert_int_equal(guest_mem_add(*state, 0, MIB), 0);
}

static void refuses_one_region_too_many(void **state)
{
    int err = 0;

    for (gpa_t gpa = 0; !err && gpa < 100 * MIB; gpa += 2 * MIB)
        err = guest_mem_add(*state, gpa, MIB);
    assert_int_equal(err, -ENOSPC);
}

static void keeps_regions_in_ascending_order(void **state)
{
    assert_int_equal(guest_mem_end(*state), 0);
    assert_int_equal(guest_mem_add(*state, 4 * MIB, MIB), 0);
    assert_int_equal(guest_mem_add(*state, 0, MIB), 0);
    assert_int_equal(guest_mem_add(*state, 2 * MIB, MIB), 0);

    assert_int_equal(guest_mem_region_count(*state), 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(guest_mem_region(*state, i)->gpa, i * 2 * MIB);
    assert_int_equal(guest_mem_end(*state), 5 * MIB);
}

static void finds_only_ranges_inside_one_region(void **state)
{
    assert_int_equal(guest_mem_add(*state, MIB, MIB), 0);
    assert_int_equal(guest_mem_add(*state, 2 * MIB, MIB), 0);

    assert_non_null(guest_mem_at(*state, MIB, MIB));
    assert_non_null(guest_mem_at(*state, 2 * MIB - 1, 1));
    assert_null(guest_mem_at(*state, 2 * MIB - 1, 2));
    assert_null(guest_mem_at(*state, MIB - 1, 1));
    assert_null(guest_mem_at(*state, 3 * MIB, 1));
    assert_null(guest_mem_at(*state, MIB, 0));
}

static void copies_in_and_out(void **state)
{
    char buf[8] = "";
    assert_int_equal(guest_mem_add(*state, 0, MIB), 0);

    assert_int_equal(guest_mem_write(*state, MIB - 6, "hello", 6), 0);
    assert_int_equal(guest_mem_read(*state, MIB - 6, buf, 6), 0);
    assert_string_equal(buf, "hello");

    assert_int_equal(guest_mem_write(*state, MIB - 5, "hello", 6), -EFAULT);
    assert_int_equal(guest_mem_read(*state, MIB - 5, buf, 6), -EFAULT);
    assert_int_equal(guest_mem_read(*state, 77 * MIB, buf, 0), 0);
}

static void shared_ram_is_the_memfd_at_the_regions_offset(void **state)
{
    struct guest_mem *mem;
    (void)state;
    assert_int_equal(guest_mem_create(GUEST_MEM_SHARED, &mem), 0);
    assert_int_equal(guest_mem_add(mem, 0, MIB), 0);
    assert_int_equal(guest_mem_add(mem, 4 * GIB, MIB), 0);

    const struct guest_mem_region *high = guest_mem_region(mem, 1);
    assert_int_equal(guest_mem_write(mem, 4 * GIB, "shared", 7), 0);
    char *view = mmap(NULL, high->size, PROT_READ, MAP_SHARED, high->fd, (off_t)high->fd_offset);
    assert_ptr_not_equal(view, MAP_FAILED);
    assert_string_equal(view, "shared");

    (void)munmap(view, high->size);
    guest_mem_destroy(mem);
}

static void ram_starts_at_a_huge_page_of_the_host(void **state)
{
    for (gpa_t gpa = 0; gpa < 4 * GIB; gpa += GIB) {
        assert_int_equal(guest_mem_add(*state, gpa, 3 * MIB), 0);
        assert_int_equal((uintptr_t)guest_mem_at(*state, gpa, 1) % (2 * MIB), 0);
    }
}

static void private_ram_has_no_descriptor(void **state)
{
    assert_int_equal(guest_mem_add(*state, 0, MIB), 0);
    assert_int_equal(guest_mem_region(*state, 0)->fd, -1);
}

int main(void)
{
#define MEM_TEST(name) cmocka_unit_test_setup_teardown(name, make_mem, drop_mem)
    const struct CMUnitTest tests[] = {
        MEM_TEST(refuses_a_range_that_wraps_around),
        MEM_TEST(refuses_parts_of_pages),
        MEM_TEST(refuses_regions_that_overlap),
        MEM_TEST(refuses_one_region_too_many),
        MEM_TEST(keeps_regions_in_ascending_order),
        MEM_TEST(finds_only_ranges_inside_one_region),
        MEM_TEST(copies_in_and_out),
        cmocka_unit_test(shared_ram_is_the_memfd_at_the_regions_offset),
        MEM_TEST(ram_starts_at_a_huge_page_of_the_host),
        MEM_TEST(private_ram_has_no_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
