// Whether a run may go on: it does with the same config, data and teachers, from an intact
// checkpoint.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "train/loop/run_data.h"
#include "train/loop/run_folder.h"
#include "train/loop/teachers.h"

namespace umbra {

// Whether a key of the config changes no result, or only its last bits. A teacher's cache changes
// what docs/cache.md says.
bool changes_no_result(const std::string& key);

// Throws ConfigError, listing what differs, if the resolved config would give other results than
// that of the run in the folder.
void refuse_other_config(const RunFolder& folder, const Config& config);

// What a run learns from, for its checkpoints: names and checksums of its teachers, and a checksum
// of the training set: labels, class names, and the pixels of 64 images.
nlohmann::json sources_of(const RunData& data, const std::vector<RunTeacher>& teachers);

// Throws umbra::Error, naming which, if the run of the checkpoint has learned from something else
// (as far as an older program has noted it).
void refuse_other_sources(const nlohmann::json& state, const nlohmann::json& sources);

// The checkpoint of that name ("best", "last", "step-..."). Throws ConfigError if there is none,
// and umbra::Error if it is damaged, naming the newest one that is intact.
Checkpoint read_intact(const CheckpointStore& store, const std::string& name);

}  // namespace umbra
