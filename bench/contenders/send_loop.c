/* A bare send() loop: the lower bound of what a broadcast costs.
 *
 * Does only what no server can do without: accept, the opening handshake, one prepared frame, and one send() a socket. A
 * connection joins the group named by "item=" in its request; a text message "<group>|<payload>" sends the payload to the
 * whole group. It has no flow control and no timeouts.
 *
 * Usage: send_loop <port>
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../load/frame.h"

enum { MAX_CONNECTIONS = 65536, MAX_GROUPS = 4096, MAX_NAME = 64, MAX_EVENTS = 1024, BUFFER_SIZE = 65536 };

struct connection {
    int open, group, index;
    size_t held;
    unsigned char *incomplete; /* part of a request or frame */
};

struct group {
    char name[MAX_NAME];
    int count, capacity, *members;
};

static struct connection connections[MAX_CONNECTIONS];
static struct group groups[MAX_GROUPS];
static int group_count, poller;
static unsigned char buffer[BUFFER_SIZE];

static uint32_t rotate(uint32_t x, int by) { return x << by | x >> (32 - by); }

static void sha1_block(uint32_t state[5], const unsigned char *block)
{
    uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];

    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | block[4 * i + 1] << 16 | block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20 ? (b & c) | (~b & d) : i < 40 ? b ^ c ^ d : i < 60 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
        uint32_t k = i < 20 ? 0x5a827999 : i < 40 ? 0x6ed9eba1 : i < 60 ? 0x8f1bbcdc : 0xca62c1d6;
        uint32_t next = rotate(a, 5) + f + e + k + w[i];
        e = d, d = c, c = rotate(b, 30), b = a, a = next;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

/* Writes the Sec-WebSocket-Accept (RFC 6455, section 4.2.2) of a key of 24 characters: 28 characters and a NUL. */
static void accept_key(const char *key, char *out)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    unsigned char text[128] = {0}, digest[21] = {0};

    memcpy(text, key, 24);
    memcpy(text + 24, guid, 36);
    text[60] = 0x80;
    text[126] = 60 * 8 >> 8, text[127] = 60 * 8 & 0xff;
    sha1_block(state, text);
    sha1_block(state, text + 64);
    for (int i = 0; i < 20; i++)
        digest[i] = state[i / 4] >> (24 - 8 * (i % 4));
    for (int i = 0; i < 7; i++, out += 4) {
        uint32_t three = (uint32_t)digest[3 * i] << 16 | digest[3 * i + 1] << 8 | digest[3 * i + 2];
        for (int j = 0; j < 4; j++)
            out[j] = digits[three >> (18 - 6 * j) & 63];
    }
    out[-1] = '=', out[0] = 0;
}

static int group_named(const char *name, size_t length)
{
    if (length == 0 || length >= MAX_NAME)
        return -1;
    for (int i = 0; i < group_count; i++)
        if (strlen(groups[i].name) == length && memcmp(groups[i].name, name, length) == 0)
            return i;
    if (group_count == MAX_GROUPS)
        return -1;
    memcpy(groups[group_count].name, name, length);
    return group_count++;
}

static void join(int fd, int number)
{
    struct group *group = &groups[number];

    if (group->count == group->capacity) {
        group->capacity = group->capacity ? 2 * group->capacity : 8;
        group->members = realloc(group->members, group->capacity * sizeof *group->members);
        if (group->members == NULL)
            exit(1);
    }
    connections[fd].index = group->count;
    group->members[group->count++] = fd;
}

static void disconnect(int fd)
{
    struct connection *connection = &connections[fd];

    if (connection->group >= 0) {
        struct group *group = &groups[connection->group];
        int last = group->members[--group->count];
        group->members[connection->index] = last;
        connections[last].index = connection->index;
    }
    free(connection->incomplete);
    memset(connection, 0, sizeof *connection);
    close(fd);
}

static void broadcast(int number, const unsigned char *payload, size_t length)
{
    static unsigned char out[BUFFER_SIZE + MAX_HEADER];
    size_t size = frame_write(out, TEXT, payload, length, NULL);
    struct group *group = &groups[number];

    for (int i = 0; i < group->count; i++)
        send(group->members[i], out, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void on_message(unsigned char *text, size_t length)
{
    unsigned char *bar = memchr(text, '|', length);
    int number = bar ? group_named((char *)text, bar - text) : -1;

    if (number >= 0)
        broadcast(number, bar + 1, text + length - bar - 1);
}

/* Returns how many bytes were consumed; -1 closes the connection. */
static ssize_t parse_handshake(int fd, unsigned char *data, size_t size)
{
    char answer[256], accepted[32], *head = (char *)data;
    char *last = memmem(data, size, "\r\n\r\n", 4), *key, *item, *line;
    int length;

    if (last == NULL)
        return 0;
    *last = 0;
    key = strcasestr(head, "\r\nsec-websocket-key: ");
    line = strstr(head, "\r\n");
    if (key == NULL || line == NULL || last - key < 21 + 24)
        return -1;
    accept_key(key + 21, accepted);
    length = snprintf(answer, sizeof answer,
                      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Accept: %s\r\n\r\n", accepted);
    if (send(fd, answer, length, MSG_NOSIGNAL) != length)
        return -1;
    *line = 0;
    item = strstr(head, "item=");
    connections[fd].open = 1;
    connections[fd].group = item ? group_named(item + 5, strcspn(item + 5, " &")) : -1;
    if (connections[fd].group >= 0)
        join(fd, connections[fd].group);
    return last + 4 - head;
}

static ssize_t parse_frames(unsigned char *data, size_t size)
{
    struct frame frame;
    size_t consumed = 0, step;

    while ((step = frame_read(data + consumed, size - consumed, &frame)) > 0) {
        if (frame.opcode == CLOSE)
            return -1;
        for (size_t i = 0; frame.mask && i < frame.length; i++)
            frame.payload[i] ^= frame.mask[i & 3];
        if (frame.opcode == TEXT)
            on_message(frame.payload, frame.length);
        consumed += step;
    }
    return consumed;
}

static void on_readable(int fd)
{
    struct connection *connection = &connections[fd];
    ssize_t received, consumed = 0, step = 1;
    size_t size;

    if (connection->held)
        memcpy(buffer, connection->incomplete, connection->held);
    received = recv(fd, buffer + connection->held, BUFFER_SIZE - connection->held, MSG_DONTWAIT);
    if (received <= 0) {
        if (received == 0 || errno != EAGAIN)
            disconnect(fd);
        return;
    }
    size = connection->held + received;
    free(connection->incomplete);
    connection->incomplete = NULL;
    while (step > 0 && consumed < (ssize_t)size) {
        step = connection->open ? parse_frames(buffer + consumed, size - consumed) : parse_handshake(fd, buffer, size);
        consumed += step > 0 ? step : 0;
    }
    connection->held = size - consumed;
    if (step < 0 || connection->held == BUFFER_SIZE) {
        disconnect(fd);
    } else if (connection->held) {
        connection->incomplete = malloc(connection->held);
        if (connection->incomplete == NULL)
            exit(1);
        memcpy(connection->incomplete, buffer + consumed, connection->held);
    }
}

static void accept_all(int listener)
{
    int fd, yes = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (fd >= MAX_CONNECTIONS) {
            close(fd);
            continue;
        }
        memset(&connections[fd], 0, sizeof connections[fd]);
        connections[fd].group = -1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(int count, char **arguments)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event events[MAX_EVENTS], event = {.events = EPOLLIN};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;

    if (count != 2)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    address.sin_port = htons(atoi(arguments[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
        perror("send_loop");
        return 1;
    }
    poller = epoll_create1(0);
    event.data.fd = listener;
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poller, events, MAX_EVENTS, -1);
        for (int i = 0; i < ready; i++)
            if (events[i].data.fd == listener)
                accept_all(listener);
            else
                on_readable(events[i].data.fd);
    }
}
