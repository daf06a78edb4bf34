/* The arguments of a command, and fields of messages. */
#ifndef BENCH_COMMAND_LINE_H
#define BENCH_COMMAND_LINE_H

#include <stddef.h>
#include <stdint.h>

/* Splits a line at its tabs and returns the first word, the command. The line stays in use until the next call. */
const char *command_parse(char *line);

/* The value of an argument (key=value); NULL or the default when the command does not have it. */
const char *argument(const char *key);
double number_argument(const char *key, double otherwise);

/* The unsigned integer that follows a name in a message; 0 when the name is missing. */
uint64_t message_field(const char *text, size_t length, const char *name);

/* The lines of a file, without line ends; the caller frees each line and the array. */
char **read_lines(const char *path, int *count);

#endif
