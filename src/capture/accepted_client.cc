// SPDX-License-Identifier: GPL-2.0-only
#include <cstddef>
#include <utility>

#include "capture/capture.h"
#include "net/frame_pool.h"
#include "net/socket.h"

namespace shunt {
namespace {

/// Was let in by accept(): to turn it away is to reset it.
class AcceptedClient final : public Admission {
 public:
  explicit AcceptedClient(UniqueFd fd) : fd_(std::move(fd)) {}

  // One for each connection, and gone when that is let in: it lives and dies as a frame does.
  static void* operator new(std::size_t size) { return allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) { free_frame(memory, size); }

  Task<std::expected<UniqueFd, ConnectFailure>> admit() override { co_return std::move(fd_); }

  void refuse(const ConnectFailure& /*failure*/) override {
    reset_on_close(fd_.get());
    fd_.reset();
  }

  UniqueFd drop() override { return std::move(fd_); }

  [[nodiscard]] int peekable_fd() const override { return fd_.get(); }

  [[nodiscard]] std::optional<std::string> arrival_interface() const override {
    return shunt::arrival_interface(fd_.get());
  }

 private:
  UniqueFd fd_;
};

}  // namespace

std::unique_ptr<Admission> accepted_client(UniqueFd fd) {
  return std::make_unique<AcceptedClient>(std::move(fd));
}

}  // namespace shunt
