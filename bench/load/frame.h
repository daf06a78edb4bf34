/* WebSocket frames (RFC 6455, section 5.2), as far as the bench needs them: shared by the load generator and the send()
 * loop. Does not depend on sockets. */
#ifndef BENCH_FRAME_H
#define BENCH_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { TEXT = 0x1, BINARY = 0x2, CLOSE = 0x8, PING = 0x9, PONG = 0xA };
enum { MAX_HEADER = 14 };

struct frame {
    int final, opcode;
    const unsigned char *mask; /* NULL for an unmasked frame */
    unsigned char *payload;
    size_t length;
};

/* Reads the frame that data starts with. Returns its size with the header; 0 when it is incomplete. */
static size_t frame_read(unsigned char *data, size_t size, struct frame *frame)
{
    size_t head = 2, length;

    if (size < 2)
        return 0;
    length = data[1] & 0x7f;
    if (length == 126) {
        head = 4;
        if (size < head)
            return 0;
        length = (size_t)data[2] << 8 | data[3];
    } else if (length == 127) {
        head = 10;
        if (size < head)
            return 0;
        length = 0;
        for (int i = 2; i < 10; i++)
            length = length << 8 | data[i];
    }
    frame->mask = NULL;
    if (data[1] & 0x80) {
        frame->mask = data + head;
        head += 4;
    }
    if (size < head || size - head < length)
        return 0;
    frame->final = data[0] >> 7;
    frame->opcode = data[0] & 0x0f;
    frame->payload = data + head;
    frame->length = length;
    return head + length;
}

/* Writes a final frame to out, which has room for MAX_HEADER more bytes than the payload. Returns the frame's size. */
static size_t frame_write(unsigned char *out, int opcode, const void *payload, size_t length,
                          const unsigned char *mask)
{
    size_t at = 0;

    out[at++] = 0x80 | opcode;
    if (length < 126) {
        out[at++] = length;
    } else if (length < 65536) {
        out[at++] = 126;
        out[at++] = length >> 8;
        out[at++] = length & 0xff;
    } else {
        out[at++] = 127;
        for (int shift = 56; shift >= 0; shift -= 8)
            out[at++] = (uint64_t)length >> shift & 0xff;
    }
    if (mask == NULL) {
        memcpy(out + at, payload, length);
        return at + length;
    }
    out[1] |= 0x80;
    memcpy(out + at, mask, 4);
    at += 4;
    for (size_t i = 0; i < length; i++)
        out[at + i] = ((const unsigned char *)payload)[i] ^ mask[i & 3];
    return at + length;
}

#endif
