// SPDX-License-Identifier: GPL-2.0-only
// What a service manager is told (sd_notify(3)), over the datagram socket that $NOTIFY_SOCKET
// names. Without that variable nobody wants to know, and nothing is sent.
#pragma once

#include <string_view>

#include "base/result.h"

namespace shunt {

/// Type=notify: the service is up, with a word on how.
Result<void> notify_ready(std::string_view status);
/// Type=notify-reload (systemd 253) as well: it wants the time of day of CLOCK_MONOTONIC. To be
/// followed by notify_ready(), whatever becomes of the reload.
Result<void> notify_reloading();
Result<void> notify_stopping();

/// One message of "NAME=VALUE" lines. Does not block; an Error names the socket.
Result<void> notify_service_manager(std::string_view message);

}  // namespace shunt
