// SPDX-License-Identifier: GPL-2.0-only
// Transfers that end in every way TCP knows, with each byte checked at both ends.
//
//   transfer serve PORT                      takes PORT and the three behind it; prints "ready"; at
//                                            end of input a summary; exit 0 or 1
//   transfer run [--count N] [--parallel N] [--seed N] [--max-bytes N] [--only A,B] [--urgent N]
//                ADDRESS PORT               an urgent byte in one direction of N (4); 0: in none
//
// The client draws a plan for each transfer and sends it ahead (struct plan), so both ends know
// what the other will do and what they must therefore see:
//   fin    sends everything, reads everything, closes
//   shut   sends everything, ends its direction, reads to end-of-file, closes
//   reset  sends a part, then closes with a reset (SO_LINGER 0)
//   abort  sends a part, then closes with unread data in its buffer, which makes a reset. Reads
//          while it sends, though not the last byte: two hosts with nothing between them can lock
//          up when one only sends (Linux 6.18: data beyond a full buffer is dropped, the window is
//          shut, and the sender's next ACKs lie outside it and are ignored).
// Against fin and shut every byte must arrive and, where it is waited for, end-of-file; a reset is
// a failure. Against reset and abort a true prefix must arrive and then a reset; end-of-file is a
// failure ("a reset became a clean end"). When both ends break off, either may be first.
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>

#include "common.h"

#define PLAN_MAGIC 0x73687574u
#define NOWHERE UINT64_MAX
#define STALL_SECONDS 30

enum end { END_FIN, END_SHUT, END_RESET, END_ABORT, END_COUNT };
static const char* const end_names[] = {"fin", "shut", "reset", "abort"};

#define BUFFERS 4
static const int receive_buffers[BUFFERS] = {0, 65536, 8192, 2304};  // 0: the system's choice

struct direction {
  uint64_t length;  // announced
  uint64_t cut;     // really sent: less than length when the sender breaks off
  uint64_t urgent;  // offset of the urgent byte, or NOWHERE
  uint32_t end;     // of the sender
  uint32_t buffer;  // of the receiver, an index into receive_buffers
};

struct plan {
  uint32_t magic;
  uint32_t number;
  uint64_t seed;
  struct direction up, down;
};

struct talk {
  int fd;
  uint64_t number, random;
  uint64_t send_seed, receive_seed;
  struct direction mine, theirs;
  uint64_t sent, received;
  bool shut, peer_ended, peer_reset, peer_urgent_seen;
  char failure[160];
};

static struct {
  atomic_ulong done, failed, resets, urgents;
} tally;

static bool breaks_off(const struct direction* direction) {
  return direction->end == END_RESET || direction->end == END_ABORT;
}

static uint64_t draw(struct talk* talk) { return talk->random = mix(talk->random); }

__attribute__((format(printf, 2, 3))) static bool fail(struct talk* talk, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(talk->failure, sizeof talk->failure, format, arguments);
  va_end(arguments);
  return false;
}

/// A read or write said that the connection is gone.
static bool reset_seen(struct talk* talk, int error) {
  talk->peer_reset = true;
  if (error != ECONNRESET && error != EPIPE)
    return fail(talk, "errno %d: %s", error, strerror(error));
  if (!breaks_off(&talk->theirs)) return fail(talk, "a reset that nobody sent");
  return true;
}

/// How much of what comes this end may take off its socket now.
static uint64_t may_read(const struct talk* talk) {
  if (talk->peer_ended) return 0;
  if (talk->mine.end != END_ABORT) return UINT64_MAX;
  const bool sends = talk->sent < talk->mine.cut;
  return sends && talk->received + 1 < talk->theirs.cut ? talk->theirs.cut - 1 - talk->received : 0;
}

static bool receive_some(struct talk* talk) {
  uint8_t block[65536];
  if (talk->received == talk->theirs.urgent) {
    int at_mark = 0;
    ioctl(talk->fd, SIOCATMARK, &at_mark);
    if (at_mark) talk->peer_urgent_seen = true;
  }
  uint64_t want = 1 + draw(talk) % sizeof block;
  if (want > may_read(talk)) want = may_read(talk);
  const ssize_t count = recv(talk->fd, block, (size_t)want, MSG_DONTWAIT);
  if (count < 0) return errno == EAGAIN || errno == EINTR || reset_seen(talk, errno);
  if (count == 0) {
    talk->peer_ended = true;
    if (breaks_off(&talk->theirs)) return fail(talk, "a reset became a clean end");
    return talk->received == talk->theirs.length || fail(talk, "truncated");
  }
  const int64_t wrong = check_pattern(block, (size_t)count, talk->receive_seed, talk->received);
  if (wrong >= 0) return fail(talk, "wrong byte at %lld", (long long)wrong);
  talk->received += (uint64_t)count;
  return talk->received <= talk->theirs.length || fail(talk, "bytes were added");
}

static bool send_some(struct talk* talk) {
  uint8_t block[65536];
  uint64_t part = 1 + draw(talk) % sizeof block;
  if (part > talk->mine.cut - talk->sent) part = talk->mine.cut - talk->sent;
  int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
  if (talk->sent == talk->mine.urgent) {
    part = 1;
    flags |= MSG_OOB;
  } else if (talk->sent < talk->mine.urgent && part > talk->mine.urgent - talk->sent) {
    part = talk->mine.urgent - talk->sent;
  }
  fill_pattern(block, (size_t)part, talk->send_seed, talk->sent);
  const ssize_t count = send(talk->fd, block, (size_t)part, flags);
  if (count < 0) return errno == EAGAIN || errno == EINTR || reset_seen(talk, errno);
  talk->sent += (uint64_t)count;
  return true;
}

/// Whether this end has nothing left to do but close. `readable`: something unread is there.
static bool finished(struct talk* talk, bool readable) {
  if (talk->peer_reset) return true;
  if (talk->sent < talk->mine.cut) return false;
  switch ((enum end)talk->mine.end) {
    case END_RESET: return true;
    case END_ABORT: return readable;
    case END_SHUT:
      if (!talk->shut) shutdown(talk->fd, SHUT_WR);
      talk->shut = true;
      return talk->peer_ended;
    case END_FIN:
    case END_COUNT: break;
  }
  return talk->peer_ended || (talk->received == talk->theirs.length && !breaks_off(&talk->theirs));
}

static bool converse(struct talk* talk) {
  bool readable = false;
  while (!finished(talk, readable)) {
    const bool reads = may_read(talk) > 0;
    const bool waits = talk->mine.end == END_ABORT && talk->sent == talk->mine.cut;
    struct pollfd watch = {.fd = talk->fd,
                           .events = (short)((reads || waits ? POLLIN : 0) |
                                             (talk->sent < talk->mine.cut ? POLLOUT : 0))};
    if (poll(&watch, 1, STALL_SECONDS * 1000) == 0)
      return fail(talk, "stalled: sent %llu of %llu, received %llu of %llu",
                  (unsigned long long)talk->sent, (unsigned long long)talk->mine.cut,
                  (unsigned long long)talk->received, (unsigned long long)talk->theirs.length);
    const bool broken = watch.revents & (POLLERR | POLLHUP);
    readable = waits && watch.revents & (POLLIN | POLLERR | POLLHUP);
    if (reads && (watch.revents & POLLIN || broken) && !receive_some(talk)) return false;
    if (talk->peer_reset || waits) continue;
    if (talk->sent < talk->mine.cut && (watch.revents & POLLOUT || broken) && !send_some(talk))
      return false;
  }
  const bool whole = !breaks_off(&talk->theirs) && !breaks_off(&talk->mine);
  if (whole && talk->theirs.urgent != NOWHERE && !talk->peer_urgent_seen)
    return fail(talk, "the urgent byte at %llu lost its mark",
                (unsigned long long)talk->theirs.urgent);
  return true;
}

static void finish(struct talk* talk, bool ok, const char* side) {
  struct sockaddr_in6 near = {0};
  socklen_t length = sizeof near;
  getsockname(talk->fd, (struct sockaddr*)&near, &length);
  const int port = ntohs(near.sin6_port);
  if (talk->mine.end == END_RESET || !ok) {
    const struct linger now = {.l_onoff = 1};
    setsockopt(talk->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  close(talk->fd);
  atomic_fetch_add(&tally.done, 1);
  atomic_fetch_add(&tally.resets, talk->peer_reset);
  atomic_fetch_add(&tally.urgents, talk->peer_urgent_seen);
  if (ok) return;
  atomic_fetch_add(&tally.failed, 1);
  printf("%s #%llu port %d: %s; mine %s %llu/%llu, theirs %s %llu/%llu", side,
         (unsigned long long)talk->number, port, talk->failure, end_names[talk->mine.end],
         (unsigned long long)talk->sent, (unsigned long long)talk->mine.length,
         end_names[talk->theirs.end], (unsigned long long)talk->received,
         (unsigned long long)talk->theirs.length);
  printf(", buffer %d, urgent %lld, reset %d, ended %d\n", receive_buffers[talk->theirs.buffer],
         (long long)talk->theirs.urgent, talk->peer_reset, talk->peer_ended);
  fflush(stdout);
}

// The server.

static void* serve_one(void* argument) {
  struct talk talk = {.fd = (int)(intptr_t)argument};
  struct plan plan;
  set_deadline(talk.fd, STALL_SECONDS);
  const ssize_t count = recv(talk.fd, &plan, sizeof plan, MSG_WAITALL);
  if (count != sizeof plan || plan.magic != PLAN_MAGIC || plan.up.end >= END_COUNT ||
      plan.down.end >= END_COUNT || plan.up.buffer >= BUFFERS || plan.down.buffer >= BUFFERS) {
    // A client that broke off at once may take its plan with it.
    close(talk.fd);
    return NULL;
  }
  talk.number = plan.number;
  talk.random = plan.seed + 2;
  talk.mine = plan.down;
  talk.theirs = plan.up;
  talk.send_seed = plan.seed + 1;
  talk.receive_seed = plan.seed;
  const int on = 1;
  setsockopt(talk.fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
  finish(&talk, converse(&talk), "server");
  return NULL;
}

static void* accept_all(void* argument) {
  const int listener = (int)(intptr_t)argument;
  for (;;) {
    const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) continue;
    pthread_t thread;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&small, 512 * 1024);
    if (pthread_create(&thread, &small, serve_one, (void*)(intptr_t)fd) != 0) close(fd);
    pthread_attr_destroy(&small);
  }
}

static int report(void) {
  printf("done=%lu failed=%lu resets=%lu urgents=%lu\n", tally.done, tally.failed, tally.resets,
         tally.urgents);
  return tally.failed == 0 ? 0 : 1;
}

/// Accepted sockets have the receive buffer of their listener from the first packet on. Made small
/// afterwards it would take back window that was promised, and what is in flight, a reset as well,
/// would lie outside.
static void serve_with_buffer(int port, int size) {
  const int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1, off = 0;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (size > 0) setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  const struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
  if (bind(listener, (const struct sockaddr*)&any, sizeof any) != 0 || listen(listener, 1024) != 0)
    die("listen on %d: %s", port, strerror(errno));
  pthread_t thread;
  pthread_create(&thread, NULL, accept_all, (void*)(intptr_t)listener);
}

static int serve(int port) {
  for (unsigned i = 0; i < BUFFERS; i++) serve_with_buffer(port + (int)i, receive_buffers[i]);
  puts("ready");
  fflush(stdout);
  while (getchar() != EOF) {
  }
  return report();
}

// The client.

static struct {
  const char* address;
  int port;
  unsigned count, parallel, urgent;
  uint64_t seed, max_bytes;
  const char* only;
} options = {.count = 1000, .parallel = 16, .urgent = 4, .seed = 1, .max_bytes = 8 << 20};
static atomic_uint next_number;

static uint64_t draw_length(struct talk* talk) {
  const uint64_t length = draw(talk) % ((uint64_t)1 << (draw(talk) % 24));
  return length < options.max_bytes ? length : options.max_bytes;
}

static enum end draw_end(struct talk* talk) {
  for (;;) {
    const enum end end = (enum end)(draw(talk) % END_COUNT);
    if (options.only == NULL || strstr(options.only, end_names[end]) != NULL) return end;
  }
}

static void draw_direction(struct talk* talk, struct direction* direction) {
  direction->end = draw_end(talk);
  direction->length = draw_length(talk);
  // A tiny window costs a round trip for every few KiB: only where that takes no minutes.
  const unsigned choices = direction->length <= 128 << 10 ? 4
                           : direction->length <= 1 << 20 ? 3
                                                          : 1;
  direction->buffer = (uint32_t)(draw(talk) % choices);
  direction->urgent = NOWHERE;
}

static void draw_plan(struct talk* talk, struct plan* plan) {
  plan->magic = PLAN_MAGIC;
  plan->number = (uint32_t)talk->number;
  plan->seed = draw(talk);
  struct direction* directions[] = {&plan->up, &plan->down};
  for (int i = 0; i < 2; i++) draw_direction(talk, directions[i]);
  for (int i = 0; i < 2; i++) {
    struct direction* direction = directions[i];
    // Who aborts must find something unread; who breaks off must leave something unsent.
    const bool needs_data = directions[1 - i]->end == END_ABORT || breaks_off(direction);
    if (needs_data && direction->length < 2) direction->length = 2;
    direction->cut = direction->length;
    if (breaks_off(direction)) direction->cut = 1 + draw(talk) % (direction->length - 1);
    if (options.urgent > 0 && direction->cut > 0 && draw(talk) % options.urgent == 0)
      direction->urgent = draw(talk) % direction->cut;
  }
}

static void run_one(unsigned number) {
  struct talk talk = {.number = number, .random = mix(options.seed * 1000003 + number)};
  struct plan plan;
  memset(&plan, 0, sizeof plan);
  draw_plan(&talk, &plan);
  talk.mine = plan.up;
  talk.theirs = plan.down;
  talk.send_seed = plan.seed;
  talk.receive_seed = plan.seed + 1;
  const struct target target =
      parse_target(options.address, options.port + (int)plan.up.buffer, false);
  talk.fd = socket(target.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1, size = receive_buffers[plan.down.buffer];
  setsockopt(talk.fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
  if (size > 0) setsockopt(talk.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  set_deadline(talk.fd, STALL_SECONDS);
  bool ok = true;
  if (connect(talk.fd, (const struct sockaddr*)&target.address, target.length) != 0)
    ok = fail(&talk, "connect: %s", strerror(errno));
  else if (send(talk.fd, &plan, sizeof plan, MSG_NOSIGNAL) != sizeof plan)
    ok = fail(&talk, "plan not sent: %s", strerror(errno));
  else
    ok = converse(&talk);
  finish(&talk, ok, "client");
}

static void* run_some(void* unused) {
  for (;;) {
    const unsigned number = atomic_fetch_add(&next_number, 1);
    if (number >= options.count) return unused;
    run_one(number);
  }
}

static int run(int count, char** words) {
  int at = 0;
  for (; at + 1 < count && strncmp(words[at], "--", 2) == 0; at += 2) {
    const uint64_t value = strtoull(words[at + 1], NULL, 10);
    if (strcmp(words[at], "--count") == 0)
      options.count = (unsigned)value;
    else if (strcmp(words[at], "--parallel") == 0)
      options.parallel = (unsigned)value;
    else if (strcmp(words[at], "--urgent") == 0)
      options.urgent = (unsigned)value;
    else if (strcmp(words[at], "--seed") == 0)
      options.seed = value;
    else if (strcmp(words[at], "--max-bytes") == 0)
      options.max_bytes = value;
    else if (strcmp(words[at], "--only") == 0)
      options.only = words[at + 1];
    else
      die("unknown option %s", words[at]);
  }
  if (count - at != 2 || options.parallel < 1 || options.parallel > 256) die("see the source");
  options.address = words[at];
  options.port = atoi(words[at + 1]);
  pthread_t threads[256];
  for (unsigned i = 0; i < options.parallel; i++) pthread_create(&threads[i], NULL, run_some, NULL);
  for (unsigned i = 0; i < options.parallel; i++) pthread_join(threads[i], NULL);
  return report();
}

int main(int count, char** words) {
  if (count == 3 && strcmp(words[1], "serve") == 0) return serve(atoi(words[2]));
  if (count > 3 && strcmp(words[1], "run") == 0) return run(count - 2, words + 2);
  die("usage: see the head of the source");
}
