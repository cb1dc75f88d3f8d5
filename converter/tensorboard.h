// A report as an event file of TensorBoard: TFRecord frames (length, masked CRC-32C, bytes) of protobuf Event messages,
// both written by hand, since they are few: tensorflow/core/{util/event.proto, framework/summary.proto,
// lib/io/record_writer.h} of TensorFlow.
#ifndef OCTOBERT_CONVERTER_TENSORBOARD_H_
#define OCTOBERT_CONVERTER_TENSORBOARD_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "converter/report_data.h"

namespace octobert::converter {

// CRC-32C (Castagnoli, RFC 3720 B.4).
uint32_t crc32c(std::string_view bytes);

// The file's bytes. wall_time: seconds since 1970, of every event.
// Scalars: a layer's number, or the number of a step of the search, is the step; so are the histograms'. Texts:
// metrics, provenance, what changed.
std::string event_file(const ReportData& data, double wall_time);

inline constexpr const char* kTensorboardFile = "events.out.tfevents.octobert";

// FOLDER/events.out.tfevents.octobert, whole or not at all, in place of an earlier one; the folder is made if there is
// none. Throws Error(kIo) naming the file.
void write_tensorboard(const std::filesystem::path& folder, const ReportData& data);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_TENSORBOARD_H_
