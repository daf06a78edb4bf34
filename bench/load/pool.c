/* A pool of WebSocket connections to one server, on one epoll.
 *
 * Owns sockets, the opening handshake and frames in both directions. Does not depend on what messages mean: those of a
 * ready connection go to a callback. Clients must be cheaper than the server they load: a frame costs one recv() and no
 * copy, and bytes are kept only while a frame is incomplete.
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

#include "frame.h"

/* A fixed key has a fixed answer; both are those of RFC 6455, section 1.3. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

/* One source address has about 28,000 ports to one server; several let runs follow one another without a wait. */
enum { SOURCES = 16, MAX_EVENTS = 1024, BUFFER_SIZE = 256 * 1024 };

struct group groups[GROUPS];

static on_message *message_callback;
static struct sockaddr_in server;
static struct connect_options options;
static int poller;
static unsigned char buffer[BUFFER_SIZE];

static void *reallocate(void *memory, size_t size)
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

void pool_start(const char *host, int port, on_message *callback)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

    message_callback = callback;
    server.sin_family = AF_INET;
    server.sin_port = htons(port);
    inet_pton(AF_INET, host, &server.sin_addr);
    poller = epoll_create1(0);
    epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event);
}

static void set_events(struct connection *connection, int operation, unsigned events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};

    epoll_ctl(poller, operation, connection->fd, &event);
}

static void lose(struct connection *connection)
{
    struct linger reset = {1, 0};
    struct group *group = &groups[connection->group];

    if (connection->state == LOST)
        return;
    if (connection->state == READY)
        group->ready--;
    group->lost++;
    connection->state = LOST;
    /* A reset: no TIME_WAIT that the next round would run into. */
    setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(connection->fd);
    free(connection->incomplete);
    free(connection->pending);
    connection->incomplete = connection->pending = NULL;
    connection->held = connection->unsent = 0;
}

static void write_bytes(struct connection *connection, const unsigned char *data, size_t size)
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
        set_events(connection, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    connection->pending = reallocate(connection->pending, connection->unsent + size - sent);
    memcpy(connection->pending + connection->unsent, data + sent, size - sent);
    connection->unsent += size - sent;
}

static void on_writable(struct connection *connection)
{
    ssize_t sent = send(connection->fd, connection->pending, connection->unsent, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (sent < 0)
        return;
    connection->unsent -= sent;
    memmove(connection->pending, connection->pending + sent, connection->unsent);
    if (connection->unsent == 0)
        set_events(connection, EPOLL_CTL_MOD, EPOLLIN);
}

static void write_frame(struct connection *connection, int opcode, const void *payload, size_t length)
{
    static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    static unsigned char out[BUFFER_SIZE + MAX_HEADER];

    if (length <= BUFFER_SIZE)
        write_bytes(connection, out, frame_write(out, opcode, payload, length, mask));
}

void pool_send(struct connection *connection, const char *text, size_t length)
{
    write_frame(connection, TEXT, text, length);
}

/* Returns the bytes that the response takes; 0 when some are still to come, -1 when it is a refusal. */
static ssize_t parse_handshake(struct connection *connection, unsigned char *data, size_t size)
{
    char *end = memmem(data, size, "\r\n\r\n", 4);
    const char *message, *tab;

    if (end == NULL)
        return 0;
    *end = 0;
    if (strncmp((char *)data, "HTTP/1.1 101", 12) || !strstr((char *)data, ACCEPT))
        return -1;
    connection->state = SETUP;
    for (message = options.first_message_count ? options.first_messages[connection->index % options.first_message_count] : NULL; message;
         message = tab ? tab + 1 : NULL) {
        tab = strchr(message, '\t');
        pool_send(connection, message, tab ? (size_t)(tab - message) : strlen(message));
    }
    return end + 4 - (char *)data;
}

static void on_setup_message(struct connection *connection, const char *text, size_t length)
{
    const char *ready = options.ready;

    if (ready && length >= strlen(ready) && memcmp(text, ready, strlen(ready)) == 0)
        connection->ready_messages++;
    if (connection->state == SETUP && (ready == NULL || connection->ready_messages >= options.ready_count)) {
        connection->state = READY;
        groups[connection->group].ready++;
    }
}

static void on_frame(struct connection *connection, const struct frame *frame)
{
    if (frame->opcode == PING)
        write_frame(connection, PONG, frame->payload, frame->length);
    else if (frame->opcode == CLOSE || !frame->final)
        lose(connection); /* No contender sends fragments. */
    else if (frame->opcode != PONG && connection->state == READY)
        message_callback(connection, (char *)frame->payload, frame->length);
    else if (frame->opcode != PONG)
        on_setup_message(connection, (char *)frame->payload, frame->length);
}

static size_t parse(struct connection *connection, unsigned char *data, size_t size)
{
    struct frame frame;
    size_t used = 0, step;

    if (connection->state == HANDSHAKE) {
        ssize_t head = parse_handshake(connection, data, size);
        if (head < 0)
            lose(connection);
        if (head <= 0)
            return 0;
        used = head;
        if (options.ready == NULL)
            on_setup_message(connection, "", 0);
    }
    while (connection->state != LOST && (step = frame_read(data + used, size - used, &frame)) > 0) {
        on_frame(connection, &frame);
        used += step;
    }
    return used;
}

static void on_readable(struct connection *connection)
{
    size_t held = connection->held, size;
    ssize_t received;

    if (held)
        memcpy(buffer, connection->incomplete, held);
    received = recv(connection->fd, buffer + held, BUFFER_SIZE - held, MSG_DONTWAIT);
    if (received <= 0) {
        if (received == 0 || errno != EAGAIN)
            lose(connection);
        return;
    }
    size = held + received;
    held = size - parse(connection, buffer, size);
    if (connection->state == LOST)
        return;
    if (held == BUFFER_SIZE) {
        lose(connection);
    } else if (held) {
        connection->incomplete = reallocate(connection->incomplete, held);
        memcpy(connection->incomplete, buffer + size - held, held);
    }
    connection->held = held;
}

static void on_connected(struct connection *connection)
{
    char path[512], request[1024];
    const char *item = strstr(options.path, "$I");
    int error = 0, length;
    socklen_t size = sizeof error;

    getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        lose(connection);
        return;
    }
    snprintf(path, sizeof path, "%s", options.path);
    if (item)
        snprintf(path, sizeof path, "%.*s%03d%s", (int)(item - options.path), options.path,
                 connection->index % options.items, item + 2);
    length = snprintf(request, sizeof request,
                      "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n%s%s%s\r\n",
                      path, ntohs(server.sin_port), options.protocol ? "Sec-WebSocket-Protocol: " : "",
                      options.protocol ? options.protocol : "", options.protocol ? "\r\n" : "");
    connection->state = HANDSHAKE;
    set_events(connection, EPOLL_CTL_MOD, EPOLLIN);
    write_bytes(connection, (unsigned char *)request, length);
}

static void connect_one(struct connection *connection)
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
    if (options.receive_buffer)
        setsockopt(connection->fd, SOL_SOCKET, SO_RCVBUF, &options.receive_buffer, sizeof options.receive_buffer);
    setsockopt(connection->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    bind(connection->fd, (struct sockaddr *)&source, sizeof source);
    set_events(connection, EPOLL_CTL_ADD, EPOLLOUT);
    if (connect(connection->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS)
        lose(connection);
}

void pool_connect(int number, const struct connect_options *wanted)
{
    struct group *group = &groups[number];
    double deadline = pool_now() + wanted->timeout;
    int started = 0;

    pool_disconnect(number);
    options = *wanted;
    group->members = reallocate(NULL, wanted->count * sizeof *group->members);
    memset(group->members, 0, wanted->count * sizeof *group->members);
    group->count = wanted->count;
    while (group->ready + group->lost < wanted->count && pool_now() < deadline) {
        for (; started < wanted->count && started - group->ready - group->lost < wanted->concurrency; started++) {
            group->members[started].group = number;
            group->members[started].index = started;
            connect_one(&group->members[started]);
        }
        pool_poll(0.01);
    }
    for (; started < wanted->count; started++) { /* Out of time. */
        group->members[started].state = LOST;
        group->lost++;
    }
}

void pool_disconnect(int number)
{
    struct group *group = &groups[number];

    for (int i = 0; i < group->count; i++)
        lose(&group->members[i]);
    free(group->members);
    memset(group, 0, sizeof *group);
}

void pool_read(int number, int reading)
{
    struct group *group = &groups[number];

    for (int i = 0; i < group->count; i++)
        if (group->members[i].state != LOST)
            set_events(&group->members[i], reading ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, EPOLLIN);
}

/* Waits with ppoll() where epoll_wait(), which counts in milliseconds, is too coarse. */
static int wait_for_events(struct epoll_event *events, double seconds)
{
    if (seconds < 0.01) {
        struct timespec limit = {0, (long)(seconds * 1e9)};
        struct pollfd poll = {.fd = poller, .events = POLLIN};
        if (ppoll(&poll, 1, &limit, NULL) <= 0)
            return 0;
        seconds = 0;
    }
    return epoll_wait(poller, events, MAX_EVENTS, (int)(seconds * 1000));
}

static int handle_events(const struct epoll_event *events, int count)
{
    int input = 0;

    for (int i = 0; i < count; i++) {
        struct connection *connection = events[i].data.ptr;
        if (connection == NULL) {
            input = 1;
        } else if (connection->state == CONNECTING) {
            on_connected(connection);
        } else if (connection->state != LOST) {
            if (events[i].events & EPOLLOUT)
                on_writable(connection);
            if (connection->state != LOST && events[i].events & ~EPOLLOUT)
                on_readable(connection);
        }
    }
    return input;
}

int pool_poll(double seconds)
{
    struct epoll_event events[MAX_EVENTS];
    int count = wait_for_events(events, seconds), input = handle_events(events, count);

    while (count == MAX_EVENTS) {
        count = epoll_wait(poller, events, MAX_EVENTS, 0);
        input |= handle_events(events, count);
    }
    return input;
}

int pool_poll_after(double seconds)
{
    struct timespec pause = {0, (long)(seconds * 1e9)};

    nanosleep(&pause, NULL);
    return pool_poll(0);
}
