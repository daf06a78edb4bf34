/* The floor of a reader: a bare recv() loop.
 *
 * Takes the bytes off connections that another program has opened, and nothing else: no frame is looked at. Says what
 * that cost by the operating system's account.
 *
 * Usage: drain <bytes>; the descriptors come on standard input, one a line, and are not blocking. Writes a line when it
 * is ready, and "<user µs> <system µs>" when it has so many bytes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { BATCH = 1024, ROOM = 65536 };

static struct epoll_event events[BATCH];
static char buffer[ROOM];

static long long micros(struct timeval time) { return time.tv_sec * 1000000LL + time.tv_usec; }

int main(int argc, char **argv)
{
    long long left = argc == 2 ? atoll(argv[1]) : 0;
    int fd, poller = epoll_create1(0);
    struct rusage before, after;

    while (scanf("%d", &fd) == 1) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
            return perror("epoll_ctl"), 1;
    }
    puts("ready");
    fflush(stdout);
    getrusage(RUSAGE_SELF, &before);
    while (left > 0) {
        int count = epoll_wait(poller, events, BATCH, 10000);
        if (count <= 0)
            return fprintf(stderr, "%lld bytes did not come\n", left), 1;
        for (int i = 0; i < count; i++) {
            ssize_t got = recv(events[i].data.fd, buffer, sizeof buffer, 0);
            if (got == 0 || (got < 0 && errno != EAGAIN))
                return fprintf(stderr, "a connection ended\n"), 1;
            left -= got > 0 ? got : 0;
        }
    }
    getrusage(RUSAGE_SELF, &after);
    printf("%lld %lld\n", micros(after.ru_utime) - micros(before.ru_utime),
           micros(after.ru_stime) - micros(before.ru_stime));
    return 0;
}
