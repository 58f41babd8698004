// SPDX-License-Identifier: Apache-2.0
/* The verbs: one file each. argv[0] is the verb. Each returns the exit status of the process. */
#pragma once

int cli_run(int argc, char **argv);
int cli_doctor(int argc, char **argv);
int cli_kernel(int argc, char **argv);
int cli_version(int argc, char **argv);
int cli_help(int argc, char **argv);
int cli_completion(int argc, char **argv);
