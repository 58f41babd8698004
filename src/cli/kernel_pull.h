// SPDX-License-Identifier: Apache-2.0
/* `hutch kernel pull`: a kernel of Debian's, in hutch's cache. */
#pragma once

/* Downloads and unpacks the kernel that @version stands for: a release ("6.1.0-49-cloud-amd64"),
 * its beginning, a flavour ("amd64", "cloud-arm64"), a package's name, or NULL for the newest cloud
 * kernel. Nothing is installed. Logs what is wrong. On success *@ret is the path of the image, the
 * caller's to free. Returns 0 or -errno. */
int kernel_pull(const char *version, char **ret);
