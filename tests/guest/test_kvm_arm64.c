// SPDX-License-Identifier: Apache-2.0
/* src/cpu on the host's own KVM: a few instructions of guest code each, no machine around them.
 * Skipped where there is no /dev/kvm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/eventfd.h>

#include "cpu/arm64/arm64.h"
#include "mem/layout.h"
#define RAM_ADDRESS LAYOUT_RAM_BASE
#include "kvm_fixture.h"

/* A place without memory. The guest has it in X0. */
#define DEVICE LAYOUT_SERIAL

enum {
    STR_W1_X0 = 0xb9000001,
    STRH_W1_X0 = 0x79000001,
    STR_X1_X0 = 0xf9000001,
    STR_W1_X0_4 = 0xb9000401,
    LDR_W1_X0 = 0xb9400001,
    STP_W1_W2_X0 = 0x29000801,
    MOV_W1_0 = 0x52800001,
    MOV_W1_1 = 0x52800021,
    MRS_X1_CURRENTEL = 0xd5384241,
    MRS_X1_DAIF = 0xd53b4221,
    MRS_X1_MPIDR = 0xd53800a1,
    MRS_X1_ID_AA64MMFR0 = 0xd5380701,
    LDR_W1_X2_204 = 0xb9420441,
    HVC_0 = 0xd4000002,
    ENDLESS_LOOP = 0x14000000,
};

/* movz w0, #low; movk w0, #high, lsl #16 */
#define LOAD_W0(value)                                                                             \
    0x52800000 | ((value)&0xffff) << 5, 0x72a00000 | (((value) >> 16) & 0xffff) << 5

/* movz x2, #high, lsl #16 */
#define LOAD_X2(value) 0xd2a00002 | (((value) >> 16) & 0xffff) << 5

/* PSCI's function numbers (Arm DEN0022). */
#define PSCI_SYSTEM_OFF 0x84000008u
#define PSCI_SYSTEM_RESET 0x84000009u
#define PSCI_SYSTEM_RESET2 0x84000012u

/* Puts code where no test had any: an emulated host (QEMU 7.2's) may still run what was at that
 * address in the machine before. */
static void load(struct fixture *f, const uint32_t *code, size_t len)
{
    static uint64_t next_address = RAM_ADDRESS;
    struct cpu_entry entry = { .mode = CPU_ENTRY_ARM64,
                               .address = next_address,
                               .argument = DEVICE };

    require_kvm(f);
    assert_int_equal(guest_mem_write(f->mem, next_address, code, len), 0);
    next_address += 4 * KIB;
    assert_int_equal(vcpu_set_entry(f->vcpu, f->mem, &entry), 0);
}

#define LOAD(f, ...)                                                                               \
    do {                                                                                           \
        static const uint32_t code_[] = { __VA_ARGS__ };                                           \
        load(f, code_, sizeof(code_));                                                             \
    } while (0)

/* Runs up to the next store, of a value of 8 bytes. */
static uint64_t run_to_value(struct fixture *f)
{
    struct vcpu_exit exit = run(f);
    uint64_t value = 0;

    assert_int_equal(exit.reason, VCPU_EXIT_MEMORY);
    assert_true(exit.is_write);
    assert_int_equal(exit.size, 8);
    memcpy(&value, exit.data, 8);
    return value;
}

static void starts_at_el1_with_all_exceptions_masked(void **state)
{
    struct fixture *f = *state;

    LOAD(f, MRS_X1_CURRENTEL, STR_X1_X0, MRS_X1_DAIF, STR_X1_X0);

    assert_int_equal(run_to_value(f), 1 << 2);
    assert_int_equal(run_to_value(f), 0xf << 6);
}

static void a_memory_read_and_write_are_exits(void **state)
{
    struct fixture *f = *state;

    LOAD(f, LDR_W1_X0, STR_W1_X0_4);
    struct vcpu_exit exit = run(f);
    assert_int_equal(exit.reason, VCPU_EXIT_MEMORY);
    assert_int_equal(exit.address, DEVICE);
    assert_int_equal(exit.size, 4);
    assert_int_equal(exit.count, 1);
    assert_false(exit.is_write);
    memcpy(exit.data, "\x78\x56\x34\x12", 4);

    exit = run(f);

    assert_int_equal(exit.address, DEVICE + 4);
    assert_true(exit.is_write);
    assert_memory_equal(exit.data, "\x78\x56\x34\x12", 4);
}

static void an_odd_access_fails_with_its_address(void **state)
{
    struct fixture *f = *state;
    char why[512];

    LOAD(f, STP_W1_W2_X0);
    struct vcpu_exit exit = run(f);

    assert_int_equal(exit.reason, VCPU_EXIT_FAILED);
    vcpu_describe_failure(f->vcpu, why, sizeof(why));
    assert_non_null(strstr(why, "0x9000000")); /* what it touched */
    assert_non_null(strstr(why, "0x8000"));    /* where it stands */
    assert_non_null(strstr(why, "EL1"));
}

static void psci_powers_off(void **state)
{
    struct fixture *f = *state;

    LOAD(f, LOAD_W0(PSCI_SYSTEM_OFF), HVC_0);

    assert_int_equal(run(f).reason, VCPU_EXIT_GUEST_OFF);
}

static void psci_resets_cold(void **state)
{
    struct fixture *f = *state;

    LOAD(f, LOAD_W0(PSCI_SYSTEM_RESET), HVC_0);
    struct vcpu_exit exit = run(f);

    assert_int_equal(exit.reason, VCPU_EXIT_GUEST_RESET);
    assert_false(exit.is_warm);
}

/* Goes on as an ordinary reset, to be seen as one, where KVM does not know it. */
static void psci_resets_warm(void **state)
{
    struct fixture *f = *state;

    LOAD(f, MOV_W1_0, LOAD_W0(PSCI_SYSTEM_RESET2), HVC_0, LOAD_W0(PSCI_SYSTEM_RESET), HVC_0);
    struct vcpu_exit exit = run(f);

    assert_int_equal(exit.reason, VCPU_EXIT_GUEST_RESET);
    if (!exit.is_warm)
        print_message("# this KVM has no SYSTEM_RESET2\n");
}

static void a_cpu_has_the_id_that_the_guest_is_told(void **state)
{
    struct fixture *f = *state;
    const uint64_t affinity = UINT64_C(0xff00ffffff);
    struct cpu_model model = { .count = 600 };

    LOAD(f, MRS_X1_MPIDR, STR_X1_X0);

    assert_int_equal(run_to_value(f) & affinity, cpu_hardware_id(&model, 0));
    assert_int_equal(cpu_hardware_id(&model, 15), 0xf);
    assert_int_equal(cpu_hardware_id(&model, 16), 0x100);
    assert_int_equal(cpu_hardware_id(&model, 511), 0x1f0f);
}

static void the_sizes_of_pages_are_those_that_the_guest_finds(void **state)
{
    struct fixture *f = *state;

    LOAD(f, MRS_X1_ID_AA64MMFR0, STR_X1_X0);

    assert_int_equal(cpu_page_sizes_of(run_to_value(f)), vcpu_page_sizes(f->vcpu));
    assert_true(vcpu_page_sizes(f->vcpu) != 0);
}

static void load_endless_loop(struct fixture *f)
{
    LOAD(f, ENDLESS_LOOP);
}

static void a_doorbell_rings_instead_of_an_exit(void **state)
{
    struct fixture *f = *state;
    uint64_t count = 0;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    LOAD(f, STRH_W1_X0, STR_W1_X0_4);
    assert_int_equal(vm_doorbell_add(f->vm, DEVICE, 2, NULL, fd), 0);
    struct vcpu_exit exit = run(f);

    assert_int_equal(exit.address, DEVICE + 4);
    assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
    assert_int_equal(count, 1);
    assert_int_equal(vm_doorbell_remove(f->vm, DEVICE, 2, NULL, fd), 0);
    assert_int_equal(vm_doorbell_remove(f->vm, DEVICE, 2, NULL, fd), -ENOENT);
    close(fd);
}

static void a_doorbell_may_ask_for_a_value(void **state)
{
    struct fixture *f = *state;
    const uint32_t values[] = { 0, 1 };
    uint64_t count = 0;
    int fds[2];

    LOAD(f, MOV_W1_1, STR_W1_X0, STR_W1_X0_4);
    for (int i = 0; i < 2; i++) {
        fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        assert_int_equal(vm_doorbell_add(f->vm, DEVICE, 4, &values[i], fds[i]), 0);
    }
    struct vcpu_exit exit = run(f);

    assert_int_equal(exit.address, DEVICE + 4);
    assert_int_equal(read(fds[0], &count, sizeof(count)), -1);
    assert_int_equal(read(fds[1], &count, sizeof(count)), sizeof(count));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(vm_doorbell_remove(f->vm, DEVICE, 4, &values[i], fds[i]), 0);
        close(fds[i]);
    }
}

static void messages_that_mean_nothing_are_survived(void **state)
{
    struct fixture *f = *state;
    static const uint64_t addresses[] = {
        0, UINT64_MAX, DEVICE, RAM_ADDRESS, LAYOUT_GIC_ITS_BASE, LAYOUT_GIC_ITS_BASE + 0x10040,
    };

    require_kvm(f);
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        (void)vm_msi_send(f->vm, 0, addresses[i], 0);
        (void)vm_msi_send(f->vm, UINT16_MAX, addresses[i], UINT32_MAX);
    }
    assert_int_equal(vm_has_msi(f->vm), vm_gic_version(f->vm) == 3);
}

static void the_probe_knows_what_guests_get(void **state)
{
    struct fixture *f = *state;
    struct kvm_probe probe;

    require_kvm(f);
    kvm_probe(NULL, &probe);

    assert_int_equal(probe.gic_version, vm_gic_version(f->vm));
    assert_true(probe.address_bits >= 32 && probe.address_bits <= 52);
}

static void features_can_be_taken_away(void **state)
{
    static const char *const masked[] = { "sve", "pauth", "pmu", NULL };
    const struct cpu_model model = { .count = 1, .masked_features = masked };
    struct fixture *f = *state;
    struct vcpu *vcpu = NULL;
    struct vm *vm = NULL;

    require_kvm(f);
    assert_int_equal(vm_create(NULL, 1, RAM_ADDRESS + RAM_SIZE, &vm), 0);
    assert_int_equal(vcpu_create(vm, 0, &model, &vcpu), 0);
    assert_int_equal(vcpu_complete(vcpu), 0);

    assert_false(cpu_has_pmu(vm, &model));
    vcpu_destroy(vcpu);
    vm_destroy(vm);
    assert_false(cpu_feature_is_known("avx2"));
}

/* GICD_ISPENDR1 tells of shared interrupts 0 to 31, also before any is enabled. */
static void a_wire_set_before_the_cpus_are_there_is_not_lost(void **state)
{
    struct cpu_model model = { .count = 2 };
    struct fixture *f = *state;
    struct vcpu *vcpus[2] = { NULL, NULL };
    struct vm *vm = NULL;

    require_kvm(f);
    assert_int_equal(vm_create(NULL, 2, RAM_ADDRESS + RAM_SIZE, &vm), 0);
    assert_int_equal(vm_set_irq(vm, LAYOUT_GSI_RTC, false), 0);
    assert_int_equal(vm_set_irq(vm, LAYOUT_GSI_GPIO, true), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(vcpu_create(vm, i, &model, &vcpus[i]), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(vcpu_complete(vcpus[i]), 0);

    /* As another fixture, which has its own memory. */
    struct fixture other = { .vm = vm, .vcpu = vcpus[0], .mem = f->mem };
    assert_int_equal(vm_map_memory(vm, f->mem), 0);
    LOAD(&other, LOAD_X2(LAYOUT_GIC_DIST_BASE), LDR_W1_X2_204, STR_X1_X0);
    assert_int_equal(run_to_value(&other), 1 << LAYOUT_GSI_GPIO);
    for (unsigned i = 0; i < 2; i++)
        vcpu_destroy(vcpus[i]);
    vm_destroy(vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(starts_at_el1_with_all_exceptions_masked),
        TEST(a_memory_read_and_write_are_exits),
        TEST(an_odd_access_fails_with_its_address),
        TEST(psci_powers_off),
        TEST(psci_resets_cold),
        TEST(psci_resets_warm),
        TEST(a_cpu_has_the_id_that_the_guest_is_told),
        TEST(the_sizes_of_pages_are_those_that_the_guest_finds),
        TEST(a_doorbell_rings_instead_of_an_exit),
        TEST(a_doorbell_may_ask_for_a_value),
        TEST(messages_that_mean_nothing_are_survived),
        TEST(the_probe_knows_what_guests_get),
        TEST(features_can_be_taken_away),
        TEST(a_wire_set_before_the_cpus_are_there_is_not_lost),
        TESTS_OF_ANY_KVM,
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
