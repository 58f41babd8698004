// SPDX-License-Identifier: Apache-2.0
/* src/cpu on the host's own KVM: a few bytes of guest code each, no machine around them.
 * Skipped where there is no /dev/kvm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "mem/layout.h"

#define RAM_ADDRESS UINT64_C(0)
#define CODE_ADDRESS LAYOUT_KERNEL_BASE
#include "kvm_fixture.h"

/* Puts code where the CPU starts, in 32-bit mode. */
static void load(struct fixture *f, const uint8_t *code, size_t len)
{
    struct cpu_entry entry = { .mode = CPU_ENTRY_PROTECTED, .address = CODE_ADDRESS };

    require_kvm(f);
    assert_int_equal(guest_mem_write(f->mem, CODE_ADDRESS, code, len), 0);
    assert_int_equal(vcpu_set_entry(f->vcpu, f->mem, &entry), 0);
}

#define LOAD(f, ...)                                                                               \
    do {                                                                                           \
        static const uint8_t code_[] = { __VA_ARGS__ };                                            \
        load(f, code_, sizeof(code_));                                                             \
    } while (0)

static void a_port_write_is_an_exit(void **state)
{
    struct fixture *f = *state;

    LOAD(f, 0xb0, 0x41, 0xe6, 0xf4); /* mov $0x41,%al; out %al,$0xf4 */
    struct vcpu_exit exit = run(f);

    assert_int_equal(exit.reason, VCPU_EXIT_PORT);
    assert_int_equal(exit.address, 0xf4);
    assert_int_equal(exit.size, 1);
    assert_int_equal(exit.count, 1);
    assert_true(exit.is_write);
    assert_int_equal(*(uint8_t *)exit.data, 0x41);
}

static void an_answered_port_read_reaches_the_guest(void **state)
{
    struct fixture *f = *state;

    LOAD(f, 0x66, 0xe5, 0x70, 0x66, 0xe7, 0x71); /* in $0x70,%ax; out %ax,$0x71 */
    struct vcpu_exit exit = run(f);
    assert_false(exit.is_write);
    memcpy(exit.data, "\x34\x12", 2);

    exit = run(f);

    assert_int_equal(exit.address, 0x71);
    assert_int_equal(exit.size, 2);
    assert_memory_equal(exit.data, "\x34\x12", 2);
}

static void a_string_write_comes_whole(void **state)
{
    struct fixture *f = *state;
    char seen[16] = "";
    size_t len = 0;

    /* mov $0x1000,%esi; mov $5,%ecx; mov $0x3f8,%edx; rep outsb; out %al,$0xf4 */
    LOAD(f, 0xbe, 0x00, 0x10, 0x00, 0x00, 0xb9, 0x05, 0x00, 0x00, 0x00, 0xba, 0xf8, 0x03, 0x00,
         0x00, 0xf3, 0x6e, 0xe6, 0xf4);
    assert_int_equal(guest_mem_write(f->mem, 0x1000, "hello", 5), 0);

    struct vcpu_exit exit = run(f);
    for (; exit.address == 0x3f8 && len + exit.count < sizeof(seen); exit = run(f)) {
        memcpy(seen + len, exit.data, exit.count);
        len += exit.count;
    }

    assert_int_equal(exit.address, 0xf4);
    assert_string_equal(seen, "hello");
}

static void a_memory_read_and_write_are_exits(void **state)
{
    struct fixture *f = *state;

    /* mov 0xd0000000,%eax; mov %eax,0xd0000004 */
    LOAD(f, 0xa1, 0x00, 0x00, 0x00, 0xd0, 0xa3, 0x04, 0x00, 0x00, 0xd0);
    struct vcpu_exit exit = run(f);
    assert_int_equal(exit.reason, VCPU_EXIT_MEMORY);
    assert_int_equal(exit.address, 0xd0000000);
    assert_int_equal(exit.size, 4);
    assert_false(exit.is_write);
    memcpy(exit.data, "abcd", 4);

    exit = run(f);

    assert_int_equal(exit.address, 0xd0000004);
    assert_true(exit.is_write);
    assert_memory_equal(exit.data, "abcd", 4);
}

static void an_access_across_pages_comes_in_pieces_a_bus_knows(void **state)
{
    struct fixture *f = *state;
    uint8_t seen[4];
    size_t len = 0;

    /* movl $0x44332211,0xd0000ffd; out %al,$0xf4 */
    LOAD(f, 0xc7, 0x05, 0xfd, 0x0f, 0x00, 0xd0, 0x11, 0x22, 0x33, 0x44, 0xe6, 0xf4);
    struct vcpu_exit exit = run(f);
    for (; exit.reason == VCPU_EXIT_MEMORY && len < sizeof(seen); exit = run(f)) {
        assert_true(exit.size == 1 || exit.size == 2);
        assert_int_equal(exit.address, 0xd0000ffd + len);
        memcpy(seen + len, exit.data, exit.size);
        len += exit.size;
    }

    assert_int_equal(exit.address, 0xf4);
    assert_memory_equal(seen, "\x11\x22\x33\x44", 4);
}

static void a_triple_fault_is_the_guest_going_down(void **state)
{
    struct fixture *f = *state;

    LOAD(f, 0x0f, 0x0b); /* ud2, without an IDT */
    struct vcpu_exit exit = run(f);

    assert_int_equal(exit.reason, VCPU_EXIT_GUEST_DOWN);
}

static void load_endless_loop(struct fixture *f)
{
    LOAD(f, 0xeb, 0xfe); /* jmp . */
}

static void a_doorbell_rings_instead_of_an_exit(void **state)
{
    struct fixture *f = *state;
    uint64_t count = 0;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    /* mov %ax,0xd0000000; out %al,$0xf4 */
    LOAD(f, 0x66, 0xa3, 0x00, 0x00, 0x00, 0xd0, 0xe6, 0xf4);
    assert_int_equal(vm_doorbell_add(f->vm, 0xd0000000, 2, NULL, fd), 0);
    struct vcpu_exit exit = run(f);

    assert_int_equal(exit.reason, VCPU_EXIT_PORT);
    assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
    assert_int_equal(count, 1);
    assert_int_equal(vm_doorbell_remove(f->vm, 0xd0000000, 2, NULL, fd), 0);
    assert_int_equal(vm_doorbell_remove(f->vm, 0xd0000000, 2, NULL, fd), -ENOENT);
    close(fd);
}

static void a_doorbell_may_ask_for_a_value(void **state)
{
    struct fixture *f = *state;
    const uint32_t values[] = { 0, 1 };
    uint64_t count = 0;
    int fds[2];

    /* mov $1,%eax; mov %eax,0xd0000000; out %al,$0xf4 */
    LOAD(f, 0xb8, 0x01, 0x00, 0x00, 0x00, 0xa3, 0x00, 0x00, 0x00, 0xd0, 0xe6, 0xf4);
    for (int i = 0; i < 2; i++) {
        fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        assert_int_equal(vm_doorbell_add(f->vm, 0xd0000000, 4, &values[i], fds[i]), 0);
    }
    struct vcpu_exit exit = run(f);

    assert_int_equal(exit.reason, VCPU_EXIT_PORT);
    assert_int_equal(read(fds[0], &count, sizeof(count)), -1);
    assert_int_equal(read(fds[1], &count, sizeof(count)), sizeof(count));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(vm_doorbell_remove(f->vm, 0xd0000000, 4, &values[i], fds[i]), 0);
        close(fds[i]);
    }
}

static void a_doorbell_may_take_any_size(void **state)
{
    struct fixture *f = *state;
    uint64_t count = 0;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    /* mov %ax,0xd0000000; mov %eax,0xd0000000; out %al,$0xf4 */
    LOAD(f, 0x66, 0xa3, 0x00, 0x00, 0x00, 0xd0, 0xa3, 0x00, 0x00, 0x00, 0xd0, 0xe6, 0xf4);
    assert_int_equal(vm_doorbell_add(f->vm, 0xd0000000, 0, NULL, fd), 0);
    struct vcpu_exit exit = run(f);

    assert_int_equal(exit.reason, VCPU_EXIT_PORT);
    assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
    assert_int_equal(count, 2);
    assert_int_equal(vm_doorbell_remove(f->vm, 0xd0000000, 0, NULL, fd), 0);
    close(fd);
}

static void messages_that_mean_nothing_are_survived(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint64_t address;
        uint32_t data;
    } garbage[] = { { 0, 0 },
                    { UINT64_MAX, UINT32_MAX },
                    { 0xdeadbeefcafe0000, 0 },
                    { 0xfee00000, 0xffffffff },
                    { 0xffffffff00000000, 0x4041 } };

    require_kvm(f);
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++)
        (void)vm_msi_send(f->vm, 0, garbage[i].address, garbage[i].data);
    assert_int_equal(vm_msi_send(f->vm, 0, 0xfee00000, 0x41), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_port_write_is_an_exit),
        TEST(an_answered_port_read_reaches_the_guest),
        TEST(a_string_write_comes_whole),
        TEST(a_memory_read_and_write_are_exits),
        TEST(an_access_across_pages_comes_in_pieces_a_bus_knows),
        TEST(a_triple_fault_is_the_guest_going_down),
        TEST(a_doorbell_rings_instead_of_an_exit),
        TEST(a_doorbell_may_ask_for_a_value),
        TEST(a_doorbell_may_take_any_size),
        TEST(messages_that_mean_nothing_are_survived),
        TESTS_OF_ANY_KVM,
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
