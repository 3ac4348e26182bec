// SPDX-License-Identifier: GPL-2.0-only
// syscall(2), by which some programs make the same calls. io_uring, whose requests no library sees,
// is not to be had; programs that can do without it do.
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "library.h"

// The others' definitions, by the names that programs know them by (library.h).
int shunt_socket(int, int, int) __asm__("socket");
int shunt_connect(int, const struct sockaddr*, socklen_t) __asm__("connect");
int shunt_getpeername(int, struct sockaddr*, socklen_t*) __asm__("getpeername");
int shunt_getsockopt(int, int, int, void*, socklen_t*) __asm__("getsockopt");
ssize_t shunt_sendto(int, const void*, size_t, int, const struct sockaddr*,
                     socklen_t) __asm__("sendto");
ssize_t shunt_sendmsg(int, const struct msghdr*, int) __asm__("sendmsg");
int shunt_sendmmsg(int, struct mmsghdr*, unsigned, int) __asm__("sendmmsg");
ssize_t shunt_recvfrom(int, void*, size_t, int, struct sockaddr*, socklen_t*) __asm__("recvfrom");
ssize_t shunt_recvmsg(int, struct msghdr*, int) __asm__("recvmsg");
int shunt_recvmmsg(int, struct mmsghdr*, unsigned, int, struct timespec*) __asm__("recvmmsg");
int shunt_execve(const char*, char* const*, char* const*) __asm__("execve");
int shunt_execveat(int, const char*, char* const*, char* const*, int) __asm__("execveat");

typedef long (*syscall_function)(long, long, long, long, long, long, long);

// Casts of integers to pointers: they are the program's.
INTERPOSED(long, syscall, long number, long a, long b, long c, long d, long e, long f) {
  const struct shunt_settings* const mine = shunt_settings();
  if (mine->captured || mine->marked) {
    switch (number) {
      case SYS_socket: return shunt_socket((int)a, (int)b, (int)c);
      case SYS_connect: return shunt_connect((int)a, (void*)b, (socklen_t)c);
      case SYS_getpeername: return shunt_getpeername((int)a, (void*)b, (void*)c);
      case SYS_getsockopt: return shunt_getsockopt((int)a, (int)b, (int)c, (void*)d, (void*)e);
      case SYS_sendto:
        return shunt_sendto((int)a, (void*)b, (size_t)c, (int)d, (void*)e, (socklen_t)f);
      case SYS_sendmsg: return shunt_sendmsg((int)a, (void*)b, (int)c);
      case SYS_sendmmsg: return shunt_sendmmsg((int)a, (void*)b, (unsigned)c, (int)d);
      case SYS_recvfrom:
        return shunt_recvfrom((int)a, (void*)b, (size_t)c, (int)d, (void*)e, (void*)f);
      case SYS_recvmsg: return shunt_recvmsg((int)a, (void*)b, (int)c);
      case SYS_recvmmsg: return shunt_recvmmsg((int)a, (void*)b, (unsigned)c, (int)d, (void*)e);
      case SYS_execve: return shunt_execve((void*)a, (void*)b, (void*)c);
      case SYS_execveat: return shunt_execveat((int)a, (void*)b, (void*)c, (void*)d, (int)e);
      case SYS_io_uring_setup: errno = ENOSYS; return -1;
      default: break;
    }
  }
  return NEXT(syscall_function, syscall)(number, a, b, c, d, e, f);
}
