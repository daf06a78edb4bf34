/* The words of a command, and the few things that are read out of messages. */
#ifndef BENCH_WORDS_H
#define BENCH_WORDS_H

#include <stddef.h>
#include <stdint.h>

/* Take a line apart at its tabs; the first word. It stays in use until the next call. */
const char *words_split(char *line);

/* What the command says of a key: key=value. NULL, or the other number, when it says nothing. */
const char *text_of(const char *key);
double number_of(const char *key, double otherwise);

/* The whole number that follows a name in a message; 0 when there is none. */
uint64_t field_of(const char *text, size_t length, const char *name);

/* The lines of a file, without their ends. */
char **lines_of(const char *path, int *count);

#endif
