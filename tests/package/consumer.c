/* SPDX-License-Identifier: MIT */
/*
 * A program that knows ouro as its users do: by the installed headers and libraries.
 */
#include <ouro.h>
#include <stdio.h>
#include <string.h>

static int task(void *arg)
{
    *(int *)arg = 42;
    return 7;
}

int main(void)
{
    struct ouro_runtime *runtime = NULL;
    int seen = 0;
    int result = 0;
    int rc = ouro_runtime_new(NULL, &runtime);
    if (rc == 0)
        rc = ouro_runtime_block_on(runtime, task, &seen, &result);
    ouro_runtime_free(runtime);
    if (rc < 0)
        fprintf(stderr, "consumer: %s\n", ouro_strerror(rc));
    printf("%s\n", ouro_version());
    return rc == 0 && seen == 42 && result == 7 && strcmp(ouro_version(), OURO_VERSION) == 0 ? 0
                                                                                             : 1;
}
