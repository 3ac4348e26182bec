// SPDX-License-Identifier: GPL-2.0-only
// A client that no library can intercept: connects, sends a pattern, ends its direction, and checks
// that an echo server gives back every byte and then ends too.
//
//   static_client [--nonblocking] [--mapped] [--threads N] [--bytes N] [--timeout S] ADDRESS PORT
//
// --nonblocking connects with EINPROGRESS and epoll. Prints one line and exits 0 when all is well:
//   ok bytes=1000 peer=203.0.113.10:80
// else "error WHERE: reason" with exit code 1.
#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>

#include "common.h"

static struct {
  struct target target;
  bool nonblocking;
  uint64_t bytes;
  int timeout_s;
} options = {.bytes = 100000, .timeout_s = 10};

struct attempt {
  uint64_t seed;
  char said[256];
  bool ok;
};

static bool failed(struct attempt* attempt, const char* where, int number) {
  snprintf(attempt->said, sizeof attempt->said, "error %s: %d %s", where, number, strerror(number));
  return false;
}

static bool wait_connected(struct attempt* attempt, int fd) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLOUT};
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  const int ready = epoll_wait(epoll, &event, 1, options.timeout_s * 1000);
  close(epoll);
  if (ready != 1) return failed(attempt, "connect", ETIMEDOUT);
  int error = 0;
  socklen_t length = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
  return error == 0 || failed(attempt, "connect", error);
}

static bool connect_to_target(struct attempt* attempt, int fd) {
  const struct sockaddr* address = (const struct sockaddr*)&options.target.address;
  if (!options.nonblocking) {
    set_deadline(fd, options.timeout_s);
    return connect(fd, address, options.target.length) == 0 || failed(attempt, "connect", errno);
  }
  fcntl(fd, F_SETFL, O_NONBLOCK);
  const int result = connect(fd, address, options.target.length);
  if (result != 0 && errno != EINPROGRESS) return failed(attempt, "connect", errno);
  if (result != 0 && !wait_connected(attempt, fd)) return false;
  fcntl(fd, F_SETFL, 0);
  set_deadline(fd, options.timeout_s);
  return true;
}

/// getpeername() must show the address that was asked for, whoever answers.
static bool check_peer(struct attempt* attempt, int fd, char* peer, size_t size) {
  struct sockaddr_storage seen;
  memset(&seen, 0, sizeof seen);
  socklen_t length = sizeof seen;
  if (getpeername(fd, (struct sockaddr*)&seen, &length) != 0)
    return failed(attempt, "getpeername", errno);
  if (memcmp(&seen, &options.target.address, options.target.length) != 0)
    return failed(attempt, "getpeername", EADDRNOTAVAIL);
  char text[INET6_ADDRSTRLEN] = "";
  const bool v6 = seen.ss_family == AF_INET6;
  inet_ntop(seen.ss_family,
            v6 ? (const void*)&((struct sockaddr_in6*)&seen)->sin6_addr
               : (const void*)&((struct sockaddr_in*)&seen)->sin_addr,
            text, sizeof text);
  snprintf(peer, size, "%s:%d", text, ntohs(((struct sockaddr_in*)&seen)->sin_port));
  return true;
}

struct sender {
  int fd;
  uint64_t seed;
};

static void* send_all(void* argument) {
  const struct sender* sender = argument;
  uint8_t block[16384];
  for (uint64_t sent = 0; sent < options.bytes;) {
    const uint64_t left = options.bytes - sent;
    const size_t part = left < sizeof block ? (size_t)left : sizeof block;
    fill_pattern(block, part, sender->seed, sent);
    for (size_t done = 0; done < part;) {
      const ssize_t count = send(sender->fd, block + done, part - done, MSG_NOSIGNAL);
      if (count <= 0) return NULL;
      done += (size_t)count;
    }
    sent += part;
  }
  shutdown(sender->fd, SHUT_WR);
  return NULL;
}

static bool read_back(struct attempt* attempt, int fd) {
  uint8_t block[16384];
  uint64_t received = 0;
  for (;;) {
    const ssize_t count = recv(fd, block, sizeof block, 0);
    if (count < 0) return failed(attempt, "recv", errno);
    if (count == 0) break;
    if (check_pattern(block, (size_t)count, attempt->seed, received) >= 0)
      return failed(attempt, "compare", EILSEQ);
    received += (uint64_t)count;
  }
  return received == options.bytes || failed(attempt, "short", ENODATA);
}

static bool talk(struct attempt* attempt, int fd) {
  char peer[80];
  if (!connect_to_target(attempt, fd) || !check_peer(attempt, fd, peer, sizeof peer)) return false;
  struct sender sender = {.fd = fd, .seed = attempt->seed};
  pthread_t thread;
  pthread_create(&thread, NULL, send_all, &sender);
  const bool ok = read_back(attempt, fd);
  if (!ok) shutdown(fd, SHUT_RDWR);
  pthread_join(thread, NULL);
  if (ok)
    snprintf(attempt->said, sizeof attempt->said, "ok bytes=%llu peer=%s",
             (unsigned long long)options.bytes, peer);
  return ok;
}

static void* run(void* argument) {
  struct attempt* attempt = argument;
  const int fd = socket(options.target.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  attempt->ok = talk(attempt, fd);
  close(fd);
  return NULL;
}

int main(int count, char** words) {
  int threads = 1;
  bool mapped = false;
  int at = 1;
  for (; at < count && strncmp(words[at], "--", 2) == 0; at++) {
    if (strcmp(words[at], "--nonblocking") == 0)
      options.nonblocking = true;
    else if (strcmp(words[at], "--mapped") == 0)
      mapped = true;
    else if (at + 1 >= count)
      die("%s wants a value", words[at]);
    else if (strcmp(words[at], "--threads") == 0)
      threads = atoi(words[++at]);
    else if (strcmp(words[at], "--bytes") == 0)
      options.bytes = strtoull(words[++at], NULL, 10);
    else if (strcmp(words[at], "--timeout") == 0)
      options.timeout_s = atoi(words[++at]);
    else
      die("unknown option %s", words[at]);
  }
  if (count - at != 2 || threads < 1 || threads > 512) die("usage: see the head of the source");
  options.target = parse_target(words[at], atoi(words[at + 1]), mapped);

  struct attempt* attempts = calloc((size_t)threads, sizeof *attempts);
  pthread_t* ids = calloc((size_t)threads, sizeof *ids);
  for (int i = 0; i < threads; i++) {
    attempts[i].seed = mix((uint64_t)i + now_us());
    pthread_create(&ids[i], NULL, run, &attempts[i]);
  }
  bool ok = true;
  for (int i = 0; i < threads; i++) {
    pthread_join(ids[i], NULL);
    ok = ok && attempts[i].ok;
    if (!attempts[i].ok || i == threads - 1) puts(attempts[i].said);
  }
  return ok ? 0 : 1;
}
