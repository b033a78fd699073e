/* SPDX-License-Identifier: MIT */
/*
 * IORING_OP_ASYNC_CANCEL and its keys.
 *
 * A cancel that hits another request than the one named ends a healthy connection's receive; one
 * that hits nothing leaves the kernel writing into memory the program believes to be its own again.
 */
#include "kt.h"

enum { UD_FIRST = 1, UD_SECOND = 2, UD_CANCEL = 9, UD_ABSENT = 77 };

static void cancel_fd_userdata(struct kt *t)
{
    int fds[2];
    char bytes[2];
    struct kt_cqe cqe;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_prep_recv(t, fds[0], &bytes[0], 1, 0, UD_FIRST);
    kt_prep_recv(t, fds[0], &bytes[1], 1, 0, UD_SECOND);
    kt_submit(t, 2);

    const uint32_t keys = IORING_ASYNC_CANCEL_FD | OURO__CANCEL_USERDATA;
    kt_prep_cancel(t, UD_ABSENT, keys, UD_CANCEL)->fd = fds[0];
    kt_submit(t, 1);
    cqe = kt_wait_for(t, UD_CANCEL);
    KT_EXPECT_RES(t, cqe.res, -ENOENT, "cancel of a user_data that is not in flight");
    KT_EXPECT_EQ(t, kt_try_wait_for(t, UD_FIRST, 5, &cqe), 0, "the first receive was ended");
    KT_EXPECT_EQ(t, kt_try_wait_for(t, UD_SECOND, 5, &cqe), 0, "the second receive was ended");

    kt_prep_cancel(t, UD_SECOND, keys, UD_CANCEL)->fd = fds[0];
    kt_submit(t, 1);
    cqe = kt_wait_for(t, UD_CANCEL);
    KT_EXPECT_RES(t, cqe.res, 0, "cancel of the second receive");
    cqe = kt_wait_for(t, UD_SECOND);
    KT_EXPECT_RES(t, cqe.res, -ECANCELED, "the second receive, which was named");
    KT_EXPECT_EQ(t, kt_try_wait_for(t, UD_FIRST, 5, &cqe), 0,
                 "the first receive, which was not named, was ended");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "cancel.userdata-only",
        .alias = "K045",
        .sentence = "CANCEL_FD|CANCEL_USERDATA cancels exactly the request of that descriptor that "
                    "carries the user_data, and -ENOENT cancels nothing.",
        .source = "io_uring_prep_cancel(3)",
        .since = "6.6",
        .broken = "6.1.170 to 6.1.192 (a back-port that ignores user_data)",
        .absence = "-EINVAL where the key is unknown; once it is accepted it must be honoured.",
        .impact = "Cancelling one operation ends another one of the same connection.",
        .avoid = "Cancel by user_data alone, and wait for the target's own completion.",
        .guards = "liburing test cancel-fd-userdata",
        .needs = KT_NEEDS(CANCEL_USERDATA),
        .rings = KT_ON_BOTH,
        .run = cancel_fd_userdata,
    },
};

const struct kt_area kt_area_cancel = KT_AREA("cancel", assertions);
