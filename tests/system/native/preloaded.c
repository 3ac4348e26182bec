// SPDX-License-Identifier: GPL-2.0-only
// What a library in a program has to keep straight (preload/). Dynamically linked.
//
//   preloaded descriptors ADDRESS TCP_PORT UDP_PORT   copies of descriptors, and numbers used again
//   preloaded raw ADDRESS TCP_PORT                    the same calls by syscall(2)
//   preloaded names NAME                              each function that looks a name up
//   preloaded exec PROGRAM ARGUMENT…                  each function that executes, without an
//                                                     environment where it takes one
// Prints "ok" or what went wrong; `names` and `exec` print a line for each function.
#include <fcntl.h>
#include <netdb.h>
#include <resolv.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common.h"

enum { kWaitS = 10, kIoUringSetup = 425 };

static struct target tcp, udp;

static void check(bool good, const char* what) {
  if (!good) die("%s: %s", what, strerror(errno));
}

static int open_to(const struct target* target, int type) {
  const int fd = socket(target->address.ss_family, type | SOCK_CLOEXEC, 0);
  const struct timeval wait = {.tv_sec = kWaitS};
  check(fd >= 0, "socket");
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  return fd;
}

static int connect_to(const struct target* target, int type) {
  const int fd = open_to(target, type);
  check(connect(fd, (const struct sockaddr*)&target->address, target->length) == 0, "connect");
  return fd;
}

static void check_peer(int fd, const struct target* target, const char* what) {
  struct sockaddr_storage peer;
  socklen_t size = sizeof peer;
  check(getpeername(fd, (struct sockaddr*)&peer, &size) == 0, what);
  check(size == target->length && memcmp(&peer, &target->address, 8) == 0, what);
}

static void check_echo(int fd, const char* what) {
  char answer[8];
  check(write(fd, "question", 8) == 8, what);
  check(recv(fd, answer, sizeof answer, MSG_WAITALL) == 8, what);
  check(memcmp(answer, "question", 8) == 0, what);
}

static void check_source(int fd, const char* what) {
  struct sockaddr_storage source;
  socklen_t size = sizeof source;
  char answer[8];
  check(sendto(fd, "question", 8, 0, (const struct sockaddr*)&udp.address, udp.length) == 8, what);
  check(recvfrom(fd, answer, sizeof answer, 0, (struct sockaddr*)&source, &size) == 8, what);
  check(size == udp.length && memcmp(&source, &udp.address, 8) == 0, what);
}

static void try_copies(void) {
  const int first = connect_to(&tcp, SOCK_STREAM);
  const int second = dup(first);
  const int third = fcntl(first, F_DUPFD_CLOEXEC, 100);
  check(dup2(first, 200) == 200 && dup3(first, 201, O_CLOEXEC) == 201, "dup2");
  close(first);
  const int again = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_storage peer;
  socklen_t size = sizeof peer;
  check(again == first, "the number is used again");
  check(getpeername(again, (struct sockaddr*)&peer, &size) != 0 && errno == ENOTCONN, "fresh");
  for (int i = 0; i < 4; ++i) {
    const int fd = (const int[]){second, third, 200, 201}[i];
    check_peer(fd, &tcp, "the copy's peer");
    check_echo(fd, "the copy");
  }
}

static void try_datagrams(void) {
  const int fd = connect_to(&udp, SOCK_DGRAM);
  const int copy = dup(fd);
  check_peer(copy, &udp, "the datagram socket's peer");
  check_echo(copy, "the datagram socket");
  const struct sockaddr none = {.sa_family = AF_UNSPEC};
  check(connect(fd, &none, sizeof none) == 0, "disconnect");
  close(fd);
  check_source(copy, "after it was connected");
  check_source(copy, "once more");
}

static void descriptors(void) {
  try_copies();
  try_datagrams();
  puts("ok");
}

static void raw(void) {
  const int fd = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
  check(syscall(SYS_connect, fd, &tcp.address, tcp.length) == 0, "connect");
  check_peer(fd, &tcp, "the peer");
  check_echo(fd, "the connection");
  check(syscall(kIoUringSetup, 8, 0) == -1 && errno == ENOSYS, "io_uring");
  puts("ok");
}

static void say_host(const char* function, const struct hostent* found) {
  char text[64] = "nothing";
  if (found != NULL) inet_ntop(found->h_addrtype, found->h_addr_list[0], text, sizeof text);
  printf("%s %s\n", function, text);
}

static void names(const char* name) {
  struct addrinfo* found = NULL;
  const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
  char text[64] = "nothing";
  if (getaddrinfo(name, NULL, &hints, &found) == 0) {
    const struct sockaddr_in* const v4 = (const struct sockaddr_in*)found->ai_addr;
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
  }
  printf("getaddrinfo %s\n", text);
  say_host("gethostbyname", gethostbyname(name));
  say_host("gethostbyname2", gethostbyname2(name, AF_INET));
  struct hostent host;
  struct hostent* result = NULL;
  char buffer[4096];
  int error = 0;
  gethostbyname_r(name, &host, buffer, sizeof buffer, &result, &error);
  say_host("gethostbyname_r", result);
  unsigned char answer[4096];
  const int size = res_query(name, ns_c_in, ns_t_a, answer, sizeof answer);
  printf("res_query %s\n", size > 12 ? "answered" : "nothing");
}

static char* no_environment[] = {NULL};

/// Executes by the function of that number, or returns.
static void execute(int function, char** words) {
  const char* const path = words[0];
  switch (function) {
    case 0: execl(path, words[0], words[1], words[2], words[3], words[4], NULL); break;
    case 1: execlp(path, words[0], words[1], words[2], words[3], words[4], NULL); break;
    case 2:
      execle(path, words[0], words[1], words[2], words[3], words[4], NULL, no_environment);
      break;
    case 3: execv(path, words); break;
    case 4: execve(path, words, no_environment); break;
    case 5: execvp(path, words); break;
    case 6: execvpe(path, words, no_environment); break;
    case 7: fexecve(open(path, O_RDONLY), words, no_environment); break;
    case 8: syscall(SYS_execveat, AT_FDCWD, path, words, no_environment, 0); break;
    default: break;
  }
}

static int spawn(int function, char** words) {
  pid_t child = 0;
  const int error = function == 9
                        ? posix_spawn(&child, words[0], NULL, NULL, words, no_environment)
                        : posix_spawnp(&child, words[0], NULL, NULL, words, no_environment);
  if (error != 0) {
    printf("error %d\n", error);
    return 1;
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

static int shell(int function, char** words) {
  char line[4096];
  snprintf(line, sizeof line, "%s %s %s %s %s", words[0], words[1], words[2], words[3], words[4]);
  clearenv();
  int status = 0;
  if (function == 11) {
    status = system(line);
  } else {
    FILE* const out = popen(line, "r");
    char said[4096] = "";
    if (out != NULL && fgets(said, sizeof said, out) != NULL) fputs(said, stdout);
    status = out == NULL ? -1 : pclose(out);
  }
  if (status != 0) puts("failed");
  return status;
}

static void exec_by_all(char** words) {
  static const char* const kNames[] = {
      "execl",   "execlp",   "execle",      "execv",        "execve", "execvp", "execvpe",
      "fexecve", "execveat", "posix_spawn", "posix_spawnp", "system", "popen"};
  for (int i = 0; i < (int)(sizeof kNames / sizeof *kNames); ++i) {
    printf("%s ", kNames[i]);
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
      if (i < 9) {
        execute(i, words);
        printf("errno %d\n", errno);
        exit(1);
      }
      exit(i < 11 ? spawn(i, words) : shell(i, words));
    }
    waitpid(child, NULL, 0);
  }
}

int main(int count, char** words) {
  if (count < 3) die("usage: see the source");
  if (strcmp(words[1], "names") == 0) {
    names(words[2]);
    return 0;
  }
  if (strcmp(words[1], "exec") == 0) {
    if (count != 7) die("exec takes a program and four arguments");
    exec_by_all(words + 2);
    return 0;
  }
  if (count < 4) die("an address and a port");
  tcp = parse_target(words[2], atoi(words[3]), false);
  if (strcmp(words[1], "raw") == 0) raw();
  if (strcmp(words[1], "descriptors") == 0) {
    udp = parse_target(words[2], atoi(words[4]), false);
    descriptors();
  }
  return 0;
}
