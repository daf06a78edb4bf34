/* Load generator: opens WebSocket connections, sends messages, counts and times what arrives.
 *
 * It runs as a process of its own and costs much less CPU than any server that it measures.
 *
 * Usage: load <host> <port>, then one command a line on standard input: words separated by tabs, the command first, then
 * its arguments as key=value, those in brackets optional. The response to each is one line of JSON. Times are in seconds.
 * In messages and paths $I is the number of an item, $R alternates between "like" and "dislike", so that every message
 * changes something, and $N numbers the messages. "update", "reply" and "ready" are the prefixes of such messages.
 *
 *   connect      group count path [items concurrency protocol first_messages ready ready_count timeout receive_buffer]
 *                replaces the connections of the group; "concurrency" limits how many are set up at a time
 *   disconnect   group
 *   pause        group                                             stops reading
 *   broadcast    rounds messages message update [reply timeout]    in each round the first sender sends, and every watcher
 *                                                                  must have an update before the next round
 *   closed_loop  total message reply [items timeout]               each sender sends when it has its reply
 *   open_loop    rate seconds message reply update [items one_in latency timeout pause_at resume_at]
 *                senders send on schedule; with "one_in" every n-th message is for item 0, all others for item 1;
 *                RETURNING is not read between "pause_at" and "resume_at"
 *   ping         message reply [interval timeout]                  senders send on schedule until the next command
 *   collect      seconds                                           counts on from the command before
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command_line.h"
#include "commands.h"
#include "counters.h"
#include "pool.h"

enum { MAX_LINE = 65536 };

static const struct { const char *name; void (*run)(void); } commands[] = {
    {"connect", command_connect},
    {"disconnect", command_disconnect},
    {"pause", command_pause},
    {"broadcast", command_broadcast},
    {"closed_loop", command_closed_loop},
    {"open_loop", command_open_loop},
    {"ping", command_ping},
    {"collect", command_collect},
};

static void run(char *line)
{
    const char *name = command_parse(line);

    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, name))
            continue;
        if (commands[i].run != command_collect)
            counters_reset();
        printf("{");
        commands[i].run();
        counters_print();
        return;
    }
    fprintf(stderr, "load: unknown command: %s\n", name);
    exit(2);
}

int main(int count, char **arguments)
{
    static char line[MAX_LINE];
    size_t held = 0;

    if (count != 3)
        return 2;
    pool_start(arguments[1], atoi(arguments[2]), counters_message);
    for (;;) {
        char *end;
        ssize_t received;
        if (!pool_poll(1)) /* Between commands too, so that nothing piles up. */
            continue;
        received = read(STDIN_FILENO, line + held, sizeof line - held);
        if (received <= 0)
            return 0;
        held += received;
        while ((end = memchr(line, '\n', held)) != NULL) {
            *end++ = 0;
            run(line);
            held -= end - line;
            memmove(line, end, held);
        }
    }
}
