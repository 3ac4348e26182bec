// SPDX-License-Identifier: GPL-2.0-only
// Questions to shunt. Each is a connection of its own: the program may close whatever descriptors
// it finds, and has threads, children and signal handlers that ask at the same time.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "library.h"

static void close_it(void* fd) {
  const int error = errno;
  close(*(const int*)fd);
  errno = error;
}

static int connect_channel(int fd) {
  const struct shunt_settings* const mine = shunt_settings();
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const size_t length = strlen(mine->name);
  memcpy(address.sun_path + 1, mine->name, length);
  const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
  while (next_connect(fd, (const struct sockaddr*)&address, size) != 0) {
    if (errno != EINTR) return ECONNREFUSED;
  }
  return 0;
}

static int send_question(int fd, const struct shunt_question* question) {
  struct shunt_preload_request request;
  memset(&request, 0, sizeof request);
  request.version = SHUNT_PRELOAD_VERSION;
  request.kind = question->kind;
  memcpy(request.token, shunt_settings()->token, sizeof request.token);
  if (question->address != NULL) {
    if (question->size > sizeof request.address) return EINVAL;
    request.address_size = question->size;
    memcpy(&request.address, question->address, question->size);
  }
  struct iovec piece = {.iov_base = &request, .iov_len = sizeof request};
  struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
  } control;
  memset(&control, 0, sizeof control);
  if (question->socket >= 0) {
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    memcpy(CMSG_DATA(&control.header), &question->socket, sizeof(int));
    message.msg_control = &control;
    message.msg_controllen = sizeof control.room;
  }
  while (next_sendmsg(fd, &message, MSG_NOSIGNAL) < 0) {
    if (errno == ETOOMANYREFS) return ENOBUFS;
    if (errno != EINTR) return errno == EBADF ? EBADF : ECONNREFUSED;
  }
  return 0;
}

/// A connect() that a signal ends has begun: whoever polls the socket then must not find it idle,
/// which looks like success. Until shunt has begun no signal ends it.
static int await_answer(int fd, const struct shunt_question* question,
                        struct shunt_preload_answer* answer) {
  struct iovec piece = {.iov_base = answer, .iov_len = sizeof *answer};
  bool begun = false;
  bool interrupted = false;
  while (true) {
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    const ssize_t got = next_recvmsg(fd, &message, MSG_WAITALL);
    if (got == (ssize_t)sizeof *answer) {
      if (answer->verdict != SHUNT_PRELOAD_BEGUN) return 0;
      begun = true;
    } else if (got >= 0 || errno != EINTR) {
      return ECONNREFUSED;
    } else if (question->kind == SHUNT_PRELOAD_CONNECT) {
      interrupted = true;  // with SA_RESTART the kernel waits on by itself, as in connect(2)
    }
    if (begun && interrupted) return EINTR;
  }
}

int shunt_ask(const struct shunt_question* question, struct shunt_preload_answer* answer) {
  memset(answer, 0, sizeof *answer);
  if (shunt_settings()->broken) return ECONNREFUSED;
  int fd = next_socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0) return ENOBUFS;
  int error = 0;
  pthread_cleanup_push(close_it, &fd);
  error = connect_channel(fd);
  if (error == 0) error = send_question(fd, question);
  if (error == 0 && question->kind != SHUNT_PRELOAD_HELLO) {
    error = await_answer(fd, question, answer);
  }
  pthread_cleanup_pop(1);
  return error;
}

int shunt_integer_option(int fd, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  return next_getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : 0;
}

int shunt_internet_domain(int fd) {
  const int error = errno;
  const int domain = shunt_integer_option(fd, SO_DOMAIN);
  errno = error;
  return domain == AF_INET || domain == AF_INET6 ? domain : 0;
}

uint64_t shunt_cookie(int fd) {
  uint64_t value = 0;
  socklen_t size = sizeof value;
  return next_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &value, &size) == 0 ? value : 0;
}

int shunt_give_address(const struct shunt_preload_answer* answer, struct sockaddr* into,
                       socklen_t* size) {
  const socklen_t room = *size;
  const socklen_t whole = answer->address_size;
  memcpy(into, &answer->address, room < whole ? room : whole);
  *size = whole;
  return 0;
}
