#include "train/loop/stop_signal.h"

#include <unistd.h>
#include <csignal>

namespace umbra {
namespace {

volatile std::sig_atomic_t g_received = 0;

void on_signal(int signal) {
  if (g_received != 0) _exit(128 + signal);
  g_received = signal;
}

}  // namespace

StopSignal::StopSignal() {
  g_received = 0;
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}

StopSignal::~StopSignal() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

int StopSignal::received() const { return g_received; }

}  // namespace umbra
