// SPDX-License-Identifier: Apache-2.0
/* What `hutch doctor` says of an Arm host. */
#include "cli/doctor_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "cpu/probe.h"

static const struct finding *finding(const struct doctor *doctor, const char *name)
{
    for (size_t i = 0; i < doctor->count; i++) {
        if (!strcmp(doctor->findings[i].name, name))
            return &doctor->findings[i];
    }
    fail_msg("nothing is said of %s", name);
    return NULL;
}

static void each_interrupt_controller_is_told_with_what_follows(void **state)
{
    static const struct {
        unsigned version;
        enum finding_state state;
        const char *words;
    } cases[] = {
        { 3, FINDING_OK, "GICv3: messages, up to 512 CPUs" },
        { 2, FINDING_OK, "GICv2: no messages, so virtio devices are memory-mapped; up to 8 CPUs" },
        { 0, FINDING_FAIL, "KVM has no interrupt controller for guests" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct kvm_probe probe = { .gic_version = cases[i].version, .address_bits = 40 };
        struct doctor doctor = { 0 };
        doctor_check_cpu(&doctor, &probe);

        const struct finding *found = finding(&doctor, "interrupts");
        assert_int_equal(found->state, cases[i].state);
        assert_string_equal(found->value, cases[i].words);
        assert_int_equal(found->fix[0] != '\0', cases[i].state != FINDING_OK);
    }
}

static void the_size_of_addresses_is_told_as_memory(void **state)
{
    static const struct {
        unsigned bits;
        const char *words;
    } cases[] = {
        { 36, "36 bits: guests of up to 62 GiB" },
        { 40, "40 bits: guests of up to 1022 GiB" },
        { 48, "48 bits: guests of up to 262142 GiB" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct kvm_probe probe = { .gic_version = 3, .address_bits = cases[i].bits };
        struct doctor doctor = { 0 };
        doctor_check_cpu(&doctor, &probe);

        assert_string_equal(finding(&doctor, "guest-addresses")->value, cases[i].words);
    }
}

/* Why is said before, by what opened it. */
static void without_kvm_nothing_is_said_of_guests(void **state)
{
    const struct kvm_probe probe = { .open_error = -ENOENT };
    struct doctor doctor = { 0 };
    (void)state;

    doctor_check_cpu(&doctor, &probe);

    assert_int_equal(doctor.count, 0);
}

static void a_host_not_started_at_el2_is_told_so(void **state)
{
    char text[256];
    (void)state;

    kvm_advise("/nonexistent/kvm", -ENOENT, text, sizeof(text));

    /* The one or the other, by what this host's kernel has. */
    assert_true(strstr(text, "not started at EL2") || strstr(text, "built without KVM"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_interrupt_controller_is_told_with_what_follows),
        cmocka_unit_test(the_size_of_addresses_is_told_as_memory),
        cmocka_unit_test(without_kvm_nothing_is_said_of_guests),
        cmocka_unit_test(a_host_not_started_at_el2_is_told_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
