// Texts that every conversion is tried on, and whose answers the file carries as test vectors.
#ifndef OCTOBERT_CONVERTER_TEST_TEXTS_H_
#define OCTOBERT_CONVERTER_TEST_TEXTS_H_

#include <string>
#include <vector>

namespace octobert::converter {

// Written for this project: names, several languages and scripts, noise, one word and a paragraph. About 250 tokens
// of a multilingual or an English vocabulary: enough to meet every kernel path, few enough that the float BERT-base
// beside it takes well under a second.
std::vector<std::string> builtin_test_texts();

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_TEST_TEXTS_H_
