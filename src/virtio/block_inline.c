// SPDX-License-Identifier: Apache-2.0
/* Reads and writes of a file that is in memory (tmpfs), where handing a request to anybody costs
 * more than doing it: the loop's thread copies, as it does into guest RAM. What the host has
 * swapped out makes it wait no longer than guest RAM would. */
#include "block_engine.h"

void block_inline_submit(struct block_inline *inl, struct block_request *request)
{
    block_list_append(&inl->queued, request);
}

void block_inline_flush(struct block_inline *inl)
{
    const atomic_bool never = false;
    struct block_request *request;

    if (inl->is_running || !inl->queued.first) /* called by what is called below, or idle */
        return;
    inl->is_running = true;
    while ((request = block_list_take(&inl->queued)))
        request->done(request, block_target_run(inl->target, request, &never));
    inl->is_running = false;
    inl->events.batch_done(inl->events.ctx);
}
