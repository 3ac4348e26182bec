/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For programs that choose themselves which way their sockets go: by a mark that `ip rule` looks at
 * (ip rule add fwmark 0x10 lookup 200), or by an interface. No shunt has to run, and there is
 * nothing to link with. C99 and C++, Linux.
 *
 * Call one of them between socket() and connect(), sendto() or listen(): what has been decided
 * about a connection is not decided again. An accepted socket has the mark and the interface of the
 * one that listened.
 *
 *     int fd = socket(AF_INET, SOCK_STREAM, 0);
 *     if (shunt_mark(fd, 0x10) != 0) err(1, "shunt_mark");
 */
#ifndef SHUNT_MARK_H
#define SHUNT_MARK_H

#include <errno.h>
#include <net/if.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Marks all packets that the socket sends from now on (SO_MARK, socket(7)); 0 takes the mark off.
 * Does not block. Returns 0, or -1 with errno:
 *   EPERM     needs CAP_NET_ADMIN or, since Linux 5.17, CAP_NET_RAW, in the user namespace that
 *             owns the socket's network namespace
 *   EBADF     `fd` is no open descriptor
 *   ENOTSOCK  it is no socket
 * The mark is a number of this machine: it does not leave it. Bits of it may be somebody else's
 * (shunt's own: `shunt plan`); what counts is what `ip rule` masks out.
 */
static inline int shunt_mark(int fd, uint32_t mark) {
  return setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, (socklen_t)sizeof mark);
}

/*
 * Lets the socket send and receive by this interface alone (SO_BINDTODEVICE, socket(7)), whatever
 * the routes are; "" or a null pointer takes that back. Does not block. Returns 0, or -1 with
 * errno:
 *   ENODEV    there is no interface of that name in the socket's network namespace
 *   EINVAL    the name is longer than an interface's can be
 *   EPERM     the socket is bound to an interface already: to change that needs CAP_NET_RAW. The
 *             first time needs no privilege since Linux 5.7, before that CAP_NET_RAW
 *   EBADF, ENOTSOCK  as above
 * The interface needs a route to the destination, or connect() says ENETUNREACH.
 */
static inline int shunt_bind_to_device(int fd, const char* name) {
  const size_t size = name == NULL ? 0 : strlen(name);
  if (size >= IFNAMSIZ) {
    errno = EINVAL;
    return -1;
  }
  return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, size == 0 ? "" : name, (socklen_t)size);
}

#ifdef __cplusplus
}
#endif

#endif
