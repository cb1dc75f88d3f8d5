// Marks what the shared library exports; everything else in it is hidden.
#ifndef OCTOBERT_EXPORT_H_
#define OCTOBERT_EXPORT_H_

#define OCTOBERT_API __attribute__((visibility("default")))

#endif  // OCTOBERT_EXPORT_H_
