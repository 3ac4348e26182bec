// SPDX-License-Identifier: GPL-2.0-only
// A client that asks an echo server by one set of system calls, and looks at all that the kernel
// tells it of the other end. It is built twice: static, so that no library can be put before it,
// and dynamically linked.
//
//   calls [--mapped] [--in thread|fork|vfork|exec] ROW ADDRESS PORT [ADDRESS PORT]…
//
// Rows: tcp-blocking, tcp-nonblocking, tcp-epoll (in an edge-triggered set before it connects),
// udp-connected, udp-epoll, udp-sendto, udp-sendmsg, udp-sendmmsg; the last three from one
// unconnected socket to all of the addresses; i386-connect, which is to be refused; and those of
// datagram_rows.h. Prints "ok", or what went wrong, with exit code 1.
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "common.h"

enum { kMostTargets = 16, kWaitS = 10 };

static struct target targets[kMostTargets];
static int target_count;

static bool failed(const char* where, int number) {
  printf("error %s: %d %s\n", where, number, strerror(number));
  fflush(stdout);
  return false;
}

static int open_socket(int type) {
  const int fd = socket(targets[0].address.ss_family, type | SOCK_CLOEXEC, 0);
  set_deadline(fd, kWaitS);
  return fd;
}

static int connect_first(int fd) {
  const int done = connect(fd, (const struct sockaddr*)&targets[0].address, targets[0].length);
  return done == 0 ? 0 : errno;
}

/// Addresses and ports; the rest of a sockaddr_in6 may differ.
static bool same_address(const struct sockaddr_storage* a, const struct sockaddr_storage* b) {
  if (a->ss_family != b->ss_family) return false;
  if (a->ss_family == AF_INET) return memcmp(a, b, offsetof(struct sockaddr_in, sin_zero)) == 0;
  const struct sockaddr_in6* x = (const struct sockaddr_in6*)a;
  const struct sockaddr_in6* y = (const struct sockaddr_in6*)b;
  return x->sin6_port == y->sin6_port && memcmp(&x->sin6_addr, &y->sin6_addr, 16) == 0;
}

static bool peer_is_target(int fd) {
  struct sockaddr_storage peer;
  memset(&peer, 0, sizeof peer);
  socklen_t length = sizeof peer;
  if (getpeername(fd, (struct sockaddr*)&peer, &length) != 0) return failed("getpeername", errno);
  if (length != targets[0].length) return failed("length of getpeername", EINVAL);
  return same_address(&peer, &targets[0].address) || failed("the peer", EADDRNOTAVAIL);
}

static bool pending_error_is(int fd, int expected) {
  int error = -1;
  socklen_t length = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
  return error == expected || failed("SO_ERROR", error);
}

static bool ask(int fd) {
  char answer[16] = "";
  if (write(fd, "question", 8) != 8) return failed("write", errno);
  size_t got = 0;
  while (got < 8) {
    const ssize_t count = read(fd, answer + got, sizeof answer - got);
    if (count <= 0) return failed("read", count == 0 ? ECONNRESET : errno);
    got += (size_t)count;
  }
  return memcmp(answer, "question", 8) == 0 || failed("the answer", EILSEQ);
}

static bool tcp_blocking(void) {
  const int fd = open_socket(SOCK_STREAM);
  const int error = connect_first(fd);
  if (error != 0) return failed("connect", error);
  if (connect_first(fd) != EISCONN) return failed("second connect", errno);
  if ((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0) return failed("flags", EINVAL);
  return peer_is_target(fd) && pending_error_is(fd, 0) && ask(fd) && close(fd) == 0;
}

static bool tcp_nonblocking(void) {
  const int fd = open_socket(SOCK_STREAM | SOCK_NONBLOCK);
  const int error = connect_first(fd);
  if (error != 0 && error != EINPROGRESS) return failed("connect", error);
  struct pollfd writable = {.fd = fd, .events = POLLOUT};
  if (poll(&writable, 1, kWaitS * 1000) != 1) return failed("poll", ETIMEDOUT);
  if (writable.revents != POLLOUT) return failed("what poll says", EPROTO);
  if (!pending_error_is(fd, 0) || !peer_is_target(fd)) return false;
  if (fcntl(fd, F_GETFL) != (O_RDWR | O_NONBLOCK)) return failed("flags", EINVAL);
  fcntl(fd, F_SETFL, O_RDWR);
  return ask(fd) && close(fd) == 0;
}

/// Until it is connected the set says nothing but what it says of a fresh socket (HUP and OUT).
static bool tcp_epoll(void) {
  const int fd = open_socket(SOCK_STREAM | SOCK_NONBLOCK);
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  epoll_wait(epoll, &event, 1, 0);
  const int error = connect_first(fd);
  if (error != 0 && error != EINPROGRESS) return failed("connect", error);
  if (epoll_wait(epoll, &event, 1, kWaitS * 1000) != 1) return failed("epoll", ETIMEDOUT);
  if (event.events != EPOLLOUT) return failed("what epoll says", (int)event.events);
  if (!pending_error_is(fd, 0) || !peer_is_target(fd)) return false;
  if (write(fd, "question", 8) != 8) return failed("write", errno);
  for (size_t got = 0; got < 8;) {
    if (epoll_wait(epoll, &event, 1, kWaitS * 1000) != 1) return failed("epoll", ETIMEDOUT);
    char answer[16];
    const ssize_t count = read(fd, answer, sizeof answer);
    if (count == 0) return failed("read", ECONNRESET);
    if (count > 0) got += (size_t)count;
  }
  return close(fd) == 0 && close(epoll) == 0;
}

static bool udp_connected(void) {
  const int fd = open_socket(SOCK_DGRAM);
  const int error = connect_first(fd);
  if (error != 0) return failed("connect", error);
  if (!peer_is_target(fd) || !ask(fd)) return false;
  struct sockaddr_storage source;
  memset(&source, 0, sizeof source);
  socklen_t length = sizeof source;
  char answer[16];
  if (send(fd, "question", 8, 0) != 8) return failed("send", errno);
  if (recvfrom(fd, answer, sizeof answer, 0, (struct sockaddr*)&source, &length) != 8)
    return failed("recvfrom", errno);
  if (!same_address(&source, &targets[0].address)) return failed("the source", EADDRNOTAVAIL);
  struct iovec piece = {.iov_base = (void*)"question", .iov_len = 8};
  const struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
  if (sendmsg(fd, &message, 0) != 8) return failed("sendmsg", errno);
  return recv(fd, answer, sizeof answer, 0) == 8 && close(fd) == 0;
}

static bool udp_epoll(void) {
  const int fd = open_socket(SOCK_DGRAM | SOCK_NONBLOCK);
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  const int error = connect_first(fd);
  if (error != 0) return failed("connect", error);
  if (send(fd, "question", 8, 0) != 8) return failed("send", errno);
  if (epoll_wait(epoll, &event, 1, kWaitS * 1000) != 1) return failed("epoll", ETIMEDOUT);
  char answer[16];
  if (recv(fd, answer, sizeof answer, 0) != 8) return failed("recv", errno);
  if (recv(fd, answer, sizeof answer, 0) != -1 || errno != EAGAIN) return failed("again", errno);
  return peer_is_target(fd) && close(fd) == 0 && close(epoll) == 0;
}

/// Each datagram says by its first byte whose it is, and must come from there.
static bool check_answer(const char* answer, ssize_t bytes, const struct sockaddr_storage* source,
                         unsigned* seen) {
  if (bytes != 2 || answer[0] < 'a' || answer[0] >= 'a' + target_count)
    return failed("the answer", EILSEQ);
  const int index = answer[0] - 'a';
  *seen |= 1u << index;
  return same_address(source, &targets[index].address) || failed("the source", EADDRNOTAVAIL);
}

static bool receive_all(int fd, bool by_message) {
  unsigned seen = 0;
  while (seen != (1u << target_count) - 1) {
    char answer[16];
    struct sockaddr_storage source;
    memset(&source, 0, sizeof source);
    socklen_t length = sizeof source;
    struct iovec pieces[2] = {{.iov_base = answer, .iov_len = 1},
                              {.iov_base = answer + 1, .iov_len = sizeof answer - 1}};
    struct msghdr message = {
        .msg_name = &source, .msg_namelen = length, .msg_iov = pieces, .msg_iovlen = 2};
    const ssize_t got =
        by_message ? recvmsg(fd, &message, 0)
                   : recvfrom(fd, answer, sizeof answer, 0, (struct sockaddr*)&source, &length);
    if (got < 0) return failed("receive", errno);
    if (by_message && message.msg_namelen != targets[0].length)
      return failed("length of the source", EINVAL);
    if (!check_answer(answer, got, &source, &seen)) return false;
  }
  return true;
}

static bool udp_sendto(void) {
  const int fd = open_socket(SOCK_DGRAM);
  for (int i = 0; i < target_count; i++) {
    const char text[2] = {(char)('a' + i), '.'};
    if (sendto(fd, text, 2, 0, (struct sockaddr*)&targets[i].address, targets[i].length) != 2)
      return failed("sendto", errno);
  }
  return receive_all(fd, false) && close(fd) == 0;
}

static bool udp_sendmsg(void) {
  const int fd = open_socket(SOCK_DGRAM);
  for (int i = 0; i < target_count; i++) {
    char text[2] = {(char)('a' + i), '.'};
    struct iovec pieces[2] = {{.iov_base = text, .iov_len = 1},
                              {.iov_base = text + 1, .iov_len = 1}};
    struct msghdr message = {.msg_name = &targets[i].address,
                             .msg_namelen = targets[i].length,
                             .msg_iov = pieces,
                             .msg_iovlen = 2};
    if (sendmsg(fd, &message, 0) != 2) return failed("sendmsg", errno);
  }
  return receive_all(fd, true) && close(fd) == 0;
}

static bool udp_sendmmsg(void) {
  const int fd = open_socket(SOCK_DGRAM);
  struct mmsghdr messages[kMostTargets];
  struct iovec pieces[kMostTargets];
  struct sockaddr_storage sources[kMostTargets];
  char texts[kMostTargets][2];
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < target_count; i++) {
    texts[i][0] = (char)('a' + i);
    texts[i][1] = '.';
    pieces[i] = (struct iovec){.iov_base = texts[i], .iov_len = 2};
    messages[i].msg_hdr.msg_iov = &pieces[i];
    messages[i].msg_hdr.msg_iovlen = 1;
    messages[i].msg_hdr.msg_name = &targets[i].address;
    messages[i].msg_hdr.msg_namelen = targets[i].length;
  }
  if (sendmmsg(fd, messages, (unsigned)target_count, 0) != target_count)
    return failed("sendmmsg", errno);
  for (int i = 0; i < target_count; i++)
    if (messages[i].msg_len != 2) return failed("length sent", EINVAL);
  for (unsigned seen = 0; seen != (1u << target_count) - 1;) {
    for (int i = 0; i < target_count; i++) {
      messages[i].msg_hdr.msg_name = &sources[i];
      messages[i].msg_hdr.msg_namelen = sizeof sources[i];
    }
    const int got = recvmmsg(fd, messages, (unsigned)target_count, MSG_WAITFORONE, NULL);
    if (got <= 0) return failed("recvmmsg", errno);
    for (int i = 0; i < got; i++)
      if (!check_answer(texts[i], messages[i].msg_len, &sources[i], &seen)) return false;
  }
  return close(fd) == 0;
}

#include "datagram_rows.h"

/// As a 32-bit program calls: connect is number 362 there, and `int $0x80` the way in.
static bool i386_connect(void) {
#ifdef __x86_64__
  long result = 362;
  __asm__ volatile("int $0x80" : "+a"(result) : "b"(0), "c"(0), "d"(0) : "memory");
  return result == -EPERM || failed("connect", (int)-result);
#else
  return failed("connect", ENOTSUP);
#endif
}

static const struct row {
  const char* name;
  bool (*run)(void);
} rows[] = {{"tcp-blocking", tcp_blocking},
            {"tcp-nonblocking", tcp_nonblocking},
            {"tcp-epoll", tcp_epoll},
            {"udp-connected", udp_connected},
            {"udp-epoll", udp_epoll},
            {"udp-sendto", udp_sendto},
            {"udp-sendmsg", udp_sendmsg},
            {"udp-sendmmsg", udp_sendmmsg},
            {"i386-connect", i386_connect},
            {"udp-unspec", udp_unspec},
            {"udp-shutdown", udp_shutdown},
            {"udp-threads", udp_threads},
            {"udp-packet-info", udp_packet_info},
            {"udp-timeout", udp_timeout},
            {"udp-arguments", udp_arguments},
            {"udp-storm", udp_storm},
            {"udp-storm-send", udp_storm_send}};

static void* run_in_thread(void* row) {
  static int result;
  result = ((const struct row*)row)->run() ? 0 : 1;
  return &result;
}

static int wait_for(pid_t child) {
  int status = -1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int run_row(const struct row* row, const char* where, char** words) {
  if (strcmp(where, "thread") == 0) {
    pthread_t thread;
    void* result = NULL;
    pthread_create(&thread, NULL, run_in_thread, (void*)row);
    pthread_join(thread, &result);
    return *(int*)result;
  }
  if (strcmp(where, "fork") == 0) {
    const pid_t child = fork();
    if (child == 0) exit(row->run() ? 0 : 1);
    return wait_for(child);
  }
  if (strcmp(where, "vfork") == 0) {
    const pid_t child = vfork();  // its memory is its parent's, which waits
    if (child == 0) _exit(row->run() ? 0 : 1);
    return wait_for(child);
  }
  if (strcmp(where, "exec") == 0) {
    for (int i = 1; words[i] != NULL; i++)
      if (strcmp(words[i], "exec") == 0) words[i] = "here";
    execv("/proc/self/exe", words);
    die("exec: %s", strerror(errno));
  }
  return row->run() ? 0 : 1;
}

int main(int count, char** words) {
  bool mapped = false;
  const char* where = "here";
  int at = 1;
  for (; at < count && strncmp(words[at], "--", 2) == 0; at++) {
    if (strcmp(words[at], "--mapped") == 0)
      mapped = true;
    else if (strcmp(words[at], "--in") == 0 && at + 1 < count)
      where = words[++at];
    else
      die("unknown option %s", words[at]);
  }
  if (count - at < 3) die("usage: see the head of the source");
  const char* name = words[at++];
  for (; at + 1 < count && target_count < kMostTargets; at += 2)
    targets[target_count++] = parse_target(words[at], atoi(words[at + 1]), mapped);
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    if (strcmp(rows[i].name, name) != 0) continue;
    const int code = run_row(&rows[i], where, words);
    if (code == 0) puts("ok");
    return code;
  }
  die("no such row: %s", name);
}
