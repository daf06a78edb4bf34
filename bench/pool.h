/* Many WebSocket connections to one server, driven by one epoll. */
#ifndef BENCH_POOL_H
#define BENCH_POOL_H

#include <stddef.h>
#include <stdint.h>

/* Groups differ in what the commands do with them; the last two are watchers that stop reading, for good or for a while. */
enum { WATCHERS, SENDERS, STOPPED, AWAY, GROUPS };
enum state { CONNECTING, SHAKING, GREETING, READY, LOST };

struct connection {
    int fd, group, index, greetings;
    enum state state;
    unsigned sent, flight, seen; /* for the commands: messages sent ever, unanswered ones, updates in this command */
    uint64_t version;            /* the highest one shown */
    size_t held, unsent;
    unsigned char *part, *rest; /* half a frame received; what the kernel did not take */
};

struct group {
    int count, ready, lost;
    struct connection *members;
};

/* How the connections of a group are opened. Strings outlive the call of pool_open only. */
struct opening {
    int count, items, window, buffer; /* buffer: of the kernel, for what was not read yet; 0 leaves it to the kernel */
    const char *path;     /* "$I" in it becomes the number of an item */
    const char *protocol; /* offered subprotocol, or NULL */
    char **hellos;        /* one a connection, in turn: the messages to send first, with tabs between them */
    int hello_count;
    const char *ready; /* a connection is ready when so many messages that start so have come; NULL: at once */
    int greetings;
    double timeout;
};

extern struct group groups[GROUPS];

/* Called with every whole message of a connection that is ready. */
extern void (*pool_heard)(struct connection *, const char *text, size_t length);

void pool_start(const char *host, int port);
void pool_open(int group, const struct opening *how);
void pool_close(int group);

/* Read what comes on the connections of a group, or leave it to the kernel. */
void pool_listen(int group, int yes);

/* Handle what happens on the connections within so many seconds; returns early when something did.
 * True when standard input has something. */
int pool_turn(double seconds);

/* The same after so many seconds without a look. A reader that waits for every frame is woken for every frame, and it is
 * the sender whose CPU pays for that on a loopback; readers on other machines cost a server nothing of the kind. */
int pool_nap(double seconds);

void pool_send(struct connection *connection, const char *text, size_t length);
double pool_now(void);

#endif
