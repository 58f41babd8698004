// SPDX-License-Identifier: Apache-2.0
/* Rows of buffers read and written as if they were one. */
#include "virtio/virtqueue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

static void reads_across_buffers(void **state)
{
    char a[] = "abc", b[] = "d", c[] = "efgh", buf[6] = { 0 };
    const struct iovec iov[] = { { a, 3 }, { b, 1 }, { c, 4 } };
    (void)state;

    assert_int_equal(iov_read(iov, 3, 2, buf, 5), 5);
    assert_string_equal(buf, "cdefg");
}

static void reads_only_what_is_there(void **state)
{
    char a[] = "abc", buf[10] = { 0 };
    const struct iovec iov[] = { { a, 3 } };
    (void)state;

    assert_int_equal(iov_read(iov, 1, 1, buf, sizeof(buf)), 2);
    assert_string_equal(buf, "bc");
    assert_int_equal(iov_read(iov, 1, 3, buf, sizeof(buf)), 0);
    assert_int_equal(iov_read(iov, 1, SIZE_MAX, buf, sizeof(buf)), 0);
    assert_int_equal(iov_read(NULL, 0, 0, buf, sizeof(buf)), 0);
}

static void skips_empty_buffers(void **state)
{
    char a[] = "ab", buf[3] = { 0 };
    const struct iovec iov[] = { { NULL, 0 }, { a, 1 }, { NULL, 0 }, { a + 1, 1 } };
    (void)state;

    assert_int_equal(iov_read(iov, 4, 0, buf, 2), 2);
    assert_string_equal(buf, "ab");
}

static void writes_across_buffers_and_nowhere_else(void **state)
{
    char a[] = "....", b[] = "....";
    const struct iovec iov[] = { { a + 1, 2 }, { b + 1, 2 } };
    (void)state;

    assert_int_equal(iov_write(iov, 2, 1, "xyz", 2), 2);
    assert_string_equal(a, "..x.");
    assert_string_equal(b, ".y..");
    assert_int_equal(iov_write(iov, 2, 3, "pqr", 3), 1);
    assert_string_equal(b, ".yp.");
}

static void cuts_the_first_bytes_off(void **state)
{
    char a[] = "abc", b[] = "def";
    struct iovec row[] = { { a, 3 }, { b, 3 } }, *iov = row;
    (void)state;

    assert_int_equal(iov_skip(&iov, 2, 4), 1);
    assert_ptr_equal(iov->iov_base, b + 1);
    assert_int_equal(iov->iov_len, 2);
}

static void cuts_at_the_end_of_a_buffer(void **state)
{
    char a[] = "abc", b[] = "def";
    struct iovec row[] = { { a, 3 }, { NULL, 0 }, { b, 3 } }, *iov = row;
    (void)state;

    assert_int_equal(iov_skip(&iov, 3, 3), 1);
    assert_ptr_equal(iov->iov_base, b);
    assert_int_equal(iov_skip(&iov, 1, 3), 0);
    assert_int_equal(iov_skip(&iov, 0, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_across_buffers),
        cmocka_unit_test(reads_only_what_is_there),
        cmocka_unit_test(skips_empty_buffers),
        cmocka_unit_test(writes_across_buffers_and_nowhere_else),
        cmocka_unit_test(cuts_the_first_bytes_off),
        cmocka_unit_test(cuts_at_the_end_of_a_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
