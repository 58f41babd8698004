// SPDX-License-Identifier: Apache-2.0
/* `hutch doctor`: what this host lets us do, and what to do about the rest. */
#include <stdbool.h>
#include <stddef.h>

#include "cli/cli.h"
#include "cli_private.h"
#include "doctor_private.h"

enum { STATUS_DEGRADED = 1 };

int cli_doctor(int argc, char **argv)
{
    static const int statuses[] = { 0, STATUS_DEGRADED, STATUS_TOOL_ERROR };
    struct doctor doctor = { 0 };
    bool wants_json = false;
    int count, status = cli_parse("doctor", argc, argv, &wants_json, 0, &count);

    if (status >= 0)
        return status;
    doctor_check_kvm(&doctor);
    doctor_check_host(&doctor);
    doctor_check_networks(&doctor);
    if (wants_json)
        doctor_print_json(&doctor);
    else
        doctor_print_text(&doctor);
    return cli_finish_output(statuses[doctor_worst_state(&doctor)]);
}
