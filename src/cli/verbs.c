// SPDX-License-Identifier: Apache-2.0
/* The verbs. */
#include <string.h>

#include "cli/cli.h"
#include "options.h"

static int set_flag(void *target, const char *value, struct usage_error *error)
{
    (void)error;

    *(bool *)target = !strcmp(value, "yes");
    return 0;
}

static const struct option doctor_options[] = {
    { "json", 0, OPTION_BOOLEAN, NULL, "print the findings as JSON", set_flag },
    { 0 },
};

const struct verb verbs[] = {
    { .name = "run",
      .operands = "[--] [COMMAND [ARG...]]",
      .summary = "run a command, or your shell, in a machine; or boot one of yours",
      .details =
          "Without a kernel or a disk of yours: your own files in a machine, and COMMAND or your\n"
          "shell there. What is written is gone at the end, but in the folder you are in.\n"
          "SIZE takes K, M, G or T and counts MiB without; TIME takes ms, s, m or h and counts\n"
          "seconds without. HUTCH_CPUS, HUTCH_MEMORY ... set other defaults.\n"
          "Exit status: 0 power-off, 120 reboot, 121 guest down, 122 panic, 123 no boot,\n"
          "124 timeout, 125 hutch failed; with a COMMAND, its own status; hutch(1) has the rest.\n",
      .run = cli_run,
      .options = run_options,
      .has_variables = true,
      .stops_at_operand = true },
    { .name = "doctor",
      .operands = "",
      .summary = "say what this host lets us do, and what to do about the rest",
      .details = "Exit status: 0 all is well, 1 something is missing, 125 no machine can run.\n",
      .run = cli_doctor,
      .options = doctor_options },
    { .name = "kernel",
      .operands = "which [KERNEL] | ls | pull [VERSION] | check [KERNEL]",
      .summary = "find, list, download and examine kernels",
      .details =
          "KERNEL is what `hutch run --kernel` takes: a file, a tree of Linux, a release or its\n"
          "beginning, or host; without it, what is built here, the host's, or the newest one\n"
          "pulled. VERSION is a release, its beginning, or a flavour of Debian's (cloud-amd64,\n"
          "arm64). Nothing is installed.\n",
      .run = cli_kernel,
      .words = "which ls pull check",
      .takes_file = true },
    { .name = "version", .operands = "", .summary = "print the version", .run = cli_version },
    { .name = "help",
      .operands = "[VERB]",
      .summary = "print the verbs, or the options of one",
      .run = cli_help,
      .words = "run doctor kernel version completion" },
    { .name = "completion",
      .operands = "bash|zsh|fish",
      .summary = "print the completions for a shell",
      .run = cli_completion,
      .words = "bash zsh fish" },
    { 0 },
};
