// SPDX-License-Identifier: GPL-2.0-only
// Bounded load on TCP, one thread and epoll, and the plain servers for it.
//
//   load echo PORT                 echoes on both families until end of input; prints "ready"
//   load zeros PORT BYTES          answers the first byte of each connection with BYTES zeros
//   load dial  [options] ADDRESS PORT    opens --count connections, --parallel at a time, sends one
//                                  byte on each and says what came of them
//   load hold  [options] ADDRESS PORT    opens --count connections, sends one byte on each, keeps
//                                  them; a line for each change; ends at end of input.
//                                  --deaf: never reads an answer
//   load ask   [options] ADDRESS PORT    --parallel connections ask and are answered (--size bytes
//                                  each way) for --seconds; says the rate, p50 and p99
// Options: --count N  --parallel N  --wait MS (for a connection or an answer)  --size N  --seconds
// N Results are one line of name=number pairs.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "common.h"

static struct {
  struct target target;
  unsigned count, parallel, size, seconds;
  uint64_t wait_us;
  bool deaf;
} options = {.count = 1000, .parallel = 64, .size = 1024, .seconds = 2, .wait_us = 2000000};

enum state { STATE_UNUSED, STATE_CONNECTING, STATE_ASKED, STATE_HELD };

struct connection {
  int fd;
  enum state state;
  uint64_t since;
  unsigned received;
};

static struct {
  unsigned connected, answered, refused, reset, ended, timed_out, failed;
} tally;

static int epoll_fd;

static void watch(int fd, uint32_t events, void* data, int operation) {
  struct epoll_event event = {.events = events, .data.ptr = data};
  epoll_ctl(epoll_fd, operation, fd, &event);
}

static void print_tally(const char* head, unsigned live) {
  printf(
      "%s live=%u connected=%u answered=%u refused=%u reset=%u ended=%u timed_out=%u failed=%u\n",
      head, live, tally.connected, tally.answered, tally.refused, tally.reset, tally.ended,
      tally.timed_out, tally.failed);
  fflush(stdout);
}

static void count_error(int error) {
  if (error == ECONNREFUSED)
    tally.refused++;
  else if (error == ECONNRESET || error == EPIPE)
    tally.reset++;
  else if (error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH)
    tally.timed_out++;
  else
    tally.failed++;
}

static void finish(struct connection* connection) {
  close(connection->fd);
  connection->state = STATE_UNUSED;
}

static bool begin(struct connection* connection) {
  connection->fd =
      socket(options.target.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (connection->fd < 0) die("socket: %s", strerror(errno));
  connection->state = STATE_CONNECTING;
  connection->since = now_us();
  connection->received = 0;
  if (connect(connection->fd, (const struct sockaddr*)&options.target.address,
              options.target.length) != 0 &&
      errno != EINPROGRESS) {
    count_error(errno);
    finish(connection);
    return false;
  }
  watch(connection->fd, EPOLLOUT, connection, EPOLL_CTL_ADD);
  return true;
}

static bool send_question(struct connection* connection) {
  static uint8_t zeros[65536];
  const size_t size = options.size < sizeof zeros ? options.size : sizeof zeros;
  connection->since = now_us();
  connection->received = 0;
  return send(connection->fd, zeros, size, MSG_NOSIGNAL) == (ssize_t)size;
}

/// The connection is made, or is not: asks. False when it is over.
static bool connected(struct connection* connection) {
  int error = 0;
  socklen_t length = sizeof error;
  getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &length);
  if (error == 0) {
    tally.connected++;
    connection->state = STATE_ASKED;
    watch(connection->fd, options.deaf ? EPOLLRDHUP : EPOLLIN, connection, EPOLL_CTL_MOD);
    if (send_question(connection)) return true;
    error = errno;
  }
  count_error(error);
  finish(connection);
  return false;
}

/// Something can be read. True while the connection lives on.
static bool readable(struct connection* connection) {
  static uint8_t block[65536];
  const ssize_t count = recv(connection->fd, block, sizeof block, 0);
  if (count < 0 && errno == EAGAIN) return true;
  if (count > 0) {
    connection->received += (unsigned)count;
    return true;
  }
  if (count < 0)
    count_error(errno);
  else
    tally.ended++;
  finish(connection);
  return false;
}

static unsigned expire(struct connection* connections, unsigned count) {
  const uint64_t now = now_us();
  unsigned expired = 0;
  for (unsigned i = 0; i < count; i++) {
    const enum state state = connections[i].state;
    if ((state == STATE_CONNECTING || state == STATE_ASKED) &&
        now - connections[i].since > options.wait_us) {
      finish(&connections[i]);
      expired++;
    }
  }
  tally.timed_out += expired;
  return expired;
}

static int dial(void) {
  struct connection* connections = calloc(options.parallel, sizeof *connections);
  unsigned begun = 0, live = 0;
  uint64_t swept = now_us();
  while (begun < options.count || live > 0) {
    for (unsigned i = 0; i < options.parallel && begun < options.count; i++)
      if (connections[i].state == STATE_UNUSED) begun++, live += begin(&connections[i]);
    struct epoll_event events[64];
    const int ready = epoll_wait(epoll_fd, events, 64, 50);
    for (int i = 0; i < ready; i++) {
      struct connection* connection = events[i].data.ptr;
      if (connection->state == STATE_CONNECTING) {
        live -= !connected(connection);
      } else if (!readable(connection)) {
        live--;
      } else if (connection->received > 0) {
        tally.answered++;
        finish(connection);
        live--;
      }
    }
    if (now_us() - swept > 100000) {
      live -= expire(connections, options.parallel);
      swept = now_us();
    }
  }
  print_tally("done", live);
  return 0;
}

static int hold(void) {
  struct connection* connections = calloc(options.count, sizeof *connections);
  unsigned live = 0, before = ~0u;
  for (unsigned i = 0; i < options.count; i++) live += begin(&connections[i]);
  watch(STDIN_FILENO, EPOLLIN, NULL, EPOLL_CTL_ADD);
  for (;;) {
    struct epoll_event events[64];
    const int ready = epoll_wait(epoll_fd, events, 64, 20);
    for (int i = 0; i < ready; i++) {
      struct connection* connection = events[i].data.ptr;
      if (connection == NULL) {
        print_tally("end", live);
        return 0;
      }
      if (connection->state == STATE_CONNECTING) {
        live -= !connected(connection);
      } else if (options.deaf) {
        if (events[i].events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) {
          tally.reset++;
          finish(connection);
          live--;
        }
      } else if (!readable(connection)) {
        live--;
      } else if (connection->received > 0 && connection->state == STATE_ASKED) {
        tally.answered++;
        connection->state = STATE_HELD;
      }
    }
    const unsigned now = live * 31 + tally.connected * 7 + tally.answered;
    if (now != before && ready == 0) {
      print_tally("held", live);
      before = now;
    }
  }
}

static int by_value(const void* left, const void* right) {
  const uint32_t a = *(const uint32_t*)left, b = *(const uint32_t*)right;
  return (a > b) - (a < b);
}

static int ask(void) {
  enum { kSamples = 1 << 20 };
  uint32_t* samples = calloc(kSamples, sizeof *samples);
  struct connection* connections = calloc(options.parallel, sizeof *connections);
  unsigned live = 0, taken = 0;
  for (unsigned i = 0; i < options.parallel; i++) live += begin(&connections[i]);
  const uint64_t start = now_us(), end = start + (uint64_t)options.seconds * 1000000;
  while (live > 0 && now_us() < end) {
    struct epoll_event events[64];
    const int ready = epoll_wait(epoll_fd, events, 64, 100);
    for (int i = 0; i < ready; i++) {
      struct connection* connection = events[i].data.ptr;
      if (connection->state == STATE_CONNECTING) {
        live -= !connected(connection);
      } else if (!readable(connection)) {
        live--;
      } else if (connection->received >= options.size) {
        if (taken < kSamples) samples[taken++] = (uint32_t)(now_us() - connection->since);
        if (!send_question(connection)) live--, tally.failed++, finish(connection);
      }
    }
  }
  const double seconds = (double)(now_us() - start) / 1e6;
  qsort(samples, taken, sizeof *samples, by_value);
  printf("rate=%.0f p50_us=%u p99_us=%u ", taken / seconds, taken ? samples[taken / 2] : 0,
         taken ? samples[(uint64_t)taken * 99 / 100] : 0);
  print_tally("done", live);
  return taken > 0 && live == options.parallel ? 0 : 1;
}

// Servers.

struct served {
  int fd;
  uint64_t to_send;
  bool writing;
};

static void end_served(struct served* served) {
  close(served->fd);
  free(served);
}

/// Sends zeros as long as they are taken, with turns for others, then waits for the client to end.
static bool send_zeros(struct served* served) {
  static uint8_t zeros[65536];
  for (int turn = 0; served->to_send > 0; turn++) {
    if (turn == 16) return true;
    const size_t part = served->to_send < sizeof zeros ? (size_t)served->to_send : sizeof zeros;
    const ssize_t count = send(served->fd, zeros, part, MSG_NOSIGNAL);
    if (count < 0) return errno == EAGAIN;
    served->to_send -= (uint64_t)count;
  }
  watch(served->fd, EPOLLIN, served, EPOLL_CTL_MOD);
  served->writing = false;
  return true;
}

static bool serve_ready(struct served* served, uint64_t zeros) {
  static uint8_t block[65536];
  if (served->writing) return send_zeros(served);
  const ssize_t count = recv(served->fd, block, sizeof block, 0);
  if (count < 0) return errno == EAGAIN;
  if (count == 0) return false;
  if (zeros == 0) return send(served->fd, block, (size_t)count, MSG_NOSIGNAL) == count;
  served->to_send = zeros;
  served->writing = true;
  watch(served->fd, EPOLLOUT, served, EPOLL_CTL_MOD);
  return true;
}

static int serve(int port, uint64_t zeros) {
  const int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int on = 1, off = 0;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  const struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
  if (bind(listener, (const struct sockaddr*)&any, sizeof any) != 0 || listen(listener, 4096) != 0)
    die("listen on %d: %s", port, strerror(errno));
  struct served accepting, ending;
  watch(listener, EPOLLIN, &accepting, EPOLL_CTL_ADD);
  watch(STDIN_FILENO, EPOLLIN, &ending, EPOLL_CTL_ADD);
  puts("ready");
  fflush(stdout);
  for (;;) {
    struct epoll_event events[64];
    const int ready = epoll_wait(epoll_fd, events, 64, -1);
    for (int i = 0; i < ready; i++) {
      struct served* served = events[i].data.ptr;
      if (served == &ending) {
        print_tally("served", 0);
        return 0;
      }
      if (served != &accepting) {
        if (!serve_ready(served, zeros)) end_served(served);
        continue;
      }
      const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd < 0) continue;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      served = calloc(1, sizeof *served);
      served->fd = fd;
      tally.connected++;
      watch(fd, EPOLLIN, served, EPOLL_CTL_ADD);
    }
  }
}

static void parse(int count, char** words) {
  int at = 0;
  for (; at < count && strncmp(words[at], "--", 2) == 0; at++) {
    if (strcmp(words[at], "--deaf") == 0) {
      options.deaf = true;
      continue;
    }
    if (at + 1 >= count) die("%s wants a value", words[at]);
    const unsigned value = (unsigned)strtoul(words[at + 1], NULL, 10);
    if (strcmp(words[at], "--count") == 0)
      options.count = value;
    else if (strcmp(words[at], "--parallel") == 0)
      options.parallel = value;
    else if (strcmp(words[at], "--size") == 0)
      options.size = value;
    else if (strcmp(words[at], "--seconds") == 0)
      options.seconds = value;
    else if (strcmp(words[at], "--wait") == 0)
      options.wait_us = (uint64_t)value * 1000;
    else
      die("unknown option %s", words[at]);
    at++;
  }
  if (count - at != 2 || options.count > 20000 || options.parallel < 1) die("see the source");
  options.target = parse_target(words[at], atoi(words[at + 1]), false);
}

int main(int count, char** words) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (count == 3 && strcmp(words[1], "echo") == 0) return serve(atoi(words[2]), 0);
  if (count == 4 && strcmp(words[1], "zeros") == 0)
    return serve(atoi(words[2]), strtoull(words[3], NULL, 10));
  if (count < 4) die("usage: see the head of the source");
  parse(count - 2, words + 2);
  if (strcmp(words[1], "ask") == 0) return ask();
  options.size = 1;
  if (strcmp(words[1], "dial") == 0) return dial();
  if (strcmp(words[1], "hold") == 0) return hold();
  die("no such verb: %s", words[1]);
}
