/* SPDX-License-Identifier: MIT */
/*
 * A lock, for the few places that are not lock-free.  All of ouro's locks are leaves: while one is
 * held, no other lock is taken and no function of the program is called.
 */
#ifndef OURO_BASE_MUTEX_H
#define OURO_BASE_MUTEX_H

#include "base/assert.h"

#ifdef OURO_MODEL
struct ouro__mutex {
    int held;
};
void ouro__mutex_init(struct ouro__mutex *mutex);
void ouro__mutex_fini(struct ouro__mutex *mutex);
void ouro__mutex_lock(struct ouro__mutex *mutex);
void ouro__mutex_unlock(struct ouro__mutex *mutex);
#else
#include <pthread.h>

struct ouro__mutex {
    pthread_mutex_t native;
};

static inline void ouro__mutex_init(struct ouro__mutex *mutex)
{
    int rc = pthread_mutex_init(&mutex->native, NULL);
    OURO__ASSERT(rc == 0);
}

static inline void ouro__mutex_fini(struct ouro__mutex *mutex)
{
    int rc = pthread_mutex_destroy(&mutex->native);
    OURO__ASSERT(rc == 0);
}

static inline void ouro__mutex_lock(struct ouro__mutex *mutex)
{
    int rc = pthread_mutex_lock(&mutex->native);
    OURO__ASSERT(rc == 0);
}

static inline void ouro__mutex_unlock(struct ouro__mutex *mutex)
{
    int rc = pthread_mutex_unlock(&mutex->native);
    OURO__ASSERT(rc == 0);
}
#endif

#endif
