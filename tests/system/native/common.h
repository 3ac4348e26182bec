// SPDX-License-Identifier: GPL-2.0-only
// What the static test tools share: addresses, time, and giving up with a reason. They link
// statically on purpose: no preloaded library can see them, and they use plain system calls only.
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#pragma clang diagnostic ignored "-Wunused-function"

_Noreturn __attribute__((format(printf, 1, 2))) static void die(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(2);
}

static uint64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

struct target {
  struct sockaddr_storage address;
  socklen_t length;
};

/// `mapped`: an IPv4 address as ::ffff:a.b.c.d on an AF_INET6 socket.
static struct target parse_target(const char* host, int port, bool mapped) {
  struct target target;
  memset(&target, 0, sizeof target);
  struct sockaddr_in* v4 = (struct sockaddr_in*)&target.address;
  struct sockaddr_in6* v6 = (struct sockaddr_in6*)&target.address;
  char text[64];
  snprintf(text, sizeof text, "%s%s", mapped ? "::ffff:" : "", host);
  if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)port);
    target.length = sizeof *v4;
  } else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)port);
    target.length = sizeof *v6;
  } else {
    die("not an address: %s", text);
  }
  return target;
}

/// splitmix64: each value of the state gives one well mixed number.
static uint64_t mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15u;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

/// The byte at `offset` of the stream that `seed` names: any loss, repeat or swap shows.
static void fill_pattern(uint8_t* bytes, size_t count, uint64_t seed, uint64_t offset) {
  for (size_t i = 0; i < count;) {
    const uint64_t at = offset + i;
    uint64_t word = mix(seed ^ (at >> 3)) >> (8 * (at & 7));
    for (size_t rest = 8 - (at & 7); rest > 0 && i < count; rest--, i++, word >>= 8)
      bytes[i] = (uint8_t)word;
  }
}

/// The first offset that differs, or -1.
static int64_t check_pattern(const uint8_t* bytes, size_t count, uint64_t seed, uint64_t offset) {
  uint8_t expected[4096];
  for (size_t done = 0; done < count;) {
    const size_t part = count - done < sizeof expected ? count - done : sizeof expected;
    fill_pattern(expected, part, seed, offset + done);
    if (memcmp(expected, bytes + done, part) != 0) {
      for (size_t i = 0;; i++)
        if (expected[i] != bytes[done + i]) return (int64_t)(offset + done + i);
    }
    done += part;
  }
  return -1;
}

static void set_deadline(int fd, int seconds) {
  const struct timeval limit = {.tv_sec = seconds};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}
