/* The floor: a bare send() loop.
 *
 * Owns nothing but what no server can do without: accept, the opening handshake, one prepared frame, and one send()
 * a socket. A connection joins the group named by "item=" in its request; a text message "<group>|<payload>" sends
 * the payload to the whole group. No flow control, no timeouts, no mercy: not a server, a lower bound.
 *
 * Usage: floor <port>
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

#include "../wire.h"

enum { MOST = 65536, GROUPS = 4096, NAME = 64, BATCH = 1024, ROOM = 65536 };

struct connection {
    int open, group, place;
    size_t held; /* a request or frame of which some is still to come */
    unsigned char *part;
};

struct group {
    char name[NAME];
    int count, room, *members;
};

static struct connection connections[MOST];
static struct group groups[GROUPS];
static int group_count, poller;
static unsigned char buffer[ROOM];

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

/* Sec-WebSocket-Accept (RFC 6455, section 4.2.2) of a key of 24 characters, into 28 characters and a NUL. */
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
    if (length == 0 || length >= NAME)
        return -1;
    for (int i = 0; i < group_count; i++)
        if (strlen(groups[i].name) == length && memcmp(groups[i].name, name, length) == 0)
            return i;
    if (group_count == GROUPS)
        return -1;
    memcpy(groups[group_count].name, name, length);
    return group_count++;
}

static void join(int fd, int number)
{
    struct group *group = &groups[number];

    if (group->count == group->room) {
        group->room = group->room ? 2 * group->room : 8;
        group->members = realloc(group->members, group->room * sizeof *group->members);
        if (group->members == NULL)
            exit(1);
    }
    connections[fd].place = group->count;
    group->members[group->count++] = fd;
}

static void end(int fd)
{
    struct connection *connection = &connections[fd];

    if (connection->group >= 0) {
        struct group *group = &groups[connection->group];
        int last = group->members[--group->count];
        group->members[connection->place] = last;
        connections[last].place = connection->place;
    }
    free(connection->part);
    memset(connection, 0, sizeof *connection);
    close(fd);
}

static void broadcast(int number, const unsigned char *payload, size_t length)
{
    static unsigned char out[ROOM + FRAME_HEAD];
    size_t size = frame_write(out, TEXT, payload, length, NULL);
    struct group *group = &groups[number];

    for (int i = 0; i < group->count; i++)
        send(group->members[i], out, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void message(unsigned char *text, size_t length)
{
    unsigned char *bar = memchr(text, '|', length);
    int number = bar ? group_named((char *)text, bar - text) : -1;

    if (number >= 0)
        broadcast(number, bar + 1, text + length - bar - 1);
}

/* What of the bytes was used; -1 ends the connection. */
static ssize_t handshake(int fd, unsigned char *data, size_t size)
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

static ssize_t frames(unsigned char *data, size_t size)
{
    struct frame frame;
    size_t used = 0, step;

    while ((step = frame_read(data + used, size - used, &frame)) > 0) {
        if (frame.opcode == CLOSE)
            return -1;
        for (size_t i = 0; frame.mask && i < frame.length; i++)
            frame.payload[i] ^= frame.mask[i & 3];
        if (frame.opcode == TEXT)
            message(frame.payload, frame.length);
        used += step;
    }
    return used;
}

static void readable(int fd)
{
    struct connection *connection = &connections[fd];
    ssize_t got, used = 0, step = 1;
    size_t size;

    if (connection->held)
        memcpy(buffer, connection->part, connection->held);
    got = recv(fd, buffer + connection->held, ROOM - connection->held, MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            end(fd);
        return;
    }
    size = connection->held + got;
    free(connection->part);
    connection->part = NULL;
    while (step > 0 && used < (ssize_t)size) {
        step = connection->open ? frames(buffer + used, size - used) : handshake(fd, buffer, size);
        used += step > 0 ? step : 0;
    }
    connection->held = size - used;
    if (step < 0 || connection->held == ROOM) {
        end(fd);
    } else if (connection->held) {
        connection->part = malloc(connection->held);
        if (connection->part == NULL)
            exit(1);
        memcpy(connection->part, buffer + used, connection->held);
    }
}

static void accept_all(int listener)
{
    int fd, yes = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (fd >= MOST) {
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
    struct epoll_event events[BATCH], event = {.events = EPOLLIN};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;

    if (count != 2)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    address.sin_port = htons(atoi(arguments[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
        perror("floor");
        return 1;
    }
    poller = epoll_create1(0);
    event.data.fd = listener;
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poller, events, BATCH, -1);
        for (int i = 0; i < ready; i++)
            if (events[i].data.fd == listener)
                accept_all(listener);
            else
                readable(events[i].data.fd);
    }
}
