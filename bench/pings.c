/* From when a ping was due to its answer.
 *
 * Owns the notes of the pings under way, and their evaluation afterwards. Must not know sockets.
 */
#include "pings.h"

#include <stdio.h>
#include <stdlib.h>

static double *late; /* when each was due, and from its answer on how long that took */
static unsigned first, count, room;

void pings_start(unsigned number)
{
    first = number;
    count = 0;
}

void pings_due(double at)
{
    if (count == room) {
        room = room ? 2 * room : 1024;
        late = realloc(late, room * sizeof *late);
        if (late == NULL)
            exit(1);
    }
    late[count++] = at;
}

void pings_answered(unsigned number, double at)
{
    if (number - first < count)
        late[number - first] = at - late[number - first];
}

static int by_size(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return a < b ? -1 : a > b;
}

void pings_print(void)
{
    if (count == 0)
        return;
    qsort(late, count, sizeof *late, by_size);
    printf("\"p50\":%.6f,\"p99\":%.6f,\"max\":%.6f,", late[count / 2], late[(size_t)(count * 0.99)],
           late[count - 1]);
}

void pings_end(void)
{
    free(late);
    late = NULL;
    count = room = 0;
}
