// The report's sections that look into the model: by layer, product and place. Each gives the inside of its section, or
// nothing if there is nothing to show.
#ifndef OCTOBERT_CONVERTER_REPORT_LAYERS_H_
#define OCTOBERT_CONVERTER_REPORT_LAYERS_H_

#include <string>

#include "converter/report_data.h"

namespace octobert::converter {

std::string products_body(const ReportData& data);
std::string sqnr_body(const ReportData& data);
std::string sensitivity_body(const ReportData& data);
std::string clipped_body(const ReportData& data);
std::string sites_body(const ReportData& data, ReportSite::Kind kind);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_REPORT_LAYERS_H_
