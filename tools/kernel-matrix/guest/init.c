/* SPDX-License-Identifier: MIT */
/*
 * init.c - PID 1 of the test machine: set the place up, run the jobs, switch off.
 *
 * Linked static; beside it the initramfs holds only what tools/kernel-matrix packed: the programs
 * under /ouro and the list of what to do, /ouro/jobs, lines of KEY=VALUE:
 *
 *   sysctl=NAME=VALUE    a kernel setting, dots or slashes in its name
 *   disk=DEVICE          mount that block device (ext4) on /mnt
 *   job=NAME             begins a job; the lines after it are the job's
 *   arg=TEXT             its program and arguments, one a line
 *   env=NAME=VALUE
 *   timeout_s=N          see job.c
 *   uid=N                run it as that user and group, without capabilities
 *   memlock=BYTES, nofile=N, deny=NR,...
 *
 * On the console, around what job.c says:
 *
 *   begin release=R boot_ms=N
 *   note TEXT            something could not be set up
 *   end                  every job was run
 */
#define _GNU_SOURCE
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

static struct guest_job jobs[GUEST_JOBS_MAX];
static size_t job_count;

static void switch_off(void) __attribute__((noreturn));
static void switch_off(void)
{
    console_drain();
    mount(NULL, "/mnt", NULL, MS_REMOUNT | MS_RDONLY, NULL);
    sync();
    /* QEMU runs with -no-reboot: a restart ends it, and unlike power-off needs neither ACPI nor
     * a power-off driver. */
    reboot(RB_AUTOBOOT);
    for (;;)
        pause();
}

static void mount_at(const char *type, const char *where, const char *options)
{
    mkdir(where, 0755);
    if (mount(type, where, type, 0, options) < 0 && errno != EBUSY)
        console_say("note mount %s: %s", where, strerror(errno));
}

static void bring_loopback_up(void)
{
    struct ifreq request;
    memset(&request, 0, sizeof(request));
    memcpy(request.ifr_name, "lo", sizeof("lo"));
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int rc = ioctl(fd, SIOCGIFFLAGS, &request);
    if (rc == 0) {
        request.ifr_flags = (short)(request.ifr_flags | IFF_UP | IFF_RUNNING);
        rc = ioctl(fd, SIOCSIFFLAGS, &request); /* gives 127.0.0.1 and ::1 */
    }
    if (rc < 0)
        console_say("note loopback: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
}

static void set_sysctl(char *setting)
{
    char path[256];
    char *value = strchr(setting, '=');
    if (value == NULL)
        return;
    *value++ = '\0';
    for (char *p = setting; *p != '\0'; p++)
        if (*p == '.')
            *p = '/';
    snprintf(path, sizeof(path), "/proc/sys/%s", setting);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, value, strlen(value)) < 0)
        console_say("note sysctl %s: %s", setting, strerror(errno));
    if (fd >= 0)
        close(fd);
}

static void mount_disk(const char *device)
{
    struct stat st;
    for (int i = 0; i < 500 && stat(device, &st) < 0; i++)
        usleep(10000); /* its driver may still be probing, and nothing tells when it is done */
    mkdir("/mnt", 0755);
    if (mount(device, "/mnt", "ext4", 0, NULL) < 0)
        console_say("note mount %s: %s", device, strerror(errno));
    chmod("/mnt", 01777);
}

static void read_job_line(struct guest_job *job, const char *key, char *value)
{
    if (strcmp(key, "arg") == 0 && job->argc < GUEST_ARGS_MAX)
        job->argv[job->argc++] = value;
    else if (strcmp(key, "env") == 0 && job->envc < GUEST_ARGS_MAX)
        job->envp[job->envc++] = value;
    else if (strcmp(key, "timeout_s") == 0)
        job->timeout_s = strtol(value, NULL, 10);
    else if (strcmp(key, "uid") == 0)
        job->uid = strtol(value, NULL, 10);
    else if (strcmp(key, "memlock") == 0)
        job->memlock = value;
    else if (strcmp(key, "nofile") == 0)
        job->nofile = value;
    else if (strcmp(key, "deny") == 0)
        job->deny = value;
    else
        console_say("note /ouro/jobs: %s=%s is not understood or one too many", key, value);
}

/* Settings take effect as they are read; jobs are kept. */
static void read_list(char *text)
{
    char *rest = text;
    char *line;
    while ((line = strsep(&rest, "\n")) != NULL) {
        char *value = strchr(line, '=');
        if (value == NULL)
            continue;
        *value++ = '\0';
        if (strcmp(line, "job") == 0 && job_count < GUEST_JOBS_MAX)
            jobs[job_count++].name = value;
        else if (strcmp(line, "sysctl") == 0)
            set_sysctl(value);
        else if (strcmp(line, "disk") == 0)
            mount_disk(value);
        else if (job_count > 0)
            read_job_line(&jobs[job_count - 1], line, value);
    }
}

/* The nonce stands on the kernel's command line, where only we look: /proc is not hidden from
 * the jobs, but what they print is framed and cannot pass for ours anyway. */
static void read_nonce(void)
{
    char *command_line = guest_slurp("/proc/cmdline");
    char *found = command_line != NULL ? strstr(command_line, "ouro=") : NULL;
    if (found != NULL) {
        found += strlen("ouro=");
        found[strcspn(found, " \n")] = '\0';
        console_name(found);
    }
    free(command_line);
}

int main(void)
{
    mkdir("/dev", 0755);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    if (console_open() < 0)
        switch_off();
    mount_at("proc", "/proc", NULL);
    read_nonce();
    mount_at("sysfs", "/sys", NULL);
    mount_at("tmpfs", "/tmp", "mode=1777");
    mount_at("tmpfs", "/dev/shm", "mode=1777");
    mount_at("tmpfs", "/run", "mode=755");
    mount_at("devpts", "/dev/pts", NULL);
    mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
    mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
    if (symlink("/proc/self/fd", "/dev/fd") < 0)
        console_say("note /dev/fd: %s", strerror(errno));
    sethostname("ouro", strlen("ouro"));
    bring_loopback_up();

    char *list = guest_slurp("/ouro/jobs");
    if (list != NULL)
        read_list(list);

    struct utsname kernel;
    uname(&kernel);
    console_say("begin release=%s boot_ms=%llu", kernel.release,
                (unsigned long long)guest_now_ms(CLOCK_BOOTTIME));
    size_t done = 0;
    while (done < job_count && job_run(&jobs[done], done) == 0)
        done++;
    if (done == job_count)
        console_say("end");
    switch_off();
}
