/* SPDX-License-Identifier: GPL-2.0-only
 * Takes over the connections and datagrams of a cgroup's processes by changing the address that
 * they are sent to. Programs for each call that names an address, and their way back:
 *
 *   connect4/6       TCP: the listener's address. UDP: an address that stands for the destination
 *   sendmsg4/6       UDP without connect(): the same, for each datagram
 *   recvmsg4/6       the source of a datagram becomes again what the program knows
 *   getpeername4/6   shows what the program connected to
 *   getsockname4/6   and from where that would have been. Resolvers connect UDP sockets to sort
 *                    addresses by what this says (RFC 6724), so where this machine reaches nothing
 *                    by a family, connect() fails with ENETUNREACH as it does without us
 *   getsockopt       SO_ORIGINAL_DST, for listeners that run in the cgroup
 *   sockops          TCP_CONNECT_CB: the source port is chosen and the SYN not yet sent, so that
 *                    `connections` has its entry before the listener can ask for it. STATE_CB:
 *                    the entry of an attempt that came to nothing goes with its socket
 *   sock_release     the entries of a UDP socket go to the recently closed ones
 *
 * A socket can be closed before shunt has read what it sent. An established connection waits in the
 * listener's queue whatever becomes of its client, so its entry waits as well; what a closed UDP
 * socket had sent is known until many others have been closed.
 *
 * A UDP socket has no port yet when it calls connect(), and the kernel calls nobody when a
 * connected socket sends. So each pair of a socket and a destination gets an address of its own
 * under 127.64.0.0/10 (or a prefix of IPv6), and the address at which a datagram arrives says
 * everything. What hangs on a TCP socket lies in the socket's own storage and goes with it.
 *
 * Without room for an entry the call fails with EPERM: nothing is let through uncaptured.
 */
#include "capture_original_dst.bpf.h"
#include "capture_state.bpf.h"
#include "capture_who.bpf.h"

/* What is remembered. */

static __always_inline void describe(struct bpf_sock_addr* ctx, const struct address* to,
                                     struct shunt_origin* out) {
  __u64 process = bpf_get_current_pid_tgid();
  __u64 ids = bpf_get_current_uid_gid();

  __builtin_memcpy(out->address, to->bytes, 16);
  out->port = bpf_ntohs(ctx->user_port);
  out->tgid = process >> 32;
  out->tid = (__u32)process;
  out->uid = (__u32)ids;
  out->gid = ids >> 32;
  out->cgroup = bpf_get_current_cgroup_id();
  out->socket = bpf_get_socket_cookie(ctx);
  bpf_get_current_comm(out->comm, sizeof(out->comm));
}

static __always_inline struct socket_state* state_of(struct bpf_sock_addr* ctx, int make) {
  struct bpf_sock* socket = ctx->sk;

  if (!socket) return 0;
  return bpf_sk_storage_get(&sockets, socket, 0, make ? BPF_SK_STORAGE_GET_F_CREATE : 0);
}

/* A socket that is bound to a device finds no way to the loopback one. */
static __always_inline void unbind_device(struct bpf_sock_addr* ctx) {
  struct bpf_sock* socket = ctx->sk;
  char none[1] = {0};

  if (socket && socket->bound_dev_if) {
    bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTODEVICE, none, sizeof(none));
  }
}

static __always_inline int is_reachable(int v6, const struct address* to) {
  return v6 && !is_mapped(to) ? host.reaches_v6 : host.reaches_v4;
}

static __always_inline int unreachable(void) {
  bpf_set_retval(-ENETUNREACH);
  return REFUSE;
}

static __always_inline int full(void) {
  __sync_fetch_and_add(&refused, 1);
  return REFUSE;
}

/* TCP. */

static __always_inline int connect_tcp(struct bpf_sock_addr* ctx, int v6,
                                       const struct address* to) {
  struct socket_state* state = state_of(ctx, 1);
  struct address listener = {};

  if (!state) return full();
  describe(ctx, to, &state->origin);
  state->tcp = 1;
  if (v6 && !is_mapped(to)) {
    listener.words[3] = bpf_htonl(1);
  } else {
    map_v4(bpf_htonl(0x7f000001), &listener);
  }
  set_user_address(ctx, v6, &listener, config.port);
  unbind_device(ctx);
  return ALLOW;
}

static __always_inline void client_of(struct bpf_sock_ops* ctx, struct shunt_client* out) {
  struct address address = {};

  if (ctx->family == AF_INET) {
    __u32 v4 = ctx->local_ip4;

    map_v4(own_load(v4), &address);
  } else {
    address.words[0] = own_load(ctx->local_ip6[0]);
    address.words[1] = own_load(ctx->local_ip6[1]);
    address.words[2] = own_load(ctx->local_ip6[2]);
    address.words[3] = own_load(ctx->local_ip6[3]);
  }
  __builtin_memcpy(out->address, address.bytes, 16);
  out->port = ctx->local_port;
}

SEC("sockops")
int shunt_sockops(struct bpf_sock_ops* ctx) {
  struct bpf_sock* socket = ctx->sk;
  struct socket_state* state;

  if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB && ctx->op != BPF_SOCK_OPS_STATE_CB) return 1;
  if (!socket) return 1;
  state = bpf_sk_storage_get(&sockets, socket, 0, 0);
  if (!state || !state->tcp) return 1;
  if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB) {
    client_of(ctx, &state->client);
    if (bpf_map_update_elem(&connections, &state->client, &state->origin, BPF_ANY) != 0) {
      __sync_fetch_and_add(&refused, 1); /* the listener then resets it */
      return 1;
    }
    state->in_connections = 1;
    bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
  } else if (ctx->args[1] == BPF_TCP_CLOSE && state->in_connections) {
    struct shunt_origin* there;

    if (ctx->args[0] != BPF_TCP_SYN_SENT) return 1; /* the listener has it, or will */
    there = bpf_map_lookup_elem(&connections, &state->client);

    /* Its port may be another socket's by now. */
    if (there && there->socket == state->origin.socket)
      bpf_map_delete_elem(&connections, &state->client);
    state->in_connections = 0;
    state->tcp = 0;
  }
  return 1;
}

/* UDP. */

static __always_inline void peer_address(__u32 number, int v6, const struct address* to,
                                         struct address* out) {
  if (v6 && !is_mapped(to)) {
    out->words[0] = config.peers_v6[0];
    out->words[1] = config.peers_v6[1];
    out->words[2] = config.peers_v6[2];
    out->words[3] = bpf_htonl(number);
  } else {
    map_v4(bpf_htonl(SHUNT_PEERS_V4 + number), out);
  }
}

/* Also the source that programs have towards it. */
static __always_inline int is_in_prefix(const struct address* address) {
  return config.peers_v6_valid && address->words[0] == config.peers_v6[0] &&
         address->words[1] == config.peers_v6[1] && address->words[2] == config.peers_v6[2];
}

/* The number of an address that we gave, or -1. */
static __always_inline int number_of(const struct address* address) {
  __u32 last = bpf_ntohl(address->words[3]);

  if (is_mapped(address)) {
    return (last & SHUNT_PEERS_V4_MASK) == SHUNT_PEERS_V4 ? (int)(last & ~SHUNT_PEERS_V4_MASK) : -1;
  }
  return is_in_prefix(address) && last < SHUNT_PEER_NUMBERS ? (int)last : -1;
}

static __always_inline struct shunt_origin* peer(__u32 number) {
  struct shunt_origin* found = bpf_map_lookup_elem(&connected_peers, &number);

  if (!found) found = bpf_map_lookup_elem(&peers, &number);
  return found ? found : bpf_map_lookup_elem(&closed_peers, &number);
}

/* The socket has closed, or is connected to something else. */
static __always_inline void retire(void* map, __u32 number) {
  struct shunt_origin* origin = bpf_map_lookup_elem(map, &number);

  if (!origin) return;
  bpf_map_update_elem(&closed_peers, &number, origin, BPF_ANY);
  bpf_map_delete_elem(map, &number);
}

/* Takes a number that nobody has; its entry goes into the map. -1: there is none. */
static __always_inline int take_number(void* map, const struct shunt_origin* origin) {
  int i;

  for (i = 0; i < TRIES; ++i) {
    __u32 number = bpf_get_prandom_u32() % SHUNT_PEER_NUMBERS;

    if (peer(number)) continue;
    if (bpf_map_update_elem(map, &number, origin, BPF_NOEXIST) == 0) return number;
  }
  return -1;
}

static __always_inline int connect_udp(struct bpf_sock_addr* ctx, int v6,
                                       const struct address* to) {
  struct socket_state* state;
  struct address given = {};
  __u32 before;
  int number;

  if (v6 && !is_mapped(to) && !config.peers_v6_valid) return REFUSE;
  state = state_of(ctx, 1);
  if (!state) return full();
  describe(ctx, to, &state->origin);
  before = state->connected;
  if (before) {
    retire(&connected_peers, before - 1);
    state->connected = 0;
  }
  number = take_number(&connected_peers, &state->origin);
  if (number < 0) return full();
  state->connected = number + 1;
  peer_address(number, v6, to, &given);
  set_user_address(ctx, v6, &given, config.port);
  unbind_device(ctx);
  return ALLOW;
}

/* The last few of a socket go with it, the others by their age. */
static __always_inline void keep(struct bpf_sock_addr* ctx, __u32 number) {
  struct socket_state* state = state_of(ctx, 1);
  __u32 at;

  if (!state) return;
  at = state->next_kept++ % KEPT_PEERS;
  state->kept[at & (KEPT_PEERS - 1)] = number + 1;
}

static __always_inline int send_udp(struct bpf_sock_addr* ctx, int v6) {
  struct shunt_origin origin = {};
  struct shunt_pair pair = {};
  struct address to = {};
  struct address given = {};
  __u32* known;
  int number;

  user_address(ctx, v6, &to);
  if (!is_captured(ctx, &to)) return ALLOW;
  if (!is_reachable(v6, &to)) return unreachable();
  if (v6 && !is_mapped(&to) && !config.peers_v6_valid) return REFUSE;
  describe(ctx, &to, &origin);
  pair.socket = origin.socket;
  pair.port = origin.port;
  __builtin_memcpy(pair.address, to.bytes, 16);
  known = bpf_map_lookup_elem(&numbers, &pair);
  if (known && bpf_map_lookup_elem(&peers, known)) {
    number = *known;
  } else {
    __u32 fresh;

    number = take_number(&peers, &origin);
    if (number < 0) return full();
    fresh = number;
    bpf_map_update_elem(&numbers, &pair, &fresh, BPF_ANY);
    keep(ctx, fresh);
  }
  peer_address(number, v6, &to, &given);
  set_user_address(ctx, v6, &given, config.port);
  unbind_device(ctx);
  return ALLOW;
}

static __always_inline int receive_udp(struct bpf_sock_addr* ctx, int v6) {
  struct address from = {};
  struct address meant = {};
  struct shunt_origin* origin;
  int number;

  if (bpf_ntohs(ctx->user_port) != config.port) return ALLOW;
  user_address(ctx, v6, &from);
  number = number_of(&from);
  if (number < 0) return ALLOW;
  origin = peer(number);
  if (!origin) return ALLOW;
  origin_address(origin, &meant);
  set_user_address(ctx, v6, &meant, origin->port);
  return ALLOW;
}

static __always_inline int connect_any(struct bpf_sock_addr* ctx, int v6) {
  struct address to = {};

  user_address(ctx, v6, &to);
  if (!is_captured(ctx, &to)) return ALLOW;
  if (!is_reachable(v6, &to)) return unreachable();
  return ctx->protocol == IPPROTO_TCP ? connect_tcp(ctx, v6, &to) : connect_udp(ctx, v6, &to);
}

static __always_inline int show_peer(struct bpf_sock_addr* ctx, int v6) {
  struct socket_state* state = state_of(ctx, 0);
  struct address meant = {};
  struct address shown = {};

  if (!state || bpf_ntohs(ctx->user_port) != config.port) return ALLOW;
  user_address(ctx, v6, &shown);
  if (ctx->protocol == IPPROTO_UDP && number_of(&shown) < 0) return ALLOW;
  origin_address(&state->origin, &meant);
  set_user_address(ctx, v6, &meant, state->origin.port);
  return ALLOW;
}

/* A program that bound its socket to an address knows it. */
static __always_inline int show_own(struct bpf_sock_addr* ctx, int v6) {
  struct socket_state* state = state_of(ctx, 0);
  struct address shown = {};
  struct address meant = {};
  __u32 port = bpf_ntohs(ctx->user_port);

  if (!state || (!state->tcp && !state->connected)) return ALLOW;
  user_address(ctx, v6, &shown);
  if (!is_loopback(&shown) && !is_in_prefix(&shown)) return ALLOW;
  __builtin_memcpy(meant.bytes, is_mapped(&shown) ? host.source_v4 : host.source_v6, 16);
  if (meant.halves[0] == 0 && meant.halves[1] == 0) return ALLOW;
  set_user_address(ctx, v6, &meant, port);
  return ALLOW;
}

SEC("cgroup/getsockname4") int shunt_getsockname4(struct bpf_sock_addr* ctx) {
  return show_own(ctx, 0);
}
SEC("cgroup/getsockname6") int shunt_getsockname6(struct bpf_sock_addr* ctx) {
  return show_own(ctx, 1);
}
SEC("cgroup/connect4") int shunt_connect4(struct bpf_sock_addr* ctx) { return connect_any(ctx, 0); }
SEC("cgroup/connect6") int shunt_connect6(struct bpf_sock_addr* ctx) { return connect_any(ctx, 1); }
SEC("cgroup/sendmsg4") int shunt_sendmsg4(struct bpf_sock_addr* ctx) { return send_udp(ctx, 0); }
SEC("cgroup/sendmsg6") int shunt_sendmsg6(struct bpf_sock_addr* ctx) { return send_udp(ctx, 1); }
SEC("cgroup/recvmsg4") int shunt_recvmsg4(struct bpf_sock_addr* ctx) { return receive_udp(ctx, 0); }
SEC("cgroup/recvmsg6") int shunt_recvmsg6(struct bpf_sock_addr* ctx) { return receive_udp(ctx, 1); }
SEC("cgroup/getpeername4") int shunt_getpeername4(struct bpf_sock_addr* ctx) {
  return show_peer(ctx, 0);
}
SEC("cgroup/getpeername6") int shunt_getpeername6(struct bpf_sock_addr* ctx) {
  return show_peer(ctx, 1);
}

SEC("cgroup/sock_release")
int shunt_release(struct bpf_sock* ctx) {
  struct socket_state* state;
  __u32 number;
  int i;

  if (ctx->protocol != IPPROTO_UDP) return 1;
  state = bpf_sk_storage_get(&sockets, ctx, 0, 0);
  if (!state) return 1;
  if (state->connected) retire(&connected_peers, state->connected - 1);
  for (i = 0; i < KEPT_PEERS; ++i) {
    struct shunt_origin* origin;
    struct shunt_pair pair = {};

    number = state->kept[i] - 1;
    if (!state->kept[i]) continue;
    origin = bpf_map_lookup_elem(&peers, &number);
    if (!origin) continue;
    pair.socket = origin->socket;
    pair.port = origin->port;
    __builtin_memcpy(pair.address, origin->address, 16);
    bpf_map_delete_elem(&numbers, &pair);
    retire(&peers, number);
  }
  return 1;
}

char LICENSE[] SEC("license") = "GPL";
