/* Preloaded into a program under Valgrind: a clock that goes on with what the program sends, and a count of instructions.
 *
 * Valgrind makes a program many times slower, so that it would do many times as much of what it does per second
 * (heartbeats, snapshots) for each request. Here each call of send(2) and its like lets a fixed time pass, so that a
 * second has as many requests as natively, on a busy machine too. Reading a clock takes a little, and what waits in
 * vain in epoll_wait(2) has waited. Timers of timerfd_create(2) that are not due never go off. Wall time is left alone.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

#define NANO 1000000000LL
#define READING_NS 100
#define FAR_S 1000000

static long long now_ns = NANO, sends, per_send_ns = 10000;

static void sent(void)
{
    sends++;
    now_ns += per_send_ns;
}

ssize_t send(int socket, const void *data, size_t length, int flags)
{
    sent();
    return syscall(SYS_sendto, socket, data, length, flags, NULL, 0);
}

ssize_t sendto(int socket, const void *data, size_t length, int flags, const struct sockaddr *to, socklen_t size)
{
    sent();
    return syscall(SYS_sendto, socket, data, length, flags, to, size);
}

ssize_t sendmsg(int socket, const struct msghdr *message, int flags)
{
    sent();
    return syscall(SYS_sendmsg, socket, message, flags);
}

int clock_gettime(clockid_t clock, struct timespec *moment)
{
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        return (int)syscall(SYS_clock_gettime, clock, moment);
    now_ns += READING_NS;
    *moment = (struct timespec){.tv_sec = now_ns / NANO, .tv_nsec = now_ns % NANO};
    return 0;
}

int epoll_pwait(int set, struct epoll_event *ready, int most, int timeout_ms, const sigset_t *mask)
{
    int count = (int)syscall(SYS_epoll_pwait, set, ready, most, timeout_ms, mask, 8);
    if (!count && timeout_ms > 0)
        now_ns += timeout_ms * (NANO / 1000);
    return count;
}

int epoll_wait(int set, struct epoll_event *ready, int most, int timeout_ms)
{
    return epoll_pwait(set, ready, most, timeout_ms, NULL);
}

int timerfd_settime(int descriptor, int flags, const struct itimerspec *wanted, struct itimerspec *before)
{
    struct itimerspec set = *wanted;
    if (set.it_value.tv_sec * NANO + set.it_value.tv_nsec > now_ns) {
        flags = 0;
        set.it_value.tv_sec = FAR_S;
    }
    return (int)syscall(SYS_timerfd_settime, descriptor, flags, &set, before);
}

/* For the program itself. */

long long sent_so_far(void)
{
    return sends;
}

void let_pass_per_send(long long nanoseconds)
{
    per_send_ns = nanoseconds;
}

void count_from_here(void)
{
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
}

/* callgrind writes its next file, with this name in it. */
void count_until_here(const char *name)
{
    CALLGRIND_DUMP_STATS_AT(name);
}
