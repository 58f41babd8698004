// SPDX-License-Identifier: Apache-2.0
/* Which kernel is meant. */
#pragma once

/* Turns what -k was given into the path of an image: a file, a tree that a kernel was built in,
 * "host", a release or its beginning; NULL: none was given. Logs what is wrong and the way out, and
 * at LOG_LEVEL_INFO what was looked at. Returns 0 or -errno; *@kernel is untouched on failure. */
int kernel_resolve(char **kernel);
