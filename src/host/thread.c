// SPDX-License-Identifier: Apache-2.0
/* Starts worker threads: the signal mask is set before, as a thread inherits its maker's. */
#include "host/thread.h"

#include <signal.h>

int thread_start(pthread_t *ret, size_t stack_size, void *(*work)(void *), void *ctx)
{
    static const int own_faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP };
    pthread_attr_t attr;
    sigset_t blocked, before;
    int err = pthread_attr_init(&attr);

    if (err)
        return -err;
    sigfillset(&blocked);
    for (unsigned i = 0; i < sizeof(own_faults) / sizeof(own_faults[0]); i++)
        sigdelset(&blocked, own_faults[i]);
    (void)pthread_attr_setstacksize(&attr, stack_size);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    err = pthread_create(ret, &attr, work, ctx);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return -err;
}
