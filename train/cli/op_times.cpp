#include "train/cli/op_times.h"

#include <chrono>
#include <thread>

namespace umbra {
namespace {

using Clock = std::chrono::steady_clock;

struct Sum {
  int64_t calls = 0;
  double seconds = 0.0;
};

// Torch's callbacks are plain functions, so what they write to is here.
std::map<std::string, Sum>* sums = nullptr;
std::thread::id recorded;
std::vector<double> of_callees;  // of each operation under way: seconds in those it called

struct Started : at::ObserverContext {
  Clock::time_point at = Clock::now();
};

std::unique_ptr<at::ObserverContext> start(const at::RecordFunction&) {
  if (std::this_thread::get_id() != recorded) return nullptr;
  of_callees.push_back(0.0);
  return std::make_unique<Started>();
}

void end(const at::RecordFunction& function, at::ObserverContext* context) {
  if (!context || of_callees.empty()) return;
  const Clock::time_point begin = static_cast<Started*>(context)->at;
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  Sum& sum = (*sums)[function.name()];
  ++sum.calls;
  sum.seconds += seconds - of_callees.back();
  of_callees.pop_back();
  if (!of_callees.empty()) of_callees.back() += seconds;
}

}  // namespace

OpRecorder::OpRecorder() {
  TORCH_CHECK(!sums, "operations are being recorded already");
  sums = new std::map<std::string, Sum>;
  recorded = std::this_thread::get_id();
  of_callees.clear();
  handle_ = at::addGlobalCallback(
      at::RecordFunctionCallback(start, end)
          .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
}

OpRecorder::~OpRecorder() {
  at::removeCallback(handle_);
  delete std::exchange(sums, nullptr);
}

std::vector<OpTime> OpRecorder::times() const {
  std::vector<OpTime> times;
  for (const auto& [name, sum] : *sums) times.push_back({name, sum.calls, sum.seconds});
  std::sort(times.begin(), times.end(),
            [](const OpTime& a, const OpTime& b) { return a.seconds > b.seconds; });
  return times;
}

}  // namespace umbra
