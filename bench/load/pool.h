/* A pool of WebSocket connections to one server, on one epoll. */
#ifndef BENCH_POOL_H
#define BENCH_POOL_H

#include <stddef.h>
#include <stdint.h>

/* Groups differ in what the commands do with them. The last two watch as well, and stop reading: for good, or for a while. */
enum { WATCHERS, SENDERS, STALLED, RETURNING, GROUPS };
enum state { CONNECTING, HANDSHAKE, SETUP, READY, LOST };

struct connection {
    int fd, group, index;
    int ready_messages; /* received so far, of those that make it ready */
    enum state state;
    unsigned sent, in_flight, updates; /* messages sent ever, those without a reply; updates in this command */
    uint64_t version;                  /* of the newest update */
    size_t held, unsent;
    unsigned char *incomplete, *pending; /* part of a frame received; bytes that the kernel did not take */
};

struct group {
    int count, ready, lost;
    struct connection *members;
};

/* How the connections of a group are opened. Strings must live until all are ready. */
struct connect_options {
    int count, items;
    int concurrency;       /* connections that are being set up at a time, at most */
    int receive_buffer;    /* of the kernel (bytes); 0: the kernel's default */
    const char *path;      /* "$I" in it becomes the number of an item */
    const char *protocol;  /* offered subprotocol, or NULL */
    char **first_messages; /* one entry a connection, in turn: the messages to send first, separated by tabs */
    int first_message_count;
    const char *ready; /* prefix of the messages that make a connection ready; NULL: the handshake does */
    int ready_count;   /* how many such messages it takes */
    double timeout;    /* s */
};

extern struct group groups[GROUPS];

/* Called with every whole message of a connection that is ready. */
typedef void on_message(struct connection *, const char *text, size_t length);

void pool_start(const char *host, int port, on_message *callback);
/* Opens the connections of a group, in place of those that it has. */
void pool_connect(int group, const struct connect_options *options);
void pool_disconnect(int group);

/* Reads what arrives on the connections of a group, or leaves it to the kernel. */
void pool_read(int group, int reading);

/* Handles the events of at most so many seconds; returns early when there were some.
 * Returns true when standard input is readable. */
int pool_poll(double seconds);

/* Sleeps, and then handles the events so far. A reader that waits for every frame is woken for every frame, and on loopback
 * it is the sender whose CPU pays for that; readers on other machines cost a server nothing of the kind. */
int pool_poll_after(double seconds);

void pool_send(struct connection *connection, const char *text, size_t length);
/* The monotonic time (s). */
double pool_now(void);

#endif
