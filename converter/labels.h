// The names of the classes: config.json's id2label, or a file of the user's.
#ifndef OCTOBERT_CONVERTER_LABELS_H_
#define OCTOBERT_CONVERTER_LABELS_H_

#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

namespace octobert::converter {

// id2label, its keys (strings, "10" before "2" as text) sorted as integers; they must be 0, 1, 2, ... without a gap.
// Without id2label, the reference's names: LABEL_0 .. for num_labels labels (2 where that is missing too).
// Throws Error(kFormat) naming `source` and the key.
std::vector<std::string> labels_of_config(const nlohmann::json& config, const std::string& source);

// One name a line, LF or CRLF, UTF-8, none empty. Throws Error(kIo, kFormat) naming the file and the line.
std::vector<std::string> labels_of_file(const std::filesystem::path& path);

// Whether these are LABEL_n only: the reference's stand-ins for names that nobody gave.
bool are_default_names(std::span<const std::string> labels);

// What a user should know about these names: nothing but LABEL_n, names that group to the ignored "O" (the reference
// drops "B-O" silently, huggingface/transformers#30028), one name twice.
std::vector<std::string> label_warnings(const std::vector<std::string>& labels);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_LABELS_H_
