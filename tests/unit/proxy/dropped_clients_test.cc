// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/dropped_clients.h"

#include <gtest/gtest.h>
#include <netinet/tcp.h>

#include "base/limits.h"
#include "unit/support/loop_thread.h"
#include "unit/support/tcp_pair.h"

namespace shunt {
namespace {

class DroppedClientsTest : public testing::Test {
 protected:
  template <class T>
  T on_loop(std::function<T()> work) {
    std::promise<T> promise;
    thread_.loop().post([&] { promise.set_value(work()); });
    return promise.get_future().get();
  }

  void SetUp() override {
    on_loop<int>([&] {
      dropped_ = std::make_unique<DroppedClients>(thread_.loop(), budget_);
      return 0;
    });
  }
  void TearDown() override {
    on_loop<int>([&] {
      dropped_.reset();
      return 0;
    });
    EXPECT_TRUE(budget_.take(kDescriptors)) << "not all descriptors were given back";
  }

  void take(UniqueFd fd) {
    on_loop<int>([&] {
      dropped_->take(std::move(fd));
      return 0;
    });
  }

  static constexpr int kDescriptors = 100;
  FdBudget budget_{kDescriptors};
  std::unique_ptr<DroppedClients> dropped_;
  test::LoopThread thread_;
};

/// Segments that were sent again because no acknowledgement came.
bool retransmits(int fd) {
  for (int waited_ms = 0; waited_ms < test::kDeadlineMs; waited_ms += 10) {
    tcp_info info{};
    socklen_t size = sizeof info;
    EXPECT_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    if (info.tcpi_total_retrans > 0) return true;
    pollfd poll{.fd = fd, .events = POLLIN, .revents = 0};
    ::poll(&poll, 1, 10);
  }
  return false;
}

TEST_F(DroppedClientsTest, client_hears_nothing_not_even_an_acknowledgement) {
  auto pair = test::tcp_pair();
  take(std::move(pair.far));
  test::send_all(pair.near.get(), "anybody there?");
  EXPECT_TRUE(retransmits(pair.near.get()));
  pollfd poll{.fd = pair.near.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&poll, 1, 0), 0) << "there was a FIN, a reset or data";
}

TEST_F(DroppedClientsTest, client_that_was_never_let_in_needs_nothing) {
  take(UniqueFd());
  EXPECT_EQ(on_loop<std::size_t>([&] { return dropped_->size(); }), 0U);
}

TEST_F(DroppedClientsTest, closing_gives_everything_back_and_sends_no_fin) {
  auto pair = test::tcp_pair();
  take(std::move(pair.far));
  EXPECT_EQ(on_loop<std::size_t>([&] { return dropped_->size(); }), 1U);
  on_loop<int>([&] {
    dropped_->close();
    return 0;
  });
  EXPECT_EQ(on_loop<std::size_t>([&] { return dropped_->size(); }), 0U);
  char byte = 0;
  const ssize_t got = ::recv(pair.near.get(), &byte, 1, MSG_DONTWAIT);
  EXPECT_EQ(got, -1) << "a FIN";
  EXPECT_TRUE(errno == EAGAIN || errno == ECONNRESET);
}

TEST_F(DroppedClientsTest, nothing_is_kept_without_a_descriptor_for_it) {
  ASSERT_TRUE(budget_.take(kDescriptors));
  auto pair = test::tcp_pair();
  take(std::move(pair.far));
  EXPECT_EQ(on_loop<std::size_t>([&] { return dropped_->size(); }), 0U);
  budget_.give_back(kDescriptors);
}

}  // namespace
}  // namespace shunt
