// Where a step's time goes, by torch operation.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/record_function.h>

namespace umbra {

struct OpTime {
  std::string name;
  int64_t calls = 0;
  double seconds = 0.0;  // in the operation itself, without those that it calls
};

// While it lives, adds up the time that this thread spends in each operation, forward and backward.
// Only one may live at a time. What runs on a GPU afterwards is not seen.
class OpRecorder {
 public:
  OpRecorder();
  ~OpRecorder();
  OpRecorder(const OpRecorder&) = delete;
  OpRecorder& operator=(const OpRecorder&) = delete;

  std::vector<OpTime> times() const;  // the longest first

 private:
  at::CallbackHandle handle_;
};

}  // namespace umbra
