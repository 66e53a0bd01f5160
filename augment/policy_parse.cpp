#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <sstream>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "augment/nearest_hint.h"
#include "augment/policy_plan.h"

namespace umbra::augment {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw std::invalid_argument(fmt::format(format, std::forward<Args>(args)...));
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text + separator);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

std::optional<double> to_number(const std::string& text) {
  double number = 0.0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  return error == std::errc{} && rest == end ? std::optional(number) : std::nullopt;
}

// --- sections: "m9", "mstd0.5", "tweights" ---------------------------------------------------

// A section is a key with its value: a number from low to high, or one of some words.
struct Key {
  std::string name, meaning;
  double low = 0.0, high = 1.0;
  bool whole = false;
  std::vector<std::string> words = {};

  std::string accepted() const {
    if (!words.empty()) return fmt::format("one of {}", fmt::join(words, ", "));
    if (std::isinf(high)) return fmt::format("a number from {} up, or inf", low);
    if (whole && low == 0.0 && high == 1.0) return "0 or 1";
    return fmt::format("a {} from {} to {}", whole ? "whole number" : "number", low, high);
  }

  // The number, or the index of the word.
  std::optional<double> value(const std::string& text) const {
    if (!words.empty()) {
      const auto found = std::find(words.begin(), words.end(), text);
      if (found == words.end()) return std::nullopt;
      return static_cast<double>(found - words.begin());
    }
    const std::optional<double> number = to_number(text);
    const bool fits = number && *number >= low && *number <= high;
    return fits && !(whole && *number != std::trunc(*number)) ? number : std::nullopt;
  }
};

// The sections of one policy's text, by key.
class Sections {
 public:
  Sections(const std::string& text, const std::vector<Key>& keys, std::string example)
      : text_(text), keys_(keys), example_(std::move(example)) {
    const std::vector<std::string> sections = split(text, '-');
    name_ = sections[0];
    for (size_t i = 1; i < sections.size(); ++i) {
      if (sections[i].empty()) {
        const bool last = i + 1 == sections.size();
        fail("'{}' has an empty section{}: remove the extra dash", text,
             last ? " at its end" : " between two dashes");
      }
      read(sections[i]);
    }
  }

  double value(const std::string& key, double otherwise) const {
    const auto found = values_.find(key);
    return found == values_.end() ? otherwise : found->second;
  }
  int whole(const std::string& key, int otherwise) const {
    return static_cast<int>(value(key, otherwise));
  }
  bool has(const std::string& key) const { return values_.contains(key); }

 private:
  void read(const std::string& section) {
    const Key& key = key_of(section);
    const std::string given = section.substr(key.name.size());
    const std::optional<double> value = key.value(given);
    if (!value) {
      fail("section '{}' of '{}': {} ({}) takes {}.{}", section, text_, key.name, key.meaning,
           key.accepted(), nearest_hint(given, key.words));
    }
    if (!values_.emplace(key.name, *value).second) {
      fail("'{}' gives {} ({}) twice: keep one of them", text_, key.name, key.meaning);
    }
  }

  const Key& key_of(const std::string& section) const {
    const size_t number = std::min(section.find_first_of("0123456789."), section.find("inf"));
    const std::string letters = section.substr(0, number);
    std::vector<std::string> names, known;
    for (const Key& key : keys_) {
      if (key.name == letters || (!key.words.empty() && section.starts_with(key.name))) return key;
      if (key.name.size() > 1) names.push_back(key.name);
      known.push_back(fmt::format("{} ({})", key.name, key.meaning));
    }
    if (keys_.empty()) fail("'{}' takes no sections: remove '-{}'", name_, section);
    fail("unknown section '{}' in '{}'.{} The sections of {} are {}; for example '{}'", section,
         text_, letters.size() > 1 ? nearest_hint(letters, names) : "", name_,
         fmt::join(known, ", "), example_);
  }

  const std::string& text_;
  const std::vector<Key>& keys_;
  const std::string example_;
  std::string name_;
  std::map<std::string, double> values_;
};

const Key kSpread = {"mstd", "noise of the magnitude; inf: uniform from 0 to it", 0, kInfinity};

// timm reads mstd above 100 so for RandAugment; here it holds for every policy.
double level_std(const Sections& sections, double otherwise) {
  const double std = sections.value("mstd", otherwise);
  return std > 100.0 ? kInfinity : std;
}

// --- RandAugment -----------------------------------------------------------------------------

const std::vector<std::string> kRandOps = {
    "AutoContrast", "Equalize",    "Invert", "Rotate",        "Posterize",
    "Solarize",     "SolarizeAdd", "Color",  "Contrast",      "Brightness",
    "Sharpness",    "ShearX",      "ShearY", "TranslateXRel", "TranslateYRel"};

using WeightedOps = std::vector<std::pair<std::string, double>>;

struct OpSet {
  std::string name;
  WeightedOps ops;
  bool weighted = true;
};

const std::vector<OpSet> kOpSets = {
    {"weights",
     {{"Rotate", 3},
      {"ShearX", 2},
      {"ShearY", 2},
      {"TranslateXRel", 1},
      {"TranslateYRel", 1},
      {"ColorIncreasing", 0.25},
      {"SharpnessIncreasing", 0.25},
      {"AutoContrast", 0.25},
      {"SolarizeIncreasing", 0.05},
      {"SolarizeAdd", 0.05},
      {"ContrastIncreasing", 0.05},
      {"BrightnessIncreasing", 0.05},
      {"Equalize", 0.05},
      {"PosterizeIncreasing", 0.05},
      {"Invert", 0.05}}},
    {"3a", {{"SolarizeIncreasing", 1}, {"Desaturate", 1}, {"GaussianBlur", 1}}, false},
    {"3aw",
     {{"SolarizeIncreasing", 6},
      {"Desaturate", 6},
      {"GaussianBlur", 6},
      {"Rotate", 3},
      {"ShearX", 2},
      {"ShearY", 2},
      {"PosterizeIncreasing", 1},
      {"AutoContrast", 1},
      {"ColorIncreasing", 1},
      {"SharpnessIncreasing", 1},
      {"ContrastIncreasing", 1},
      {"BrightnessIncreasing", 1},
      {"Equalize", 1},
      {"Invert", 1}}}};

const std::vector<Key> kRandKeys = {
    {"m", "magnitude", 0, 100},
    {"n", "operations per image", 1, 100, true},
    {"p", "probability of each operation", 0, 1},
    kSpread,
    {"mmax", "largest magnitude, otherwise 10", 1, 100, true},
    {"inc", "1: operations that are stronger at higher magnitudes", 0, 1, true},
    {"t", "another set of operations", 0, 0, false, {"weights", "3a", "3aw"}}};

// The variant that grows with the level, where an operation has one.
std::string increasing(const std::string& name) {
  return find_op(name + "Increasing") ? name + "Increasing" : name;
}

PolicyPlan rand_augment(const std::string& text) {
  const Sections sections(text, kRandKeys, "rand-m9-mstd0.5-inc1");
  PolicyPlan plan;
  plan.picks = sections.whole("n", 2);
  plan.level_std = level_std(sections, 0.0);
  plan.max_level = sections.value("mmax", 10.0);
  const double level = sections.value("m", 10.0), probability = sections.value("p", 0.5);
  if (level > plan.max_level) {
    fail("'{}' has magnitude {} but magnitudes end at {}: lower m, or add -mmax{}", text, level,
         plan.max_level, std::ceil(level));
  }
  const auto add = [&](const std::string& name) {
    plan.options.push_back({{find_op(name), probability, level}});
  };
  if (!sections.has("t")) {
    const bool inc = sections.whole("inc", 0) == 1;
    for (const std::string& name : kRandOps) add(inc ? increasing(name) : name);
    return plan;
  }
  const OpSet& set = kOpSets[sections.whole("t", 0)];
  for (const auto& [name, weight] : set.ops) {
    add(name);
    if (set.weighted) plan.weights.push_back(weight);
  }
  if (set.weighted && plan.picks > static_cast<int>(set.ops.size())) {
    fail("'{}' asks for {} operations, but t{} draws each of its {} once at most: lower n", text,
         plan.picks, set.name, set.ops.size());
  }
  return plan;
}

// --- AutoAugment and custom policies ---------------------------------------------------------

// "Rotate 0.6 9": operation, probability, magnitude.
PlannedOp parse_planned_op(const std::string& text, const std::string& place) {
  std::istringstream stream(text);
  std::vector<std::string> words = {};
  for (std::string word; stream >> word;) words.push_back(word);
  if (words.size() != 3) {
    fail("{}: want operation, probability and magnitude, such as 'Rotate 0.6 9'; got '{}'", place,
         fmt::join(words, " "));
  }
  const Op* op = find_op(words[0]);
  if (!op) fail("{}: {}", place, unknown_op(words[0]));
  const std::optional<double> probability = to_number(words[1]), level = to_number(words[2]);
  if (!probability || !(*probability >= 0.0 && *probability <= 1.0)) {
    fail("{}: the probability of {} is '{}': want 0 to 1", place, words[0], words[1]);
  }
  if (!level || !(*level >= 0.0 && *level <= 10.0)) {
    fail("{}: the magnitude of {} is '{}': want 0 to 10", place, words[0], words[2]);
  }
  return {op, *probability, *level};
}

std::vector<PlannedOp> parse_sub_policy(const std::string& line, size_t number) {
  const std::string place = fmt::format("sub-policy {} '{}'", number, line);
  std::vector<PlannedOp> ops;
  for (const std::string& part : split(line, '+')) ops.push_back(parse_planned_op(part, place));
  if (std::none_of(ops.begin(), ops.end(), [](const auto& op) { return op.probability > 0.0; })) {
    fail("{} never does anything: every probability in it is 0", place);
  }
  return ops;
}

PolicyPlan sub_policies_plan(const std::vector<std::string>& lines) {
  PolicyPlan plan;
  for (const std::string& line : lines) {
    plan.options.push_back(parse_sub_policy(line, plan.options.size() + 1));
  }
  return plan;
}

PolicyPlan custom(const std::vector<std::string>& lines) {
  if (lines.empty()) {
    fail(
        "'custom' needs sub-policies: lines such as 'Posterize 0.4 8 + Rotate 0.6 9', each "
        "operation with its probability and magnitude");
  }
  return sub_policies_plan(lines);
}

// The ImageNet policy of the paper (Cubuk et al., 2019, table 9).
const std::vector<std::string> kOriginal = {"PosterizeOriginal 0.4 8 + Rotate 0.6 9",
                                            "Solarize 0.6 5 + AutoContrast 0.6 5",
                                            "Equalize 0.8 8 + Equalize 0.6 3",
                                            "PosterizeOriginal 0.6 7 + PosterizeOriginal 0.6 6",
                                            "Equalize 0.4 7 + Solarize 0.2 4",
                                            "Equalize 0.4 4 + Rotate 0.8 8",
                                            "Solarize 0.6 3 + Equalize 0.6 7",
                                            "PosterizeOriginal 0.8 5 + Equalize 1 2",
                                            "Rotate 0.2 3 + Solarize 0.6 8",
                                            "Equalize 0.6 8 + PosterizeOriginal 0.4 6",
                                            "Rotate 0.8 8 + Color 0.4 0",
                                            "Rotate 0.4 9 + Equalize 0.6 2",
                                            "Equalize 0 7 + Equalize 0.8 8",
                                            "Invert 0.6 4 + Equalize 1 8",
                                            "Color 0.6 4 + Contrast 1 8",
                                            "Rotate 0.8 8 + Color 1 2",
                                            "Color 0.8 8 + Solarize 0.8 7",
                                            "Sharpness 0.4 7 + Invert 0.6 8",
                                            "ShearX 0.6 5 + Equalize 1 9",
                                            "Color 0.4 0 + Equalize 0.6 3",
                                            "Equalize 0.4 7 + Solarize 0.2 4",
                                            "Solarize 0.6 5 + AutoContrast 0.6 5",
                                            "Invert 0.6 4 + Equalize 1 8",
                                            "Color 0.6 4 + Contrast 1 8",
                                            "Equalize 0.8 8 + Equalize 0.6 3"};

// The policy of EfficientNet's TPU code.
const std::vector<std::string> kV0 = {"Equalize 0.8 1 + ShearY 0.8 4",
                                      "Color 0.4 9 + Equalize 0.6 3",
                                      "Color 0.4 1 + Rotate 0.6 8",
                                      "Solarize 0.8 3 + Equalize 0.4 7",
                                      "Solarize 0.4 2 + Solarize 0.6 2",
                                      "Color 0.2 0 + Equalize 0.8 8",
                                      "Equalize 0.4 8 + SolarizeAdd 0.8 3",
                                      "ShearX 0.2 9 + Rotate 0.6 8",
                                      "Color 0.6 1 + Equalize 1 2",
                                      "Invert 0.4 9 + Rotate 0.6 0",
                                      "Equalize 1 9 + ShearY 0.6 3",
                                      "Color 0.4 7 + Equalize 0.6 0",
                                      "Posterize 0.4 6 + AutoContrast 0.4 7",
                                      "Solarize 0.6 8 + Color 0.6 9",
                                      "Solarize 0.2 4 + Rotate 0.8 9",
                                      "Rotate 1 7 + TranslateYRel 0.8 9",
                                      "ShearX 0 0 + Solarize 0.8 4",
                                      "ShearY 0.8 0 + Color 0.6 4",
                                      "Color 1 0 + Rotate 0.6 2",
                                      "Equalize 0.8 4 + Equalize 0 8",
                                      "Equalize 1 4 + AutoContrast 0.6 2",
                                      "ShearY 0.4 7 + SolarizeAdd 0.6 7",
                                      "Posterize 0.8 2 + Solarize 0.6 10",
                                      "Solarize 0.6 8 + Equalize 0.6 1",
                                      "Color 0.8 6 + Rotate 0.4 5"};

const std::vector<std::string> kThreeAugment = {"Solarize 1 5", "Desaturate 1 10",
                                                "GaussianBlurRand 1 10"};

const std::vector<Key> kAutoKeys = {kSpread};

PolicyPlan auto_augment(const std::string& text, const std::vector<std::string>& lines) {
  const Sections sections(text, kAutoKeys, "original-mstd0.5");
  PolicyPlan plan = sub_policies_plan(lines);
  plan.level_std = level_std(sections, 0.0);
  return plan;
}

// timm's "r" variants: fewer bits at higher magnitudes, as in Google's research code.
PolicyPlan research(PolicyPlan plan) {
  for (auto& option : plan.options) {
    for (PlannedOp& planned : option) {
      if (planned.op->name.starts_with("Posterize")) planned.op = find_op("PosterizeIncreasing");
    }
  }
  return plan;
}

// --- AugMix and TrivialAugment-Wide ----------------------------------------------------------

const std::vector<std::string> kAugMixOps = {"AutoContrast",
                                             "ColorIncreasing",
                                             "ContrastIncreasing",
                                             "BrightnessIncreasing",
                                             "SharpnessIncreasing",
                                             "Equalize",
                                             "Rotate",
                                             "PosterizeIncreasing",
                                             "SolarizeIncreasing",
                                             "ShearX",
                                             "ShearY",
                                             "TranslateXRel",
                                             "TranslateYRel"};

const std::vector<Key> kAugMixKeys = {
    {"m", "magnitude", 0, 10},
    {"w", "chains that are mixed", 1, 100, true},
    {"d", "operations per chain, otherwise 1 to 3 at random", 1, 100, true},
    {"a", "concentration of the Dirichlet and Beta distributions", 0.01, 100},
    {"b", "1: blended chain after chain", 0, 1, true},
    kSpread};

PolicyPlan augmix(const std::string& text) {
  const Sections sections(text, kAugMixKeys, "augmix-m3-w3");
  PolicyPlan plan;
  for (const std::string& name : kAugMixOps) {
    plan.options.push_back({{find_op(name, OpRules::kAugMix), 1.0, sections.value("m", 3.0)}});
  }
  plan.picks = sections.whole("d", PolicyPlan::kRandomPicks);
  plan.level_std = level_std(sections, kInfinity);
  plan.mix = {sections.whole("w", 3), sections.value("a", 1.0), sections.whole("b", 0) == 1};
  return plan;
}

const std::vector<std::string> kTrivialOps = {
    "Identity", "ShearX",   "ShearY",    "TranslateX", "TranslateY", "Rotate",       "Brightness",
    "Color",    "Contrast", "Sharpness", "Posterize",  "Solarize",   "AutoContrast", "Equalize"};

const std::vector<Key> kNoKeys;

// Every bin of every operation is an option.
PolicyPlan trivial_augment(const std::string& text) {
  const Sections none_accepted(text, kNoKeys, text);
  PolicyPlan plan;
  for (const std::string& name : kTrivialOps) {
    for (int bin = 0; bin < kTrivialBins; ++bin) {
      plan.options.push_back({{find_op(name, OpRules::kTrivial), 1.0, static_cast<double>(bin)}});
    }
  }
  plan.max_level = kTrivialBins - 1;
  return plan;
}

}  // namespace

PolicyPlan parse_policy(const std::string& text, const std::vector<std::string>& sub_policies) {
  const std::string name = text.substr(0, text.find('-'));
  if (text == "custom") return custom(sub_policies);
  if (name == "custom") fail("'custom' takes no sections: remove '{}'", text.substr(name.size()));
  if (!sub_policies.empty())
    fail("sub-policies are for 'custom' only, but the policy is '{}'", text);
  if (name == "rand") return rand_augment(text);
  if (name == "original") return auto_augment(text, kOriginal);
  if (name == "originalr") return research(auto_augment(text, kOriginal));
  if (name == "v0") return auto_augment(text, kV0);
  if (name == "v0r") return research(auto_augment(text, kV0));
  if (name == "3a") return auto_augment(text, kThreeAugment);
  if (name == "augmix") return augmix(text);
  if (name == "ta_wide") return trivial_augment(text);
  const std::vector<std::string> known = {"rand", "original", "originalr", "v0",    "v0r",
                                          "3a",   "augmix",   "ta_wide",   "custom"};
  fail(
      "unknown policy '{}'.{} Known are rand (RandAugment), original, originalr, v0, v0r "
      "(AutoAugment), 3a (3-Augment), augmix, ta_wide (TrivialAugment) and custom; for example "
      "'rand-m9-mstd0.5-inc1'",
      name, name.empty() ? "" : nearest_hint(name, known));
}

}  // namespace umbra::augment
