// The rows of the model table: each family gives its own.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cnn/backbone.h"

namespace umbra::cnn {

struct Entry {
  std::string name;
  int64_t input_size;  // side in pixels that it is published for
  std::function<std::shared_ptr<Backbone>(const CnnOptions&)> build;
};

using Entries = std::vector<Entry>;

// A row for a class that is made from a design and the options.
template <class Network, class Design>
Entry entry(std::string name, int64_t input_size, Design design) {
  return {std::move(name), input_size, [design](const CnnOptions& options) {
            return std::make_shared<Network>(design, options);
          }};
}

}  // namespace umbra::cnn
