// SPDX-License-Identifier: Apache-2.0
/* One CPU with 2 MiB of RAM on the host's KVM, and what can be tested of it whatever its
 * instructions. Included after <cmocka.h>, with RAM_ADDRESS defined. */
#pragma once

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "../unit/skip.h"
#include "cpu/probe.h"
#include "cpu/vcpu.h"
#include "cpu/vm.h"
#include "mem/layout.h"

enum { RAM_SIZE = 2 * 1024 * 1024 };

struct fixture {
    struct vm *vm;
    struct vcpu *vcpu;
    struct guest_mem *mem;
};

static int set_up(void **state)
{
    static struct fixture fixture;
    struct cpu_model model = { .count = 1 };

    fixture = (struct fixture){ 0 };
    *state = &fixture;
    if (access("/dev/kvm", R_OK | W_OK) < 0)
        return 0;
    if (guest_mem_create(GUEST_MEM_PRIVATE, &fixture.mem) ||
        guest_mem_add(fixture.mem, RAM_ADDRESS, RAM_SIZE) ||
        vm_create(NULL, 1, RAM_ADDRESS + RAM_SIZE, &fixture.vm) ||
        vm_map_memory(fixture.vm, fixture.mem) ||
        vcpu_create(fixture.vm, 0, &model, &fixture.vcpu) || vcpu_complete(fixture.vcpu))
        return -1;
    vcpu_setup_kick_signal();
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    vcpu_destroy(f->vcpu);
    vm_destroy(f->vm);
    guest_mem_destroy(f->mem);
    return 0;
}

/* Skips the test where there is no KVM. */
static void require_kvm(const struct fixture *f)
{
    if (!f->vm)
        skip_because("no access to /dev/kvm");
}

static struct vcpu_exit run(struct fixture *f)
{
    struct vcpu_exit exit;

    assert_int_equal(vcpu_run(f->vcpu, &exit), 0);
    return exit;
}

/* Puts code into RAM that never ends, or skips the test; of each architecture. */
static void load_endless_loop(struct fixture *f);

static void a_kick_before_the_run_ends_it_at_once(void **state)
{
    struct fixture *f = *state;

    load_endless_loop(f);
    vcpu_kick(f->vcpu, pthread_self());

    assert_int_equal(run(f).reason, VCPU_EXIT_NONE);
}

static void *kick_later(void *ctx)
{
    pthread_t *target = ((void **)ctx)[1];

    usleep(20000);
    vcpu_kick(((void **)ctx)[0], *target);
    return NULL;
}

static void a_kick_ends_an_endless_loop(void **state)
{
    struct fixture *f = *state;
    pthread_t self = pthread_self(), kicker;
    void *ctx[] = { f->vcpu, &self };

    load_endless_loop(f);
    assert_int_equal(pthread_create(&kicker, NULL, kick_later, ctx), 0);
    struct vcpu_exit exit = run(f);
    pthread_join(kicker, NULL);

    assert_int_equal(exit.reason, VCPU_EXIT_NONE);
}

static void a_wire_can_be_set_and_set_again(void **state)
{
    struct fixture *f = *state;

    require_kvm(f);
    assert_int_equal(vm_set_irq(f->vm, LAYOUT_GSI_SERIAL, true), 0);
    assert_int_equal(vm_set_irq(f->vm, LAYOUT_GSI_SERIAL, true), 0);
    assert_int_equal(vm_set_irq(f->vm, LAYOUT_GSI_SERIAL, false), 0);
}

static void a_wire_that_is_not_there_is_refused(void **state)
{
    struct fixture *f = *state;

    require_kvm(f);
    assert_int_equal(vm_set_irq(f->vm, LAYOUT_GSI_COUNT, true), -EINVAL);
}

static void a_file_that_is_no_kvm_is_refused(void **state)
{
    struct vm *vm = NULL;

    (void)state;
    assert_int_equal(vm_create("/dev/null", 1, RAM_SIZE, &vm), -ENOTTY);
    assert_int_equal(vm_create("/nonexistent", 1, RAM_SIZE, &vm), -ENOENT);
    assert_null(vm);
}

static void too_many_cpus_are_refused(void **state)
{
    struct fixture *f = *state;
    struct vm *vm = NULL;

    require_kvm(f);
    assert_int_equal(vm_create(NULL, 1000000, RAM_SIZE, &vm), -EINVAL);
    assert_int_equal(vm_create(NULL, 0, RAM_SIZE, &vm), -EINVAL);
}

static void memory_that_no_guest_could_address_is_refused(void **state)
{
    struct fixture *f = *state;
    struct vm *vm = NULL;

    require_kvm(f);
    assert_int_equal(vm_create(NULL, 1, UINT64_C(1) << 62, &vm), -EINVAL);
    /* All 64-bit CPUs have as much. */
    assert_int_equal(vm_create(NULL, 1, UINT64_C(1) << 36, &vm), 0);
    vm_destroy(vm);
}

static void the_probe_measures_this_host(void **state)
{
    struct fixture *f = *state;
    struct kvm_probe probe;

    require_kvm(f);
    kvm_probe(NULL, &probe);

    assert_int_equal(probe.open_error, 0);
    assert_int_equal(probe.api_version, 12);
    assert_int_equal(probe.missing_count, 0);
    assert_true(probe.max_vcpus >= 1);
    assert_true(probe.guest_instructions_per_second > 100000);
    print_message("# %ju guest instructions per second\n",
                  (uintmax_t)probe.guest_instructions_per_second);
}

static void the_probe_says_why_kvm_does_not_open(void **state)
{
    struct kvm_probe probe;

    (void)state;
    kvm_probe("/nonexistent", &probe);

    assert_int_equal(probe.open_error, -ENOENT);
    assert_int_equal(probe.guest_instructions_per_second, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#define TESTS_OF_ANY_KVM                                                                           \
    TEST(a_kick_before_the_run_ends_it_at_once), TEST(a_kick_ends_an_endless_loop),                \
        TEST(a_wire_can_be_set_and_set_again), TEST(a_wire_that_is_not_there_is_refused),          \
        TEST(a_file_that_is_no_kvm_is_refused), TEST(too_many_cpus_are_refused),                   \
        TEST(memory_that_no_guest_could_address_is_refused), TEST(the_probe_measures_this_host),   \
        TEST(the_probe_says_why_kvm_does_not_open)
