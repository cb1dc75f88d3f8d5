// What a report can know of a packed file, of its checkpoint, and of a comparison of the two.
#ifndef OCTOBERT_CONVERTER_REPORT_FILL_H_
#define OCTOBERT_CONVERTER_REPORT_FILL_H_

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "converter/calibrate.h"
#include "converter/compare.h"
#include "converter/report_data.h"
#include "engine/model.h"
#include "engine/model_file.h"

namespace octobert::converter {

// The file's size, scheme, products, provenance and what the converter measured.
void add_model_file(const ModelFile& file, ReportData& report);

// The float weights of every product: histograms, and the ranges of their channels where report.products (call
// add_model_file() before) says that they were quantized. Reads the checkpoint once more, a
// layer at a time; labels: as Checkpoint takes it. Throws what Checkpoint throws.
void add_weights(const std::filesystem::path& checkpoint, const std::filesystem::path& labels, ReportData& report);

// The inputs of every product as calibrate() has seen them (of the float model, over whatever texts): histograms, and
// over them the ranges that `model` has fixed. Channels that a product multiplies first are multiplied here as well.
void add_activations(const Calibration& seen, const BertModel& model, ReportData& report);

// Agreement, scores and changed words on one source: its texts, whose words are the tokenizer's, and then its
// sentences, in the order in which they were compared. engine: the model that was compared, for its tokenizer and label
// names.
void add_comparison(const std::string& source, const Comparison& comparison, const Engine& engine,
                    std::span<const std::string> texts, std::span<const Sentence> sentences, ReportData& report);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_REPORT_FILL_H_
