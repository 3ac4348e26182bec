/* SPDX-License-Identifier: GPL-2.0-only
 * Gives the sockets of a cgroup's processes another way out, with no proxy in their traffic:
 *
 *   sock_create   a new socket gets its mark and its interface, before the program sees it
 *   connect4/6    and its source address, unless the program bound it itself
 *   sendmsg4/6    the same for datagrams of sockets that are not connected
 *   bind4/6       a port at any address becomes one at the source address
 *   an iterator   counts how many such sockets there are, when it is read. Who counts at the
 *                 creation cannot tell that another program refuses the socket afterwards
 *
 * Loopback is loopback for them, too: a socket that connects there, or is bound there, loses its
 * interface, and gets no source. What the kernel reads before it asks cannot be changed: the
 * interface of a datagram to loopback whose socket is not connected.
 *
 * Sockets that were there before are left alone. What is refused: with a source, sockets of a
 * family without one (EAFNOSUPPORT) and all but TCP and UDP (EPERM), which get no source here;
 * Multipath TCP (EPROTONOSUPPORT: programs then take TCP), since the kernel makes its connections
 * from sockets of its own; everything while the interface is gone (ENODEV).
 */
#include "addresses.bpf.h"
#include "route.abi.h"
#include "selectors.bpf.h"

#define IPPROTO_MPTCP 262

#define EPERM 1
#define ENOMEM 12
#define ENODEV 19
#define EPROTONOSUPPORT 93
#define EAFNOSUPPORT 97
#define EADDRNOTAVAIL 99

const volatile struct shunt_route_config config = {};

/* Its index; it may be made anew while the programs run. 0: it is gone. */
__u32 interface = 0;
/* Sockets that were routed since the start, and how many were refused. Read by shunt. */
__u64 routed = 0;
__u64 refused = 0;
/* Of the sockets that were routed the ones that are open; counted from what shunt wrote here. */
__u64 live = 0;

struct sockaddr_in {
  __u16 family;
  __u16 port;
  __u32 address;
  __u8 unused[8];
};
struct sockaddr_in6 {
  __u16 family;
  __u16 port;
  __u32 flow;
  __u32 address[4];
  __u32 scope;
};

/* A socket that is in here was routed when it was made. */
struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, __u32);
} sockets SEC(".maps");

static __always_inline int refuse(int error) {
  bpf_set_retval(-error);
  return REFUSE;
}

static __always_inline int refuse_new(int error) {
  __sync_fetch_and_add(&refused, 1);
  return refuse(error);
}

static __always_inline int can_have_source(const struct bpf_sock* socket) {
  return (socket->protocol == IPPROTO_TCP && socket->type == SOCK_STREAM) ||
         (socket->protocol == IPPROTO_UDP && socket->type == SOCK_DGRAM);
}

SEC("cgroup/sock_create")
int shunt_create(struct bpf_sock* ctx) {
  if (ctx->family != AF_INET && ctx->family != AF_INET6) return ALLOW;
  if (bpf_get_netns_cookie(ctx) != config.netns) return ALLOW;
  if (config.own_tgid && bpf_get_current_pid_tgid() >> 32 == config.own_tgid) return ALLOW;
  if (!is_selected(ctx, &config.selection)) return ALLOW;
  if (ctx->protocol == IPPROTO_MPTCP) return refuse_new(EPROTONOSUPPORT);
  if (config.has_source) {
    __u32 has = ctx->family == AF_INET ? config.has_source_v4 : config.has_source_v6;

    if (!has) return refuse_new(EAFNOSUPPORT);
    if (!can_have_source(ctx)) return refuse_new(EPERM);
  }
  if (config.by_interface && !interface) return refuse_new(ENODEV);
  if (!bpf_sk_storage_get(&sockets, ctx, 0, BPF_SK_STORAGE_GET_F_CREATE)) return refuse_new(ENOMEM);
  __sync_fetch_and_add(&routed, 1);
  if (config.mark) ctx->mark = config.mark;
  if (config.by_interface) ctx->bound_dev_if = interface;
  return ALLOW;
}

/* Of the running kernel (BTF). */
struct sock {
  void* sk_socket; /* NULL: closed by its program */
} __attribute__((preserve_access_index));

/* linux/bpf.h has it for the kernel alone. */
struct bpf_iter__bpf_sk_storage_map {
  void* meta;
  void* map;
  struct sock* sk; /* NULL: the end */
  void* value;
};

SEC("iter/bpf_sk_storage_map")
int shunt_count(struct bpf_iter__bpf_sk_storage_map* ctx) {
  struct sock* socket = ctx->sk;

  if (socket && socket->sk_socket) live++;
  return 0;
}

/* Addresses. */

/* The wildcard: of IPv4, or of IPv6 and then of both. */
static __always_inline int is_any(const struct address* address) {
  if (is_mapped(address)) return address->words[3] == 0;
  return address->halves[0] == 0 && address->halves[1] == 0;
}

static __always_inline int is_routed(struct bpf_sock_addr* ctx) {
  struct bpf_sock* socket = ctx->sk;

  return socket && bpf_sk_storage_get(&sockets, socket, 0, 0);
}

/* By the program itself, or by us before. */
static __always_inline int is_bound(struct bpf_sock* socket) {
  __u32 v4 = socket->src_ip4;

  if (socket->src_port) return 1;
  if (socket->family == AF_INET) return own_load(v4) != 0;
  return own_load(socket->src_ip6[0]) || own_load(socket->src_ip6[1]) ||
         own_load(socket->src_ip6[2]) || own_load(socket->src_ip6[3]);
}

static __always_inline void unbind_interface(struct bpf_sock_addr* ctx) {
  struct bpf_sock* socket = ctx->sk;
  char none[1] = {0};

  if (config.by_interface && socket && socket->bound_dev_if == interface) {
    bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTODEVICE, none, sizeof(none));
  }
}

/* One that loopback took it from. */
static __always_inline int rebind_interface(struct bpf_sock_addr* ctx) {
  struct bpf_sock* socket = ctx->sk;
  int index = interface;

  if (!config.by_interface || !socket || socket->bound_dev_if) return ALLOW;
  if (!index) return refuse(ENODEV);
  if (bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTOIFINDEX, &index, sizeof(index))) {
    return refuse(ENODEV);
  }
  return ALLOW;
}

/* What a message leaves by was read before we are asked. */
static __always_inline int has_lost_interface(struct bpf_sock_addr* ctx) {
  struct bpf_sock* socket = ctx->sk;

  return config.by_interface && socket && !socket->bound_dev_if;
}

/* Word by word: the compiler takes what it reads otherwise for what the initializer says. */
static __always_inline void source_v6(struct address* out) {
  out->words[0] = config.source_v6[0];
  out->words[1] = config.source_v6[1];
  out->words[2] = config.source_v6[2];
  out->words[3] = config.source_v6[3];
}

/* A socket of IPv6 is bound to its IPv4 source as to a mapped address. */
static __always_inline int bind_to_source(struct bpf_sock_addr* ctx, const struct address* to) {
  struct bpf_sock* socket = ctx->sk;
  struct address source = {};
  int mapped = is_mapped(to);
  long failed;

  if (mapped ? !config.has_source_v4 : !config.has_source_v6) return refuse(ENETUNREACH);
  if (!socket || is_bound(socket)) return ALLOW;
  if (mapped) {
    map_v4(config.source_v4, &source);
  } else {
    source_v6(&source);
  }
  if (socket->family == AF_INET) {
    struct sockaddr_in at = {.family = AF_INET, .address = source.words[3]};

    failed = bpf_bind(ctx, (struct sockaddr*)&at, sizeof(at));
  } else {
    struct sockaddr_in6 at = {.family = AF_INET6};

    __builtin_memcpy(at.address, source.words, 16);
    failed = bpf_bind(ctx, (struct sockaddr*)&at, sizeof(at));
  }
  return failed ? refuse(EADDRNOTAVAIL) : ALLOW;
}

static __always_inline int connect_any(struct bpf_sock_addr* ctx, int v6) {
  struct address to = {};

  if (!is_routed(ctx)) return ALLOW;
  user_address(ctx, v6, &to);
  if (is_loopback(&to)) {
    unbind_interface(ctx);
    return ALLOW;
  }
  if (rebind_interface(ctx) != ALLOW) return REFUSE;
  return config.has_source ? bind_to_source(ctx, &to) : ALLOW;
}

SEC("cgroup/connect4") int shunt_connect4(struct bpf_sock_addr* ctx) { return connect_any(ctx, 0); }
SEC("cgroup/connect6") int shunt_connect6(struct bpf_sock_addr* ctx) { return connect_any(ctx, 1); }

static __always_inline int bind_any(struct bpf_sock_addr* ctx, int v6) {
  struct address at = {};

  if (!is_routed(ctx)) return ALLOW;
  user_address(ctx, v6, &at);
  if (is_loopback(&at)) {
    unbind_interface(ctx);
  } else if (!v6 && config.has_source_v4 && is_any(&at)) {
    ctx->user_ip4 = config.source_v4;
  } else if (v6 && config.has_source && is_any(&at) && is_mapped(&at)) {
    if (!config.has_source_v4) return refuse(EADDRNOTAVAIL);
    ctx->user_ip6[3] = config.source_v4;
  } else if (v6 && config.has_source_v6 && is_any(&at) && !is_mapped(&at)) {
    struct address source;

    source_v6(&source);
    ctx->user_ip6[0] = source.words[0];
    ctx->user_ip6[1] = source.words[1];
    ctx->user_ip6[2] = source.words[2];
    ctx->user_ip6[3] = source.words[3];
  }
  return ALLOW;
}

SEC("cgroup/bind4") int shunt_bind4(struct bpf_sock_addr* ctx) { return bind_any(ctx, 0); }
SEC("cgroup/bind6") int shunt_bind6(struct bpf_sock_addr* ctx) { return bind_any(ctx, 1); }

SEC("cgroup/sendmsg4")
int shunt_sendmsg4(struct bpf_sock_addr* ctx) {
  struct address to = {};
  __u32 v4;

  if (!is_routed(ctx)) return ALLOW;
  user_address(ctx, 0, &to);
  if (is_loopback(&to)) return ALLOW;
  if (has_lost_interface(ctx)) return refuse(ENETUNREACH);
  if (!config.has_source) return ALLOW;
  if (!config.has_source_v4) return refuse(ENETUNREACH);
  v4 = ctx->msg_src_ip4;
  if (own_load(v4)) return ALLOW; /* bound, or named with IP_PKTINFO */
  ctx->msg_src_ip4 = config.source_v4;
  return ALLOW;
}

SEC("cgroup/sendmsg6")
int shunt_sendmsg6(struct bpf_sock_addr* ctx) {
  struct address source = {};
  struct address to = {};

  if (!is_routed(ctx)) return ALLOW;
  user_address(ctx, 1, &to);
  if (is_loopback(&to)) return ALLOW;
  if (has_lost_interface(ctx)) return refuse(ENETUNREACH);
  if (!config.has_source) return ALLOW;
  if (!config.has_source_v6) return refuse(ENETUNREACH);
  source.words[0] = own_load(ctx->msg_src_ip6[0]);
  source.words[1] = own_load(ctx->msg_src_ip6[1]);
  source.words[2] = own_load(ctx->msg_src_ip6[2]);
  source.words[3] = own_load(ctx->msg_src_ip6[3]);
  if (source.halves[0] || source.halves[1]) return ALLOW;
  source_v6(&source);
  ctx->msg_src_ip6[0] = source.words[0];
  ctx->msg_src_ip6[1] = source.words[1];
  ctx->msg_src_ip6[2] = source.words[2];
  ctx->msg_src_ip6[3] = source.words[3];
  return ALLOW;
}

char LICENSE[] SEC("license") = "GPL";
