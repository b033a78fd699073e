/* SPDX-License-Identifier: MIT */
/*
 * Worker pool: a few tasks share a list of jobs that block.
 *
 *     worker_pool FILE...                  prints the number of lines of each file
 *
 * Each worker is a task of one group and takes the next job until none is left.  Reading a file
 * blocks, so it runs on the runtime's pool of threads, by ouro_blocking(); the worker waits for it
 * as it waits for anything else.  The tasks run on one thread, so the list needs no lock.
 */
#include <errno.h>
#include <ouro.h>
#include <stdio.h>

#define WORKERS 4

struct job {
    const char *path;
    unsigned long lines;
    int error; /* 0 or a negative code */
};

struct pool {
    struct job *jobs;
    int count;
    int next;
};

/* On a thread of the blocking pool. */
static int count_lines(void *arg)
{
    struct job *job = arg;
    char buffer[65536];
    size_t n = 0;
    FILE *file = fopen(job->path, "re");
    if (file == NULL)
        return -errno;
    while ((n = fread(buffer, 1, sizeof(buffer), file)) > 0) {
        for (size_t i = 0; i < n; i++)
            job->lines += buffer[i] == '\n';
    }
    int rc = ferror(file) ? -EIO : 0;
    fclose(file);
    return rc;
}

static int worker(void *arg)
{
    struct pool *pool = arg;
    while (pool->next < pool->count) {
        struct job *job = &pool->jobs[pool->next++];
        int rc = ouro_blocking(count_lines, job, &job->error);
        if (rc < 0)
            return rc; /* ends the other workers, too */
    }
    return 0;
}

static int run(void *arg)
{
    struct ouro_group group;
    int rc = ouro_group_begin(&group, 0);
    if (rc < 0)
        return rc;
    for (int i = 0; i < WORKERS && rc == 0; i++)
        rc = ouro_group_spawn(&group, NULL, worker, arg);
    int end_rc = ouro_group_end(&group); /* all workers have returned */
    return rc < 0 ? rc : end_rc;
}

int main(int argc, char **argv)
{
    enum { JOBS_MAX = 1000 };
    static struct job jobs[JOBS_MAX];
    struct pool pool = {.jobs = jobs, .count = argc - 1 < JOBS_MAX ? argc - 1 : JOBS_MAX};
    int failed = 0;
    for (int i = 0; i < pool.count; i++)
        jobs[i].path = argv[i + 1];

    int rc = ouro_run(run, &pool);
    if (rc < 0) {
        fprintf(stderr, "worker_pool: %s\n", ouro_strerror(rc));
        return 1;
    }
    for (int i = 0; i < pool.count; i++) {
        if (jobs[i].error < 0)
            fprintf(stderr, "worker_pool: %s: %s\n", jobs[i].path, ouro_strerror(jobs[i].error));
        else
            printf("%s: %lu\n", jobs[i].path, jobs[i].lines);
        failed |= jobs[i].error < 0;
    }
    return failed;
}
