/* A bare recv() loop: the lower bound of what a reader costs.
 *
 * Receives bytes from connections that another program has opened, without parsing frames, and prints the CPU time that
 * took.
 *
 * Usage: recv_loop <bytes>; the descriptors, which must be non-blocking, are on standard input, one a line. Prints
 * "ready" at the start, and "<user µs> <system µs>" when it has so many bytes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { MAX_EVENTS = 1024, BUFFER_SIZE = 65536 };

static struct epoll_event events[MAX_EVENTS];
static char buffer[BUFFER_SIZE];

static long long microseconds(struct timeval time) { return time.tv_sec * 1000000LL + time.tv_usec; }

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
        int count = epoll_wait(poller, events, MAX_EVENTS, 10000);
        if (count <= 0)
            return fprintf(stderr, "%lld bytes did not come\n", left), 1;
        for (int i = 0; i < count; i++) {
            ssize_t received = recv(events[i].data.fd, buffer, sizeof buffer, 0);
            if (received == 0 || (received < 0 && errno != EAGAIN))
                return fprintf(stderr, "a connection ended\n"), 1;
            left -= received > 0 ? received : 0;
        }
    }
    getrusage(RUSAGE_SELF, &after);
    printf("%lld %lld\n", microseconds(after.ru_utime) - microseconds(before.ru_utime),
           microseconds(after.ru_stime) - microseconds(before.ru_stime));
    return 0;
}
