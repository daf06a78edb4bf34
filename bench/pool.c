/* Many WebSocket connections to one server, driven by one epoll.
 *
 * Owns sockets, the opening handshake and frames in both directions. Must not know what messages mean: those of a
 * ready connection go to pool_heard. Clients must be cheaper than the server they load: a frame costs one recv() and
 * no copy, and bytes are kept only while a frame is incomplete.
 */
#define _GNU_SOURCE
#include "pool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "wire.h"

/* A fixed key, so that the right answer is a fixed one too (they are those of RFC 6455, section 1.3). */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

/* One source address has about 28,000 ports to one server; several let runs follow one another without a wait. */
enum { SOURCES = 16, BATCH = 1024, ROOM = 256 * 1024 };

struct group groups[GROUPS];
void (*pool_heard)(struct connection *, const char *, size_t);

static struct sockaddr_in server;
static struct opening opening;
static int poller;
static unsigned char buffer[ROOM];

static void *grown(void *memory, size_t size)
{
    memory = realloc(memory, size);
    if (memory == NULL) {
        fputs("load: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

double pool_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

void pool_start(const char *host, int port)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

    server.sin_family = AF_INET;
    server.sin_port = htons(port);
    inet_pton(AF_INET, host, &server.sin_addr);
    poller = epoll_create1(0);
    epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event);
}

static void interest(struct connection *connection, int operation, unsigned events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};

    epoll_ctl(poller, operation, connection->fd, &event);
}

static void lose(struct connection *connection)
{
    struct linger at_once = {1, 0};
    struct group *group = &groups[connection->group];

    if (connection->state == LOST)
        return;
    if (connection->state == READY)
        group->ready--;
    group->lost++;
    connection->state = LOST;
    /* A reset: no TIME_WAIT that the next round would run into. */
    setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(connection->fd);
    free(connection->part);
    free(connection->rest);
    connection->part = connection->rest = NULL;
    connection->held = connection->unsent = 0;
}

static void put(struct connection *connection, const unsigned char *data, size_t size)
{
    ssize_t sent = 0;

    if (connection->state == LOST)
        return;
    if (connection->unsent == 0) {
        sent = send(connection->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN) {
            lose(connection);
            return;
        }
        sent = sent < 0 ? 0 : sent;
    }
    if ((size_t)sent == size)
        return;
    if (connection->unsent == 0)
        interest(connection, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    connection->rest = grown(connection->rest, connection->unsent + size - sent);
    memcpy(connection->rest + connection->unsent, data + sent, size - sent);
    connection->unsent += size - sent;
}

static void writable(struct connection *connection)
{
    ssize_t sent = send(connection->fd, connection->rest, connection->unsent, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (sent < 0)
        return;
    connection->unsent -= sent;
    memmove(connection->rest, connection->rest + sent, connection->unsent);
    if (connection->unsent == 0)
        interest(connection, EPOLL_CTL_MOD, EPOLLIN);
}

static void put_frame(struct connection *connection, int opcode, const void *payload, size_t length)
{
    static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    static unsigned char out[ROOM + FRAME_HEAD];

    if (length <= ROOM)
        put(connection, out, frame_write(out, opcode, payload, length, mask));
}

void pool_send(struct connection *connection, const char *text, size_t length)
{
    put_frame(connection, TEXT, text, length);
}

/* The bytes that the handshake's answer takes; 0 when some are still to come, -1 when it is a refusal. */
static ssize_t shaken(struct connection *connection, unsigned char *data, size_t size)
{
    char *end = memmem(data, size, "\r\n\r\n", 4);
    const char *hello, *tab;

    if (end == NULL)
        return 0;
    *end = 0;
    if (strncmp((char *)data, "HTTP/1.1 101", 12) || !strstr((char *)data, ACCEPT))
        return -1;
    connection->state = GREETING;
    for (hello = opening.hello_count ? opening.hellos[connection->index % opening.hello_count] : NULL; hello;
         hello = tab ? tab + 1 : NULL) {
        tab = strchr(hello, '\t');
        pool_send(connection, hello, tab ? (size_t)(tab - hello) : strlen(hello));
    }
    return end + 4 - (char *)data;
}

static void greeted(struct connection *connection, const char *text, size_t length)
{
    const char *ready = opening.ready;

    if (ready && length >= strlen(ready) && memcmp(text, ready, strlen(ready)) == 0)
        connection->greetings++;
    if (connection->state == GREETING && (ready == NULL || connection->greetings >= opening.greetings)) {
        connection->state = READY;
        groups[connection->group].ready++;
    }
}

static void framed(struct connection *connection, const struct frame *frame)
{
    if (frame->opcode == PING)
        put_frame(connection, PONG, frame->payload, frame->length);
    else if (frame->opcode == CLOSE || !frame->final)
        lose(connection); /* Nothing here sends fragments; one counts as a broken server. */
    else if (frame->opcode != PONG && connection->state == READY)
        pool_heard(connection, (char *)frame->payload, frame->length);
    else if (frame->opcode != PONG)
        greeted(connection, (char *)frame->payload, frame->length);
}

static size_t parse(struct connection *connection, unsigned char *data, size_t size)
{
    struct frame frame;
    size_t used = 0, step;

    if (connection->state == SHAKING) {
        ssize_t head = shaken(connection, data, size);
        if (head < 0)
            lose(connection);
        if (head <= 0)
            return 0;
        used = head;
        if (opening.ready == NULL)
            greeted(connection, "", 0);
    }
    while (connection->state != LOST && (step = frame_read(data + used, size - used, &frame)) > 0) {
        framed(connection, &frame);
        used += step;
    }
    return used;
}

static void readable(struct connection *connection)
{
    size_t held = connection->held, size;
    ssize_t got;

    if (held)
        memcpy(buffer, connection->part, held);
    got = recv(connection->fd, buffer + held, ROOM - held, MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            lose(connection);
        return;
    }
    size = held + got;
    held = size - parse(connection, buffer, size);
    if (connection->state == LOST)
        return;
    if (held == ROOM) {
        lose(connection);
    } else if (held) {
        connection->part = grown(connection->part, held);
        memcpy(connection->part, buffer + size - held, held);
    }
    connection->held = held;
}

static void connected(struct connection *connection)
{
    char path[512], request[1024];
    const char *item = strstr(opening.path, "$I");
    int error = 0, length;
    socklen_t size = sizeof error;

    getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        lose(connection);
        return;
    }
    snprintf(path, sizeof path, "%s", opening.path);
    if (item)
        snprintf(path, sizeof path, "%.*s%03d%s", (int)(item - opening.path), opening.path,
                 connection->index % opening.items, item + 2);
    length = snprintf(request, sizeof request,
                      "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n%s%s%s\r\n",
                      path, ntohs(server.sin_port), opening.protocol ? "Sec-WebSocket-Protocol: " : "",
                      opening.protocol ? opening.protocol : "", opening.protocol ? "\r\n" : "");
    connection->state = SHAKING;
    interest(connection, EPOLL_CTL_MOD, EPOLLIN);
    put(connection, (unsigned char *)request, length);
}

static void start(struct connection *connection)
{
    struct sockaddr_in source = {.sin_family = AF_INET};
    int yes = 1;

    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0) {
        connection->state = LOST;
        groups[connection->group].lost++;
        return;
    }
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + connection->index % SOURCES);
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (opening.buffer)
        setsockopt(connection->fd, SOL_SOCKET, SO_RCVBUF, &opening.buffer, sizeof opening.buffer);
    setsockopt(connection->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    bind(connection->fd, (struct sockaddr *)&source, sizeof source);
    interest(connection, EPOLL_CTL_ADD, EPOLLOUT);
    if (connect(connection->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS)
        lose(connection);
}

void pool_open(int number, const struct opening *how)
{
    struct group *group = &groups[number];
    double deadline = pool_now() + how->timeout;
    int started = 0;

    pool_close(number);
    opening = *how;
    group->members = grown(NULL, how->count * sizeof *group->members);
    memset(group->members, 0, how->count * sizeof *group->members);
    group->count = how->count;
    while (group->ready + group->lost < how->count && pool_now() < deadline) {
        for (; started < how->count && started - group->ready - group->lost < how->window; started++) {
            group->members[started].group = number;
            group->members[started].index = started;
            start(&group->members[started]);
        }
        pool_turn(0.01);
    }
    for (; started < how->count; started++) { /* Out of time: these were never tried. */
        group->members[started].state = LOST;
        group->lost++;
    }
}

void pool_close(int number)
{
    struct group *group = &groups[number];

    for (int i = 0; i < group->count; i++)
        lose(&group->members[i]);
    free(group->members);
    memset(group, 0, sizeof *group);
}

void pool_listen(int number, int yes)
{
    struct group *group = &groups[number];

    for (int i = 0; i < group->count; i++)
        if (group->members[i].state != LOST)
            interest(&group->members[i], yes ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, EPOLLIN);
}

/* Epoll itself waits in whole milliseconds. */
static int wait_for_events(struct epoll_event *events, double seconds)
{
    if (seconds < 0.01) {
        struct timespec limit = {0, (long)(seconds * 1e9)};
        struct pollfd poll = {.fd = poller, .events = POLLIN};
        if (ppoll(&poll, 1, &limit, NULL) <= 0)
            return 0;
        seconds = 0;
    }
    return epoll_wait(poller, events, BATCH, (int)(seconds * 1000));
}

static int handle(const struct epoll_event *events, int count)
{
    int input = 0;

    for (int i = 0; i < count; i++) {
        struct connection *connection = events[i].data.ptr;
        if (connection == NULL) {
            input = 1;
        } else if (connection->state == CONNECTING) {
            connected(connection);
        } else if (connection->state != LOST) {
            if (events[i].events & EPOLLOUT)
                writable(connection);
            if (connection->state != LOST && events[i].events & ~EPOLLOUT)
                readable(connection);
        }
    }
    return input;
}

int pool_turn(double seconds)
{
    struct epoll_event events[BATCH];
    int count = wait_for_events(events, seconds), input = handle(events, count);

    while (count == BATCH) {
        count = epoll_wait(poller, events, BATCH, 0);
        input |= handle(events, count);
    }
    return input;
}

int pool_nap(double seconds)
{
    struct timespec pause = {0, (long)(seconds * 1e9)};

    nanosleep(&pause, NULL);
    return pool_turn(0);
}
