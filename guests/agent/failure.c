// SPDX-License-Identifier: Apache-2.0
/* The sentence that the user reads when the agent could not do something. */
#include <asm/errno.h>

#include "agent.h"

enum { TEXT_LEN = 32 };

/* The errors that people meet; of others the number, in @text. */
static const char *error_text(long err, char text[TEXT_LEN])
{
    char digits[21];

    switch (-err) {
    case ENOENT:
        return "no such file or directory";
    case EACCES:
        return "permission denied";
    case EPERM:
        return "operation not permitted";
    case EROFS:
        return "read-only file system";
    case EIO:
        return "input/output error";
    case ENOSPC:
        return "no space left";
    case EBUSY:
        return "busy";
    case ENOTDIR:
        return "not a directory";
    case EISDIR:
        return "is a directory";
    case ELIBACC:
        return "the interpreter or loader that it needs is not there";
    case ENOMEM:
        return "out of memory";
    case ENOEXEC:
        return "not a program of this machine";
    case E2BIG:
        return "its arguments or variables are too long";
    case EINVAL:
        return "invalid argument";
    case ELOOP:
        return "too many symbolic links";
    default:
        text_number(digits, (uint64_t)-err);
        text_join(text, TEXT_LEN, (const char *const[]){ "error ", digits, NULL });
        return text;
    }
}

bool failure_describe(struct failure *failure, uint32_t status, const char *what, const char *name,
                      long err)
{
    char text[TEXT_LEN];

    failure->status = status;
    TEXT_JOIN(failure->text, what, "'", name, "': ", error_text(err, text));
    return false;
}
